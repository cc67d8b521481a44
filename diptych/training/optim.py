"""AdamW and Muon, their learning rate, the moving average of the weights, the precision of the forward pass."""

from __future__ import annotations

import copy
import math
from collections import defaultdict
from collections.abc import Collection
from contextlib import AbstractContextManager

import torch
from torch import Tensor, nn

from diptych.timing import seconds
from diptych.training.muon import Muon
from diptych.training.settings import Settings

UNDECAYED = ("norm", "bias", "embed")
OBLONG = 8  # a matrix so many times longer than wide is a table or a head: its rows are things of their own
PROBE = (2048, 256, 512)  # a product of the size small models spend their time on
PROBES = 7


def decays(name: str, parameter: Tensor) -> bool:
    """Whether weight decay applies: matrices and convolutions, but no norms, biases or embeddings."""
    return parameter.ndim >= 2 and not any(word in name.lower() for word in UNDECAYED)


def trainable(module: nn.Module) -> dict[str, nn.Parameter]:
    """The parameters that learn, by name, each once."""
    return {name: parameter for name, parameter in module.named_parameters() if parameter.requires_grad}


def _embeddings(module: nn.Module) -> set[int]:
    kinds = (nn.Embedding, nn.EmbeddingBag)
    return {id(part.weight) for part in module.modules() if isinstance(part, kinds)}


class Together:
    """Several optimizers, each of its own parameters, as one."""

    def __init__(self, *parts: torch.optim.Optimizer) -> None:
        self.parts = parts
        self.param_groups = [group for part in parts for group in part.param_groups]
        self.state: defaultdict[Tensor, dict[str, Tensor]] = defaultdict(dict)
        for part in parts:
            part.state = self.state

    def step(self) -> None:
        for part in self.parts:
            part.step()

    def zero_grad(self, set_to_none: bool = True) -> None:
        for part in self.parts:
            part.zero_grad(set_to_none)


Optimizer = torch.optim.Optimizer | Together


def optimizer(module: nn.Module, settings: Settings) -> Optimizer:
    """What the settings ask for. Muon takes the matrices inside the network, AdamW everything else."""
    if settings.optimizer == "adamw":
        return adamw(module, settings)
    inner = {name: p for name, p in _decayed(module).items() if p.ndim == 2 and max(p.shape) < OBLONG * min(p.shape)}
    if not inner:
        return adamw(module, settings)
    muon = Muon(inner.values(), settings.lr, settings.weight_decay)
    return Together(muon, adamw(module, settings, without=set(inner)))


def adamw(module: nn.Module, settings: Settings, without: Collection[str] = ()) -> torch.optim.AdamW:
    """AdamW (Loshchilov and Hutter 2019) in two groups, with and without decay; fused where torch has it."""
    decayed = _decayed(module)
    groups: dict[bool, list[Tensor]] = {True: [], False: []}
    for name, parameter in trainable(module).items():
        if name not in without:
            groups[name in decayed].append(parameter)
    options = [
        {"params": parameters, "weight_decay": settings.weight_decay if decays else 0.0}
        for decays, parameters in groups.items()
        if parameters
    ]
    kinds = {parameter.device.type for parameter in trainable(module).values()}
    return torch.optim.AdamW(options, lr=settings.lr, betas=settings.betas, fused=kinds <= {"cpu", "cuda"})


def _decayed(module: nn.Module) -> dict[str, nn.Parameter]:
    """The trainable parameters to which weight decay applies."""
    tables = _embeddings(module)
    return {name: p for name, p in trainable(module).items() if decays(name, p) and id(p) not in tables}


def lr_at(step: int, settings: Settings, seconds: float = 0.0) -> float:
    """Learning rate of step `step` (from 0): linear warm-up, then a cosine to lr * min_lr_ratio.

    `seconds` is the time trained so far; it counts only where the settings give a time budget.
    """
    if step < settings.warmup:
        return settings.lr * (step + 1) / settings.warmup
    done = (step - settings.warmup) / max(1, settings.steps - settings.warmup)
    if settings.minutes is not None:
        done = max(done, seconds / max(1e-9, 60 * settings.minutes))
    cosine = 0.5 * (1 + math.cos(math.pi * min(1.0, done)))
    return settings.lr * (settings.min_lr_ratio + (1 - settings.min_lr_ratio) * cosine)


class Ema:
    """A moving average of a module's weights, as a module of its own.

    The decay warms up as min(decay, (1 + n) / (10 + n)), n updates having been made. Frozen parameters are
    shared with the original; buffers are copied.
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        frozen = {id(parameter): parameter for parameter in module.parameters() if not parameter.requires_grad}
        self.module = copy.deepcopy(module, frozen).eval().requires_grad_(False)  # type: ignore[arg-type]
        self.decay, self.updates = decay, 0
        own = dict(self.module.named_parameters())
        self._theirs = list(trainable(module).values())
        self._own = [own[name] for name in trainable(module)]
        self._buffers = list(zip(self.module.buffers(), module.buffers(), strict=True))

    @torch.no_grad()
    def update(self) -> None:
        """Moves the average towards the present weights."""
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        torch._foreach_lerp_(self._own, self._theirs, 1 - decay)  # type: ignore[reportPrivateImportUsage]
        for own, theirs in self._buffers:
            own.copy_(theirs)
        self.updates += 1


def resolved(precision: str, device: torch.device) -> str:
    """`float32` or `bfloat16`; "auto" is bfloat16 where the device multiplies it faster.

    On CPUs that is measured, in some milliseconds: of two with AVX-512's bfloat16, one took half and one twice the
    time of float32.
    """
    if precision != "auto":
        return precision
    if device.type == "cuda":
        return "bfloat16" if torch.cuda.is_bf16_supported(including_emulation=False) else "float32"
    return "bfloat16" if device.type == "cpu" and _seconds(torch.bfloat16) < _seconds(torch.float32) else "float32"


def _seconds(dtype: torch.dtype) -> float:
    """Of a small product on the CPU."""
    rows, inner, columns = PROBE
    a, b = torch.ones(rows, inner, dtype=dtype), torch.ones(inner, columns, dtype=dtype)
    return seconds(lambda: a @ b, PROBES)


def autocast(precision: str, device: torch.device) -> AbstractContextManager[object]:
    """The context of a forward pass in a resolved precision."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision == "bfloat16")


def clip(parameters: list[nn.Parameter], limit: float | None) -> Tensor:
    """The norm of all gradients together, before they are scaled down to `limit`."""
    return nn.utils.clip_grad_norm_(parameters, math.inf if limit is None else limit)
