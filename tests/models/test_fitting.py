"""`diptych.load(quantize=..., offload=...)`: which layers become smaller, when, by how much, and what it costs."""

import weakref
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import diptych
from diptych.backbone import quantised
from diptych.backbone.blocks import Blocks
from diptych.backbone.packing import Segment, Span, pack
from diptych.backbone.quantised import KINDS, Quantised
from diptych.errors import DiptychError, InputError
from diptych.models import fitting
from diptych.models.bagel import Bagel
from diptych.models.fitting import Fit
from diptych.models.model import Model
from diptych.models.network import Ids, parameter_count
from tests.parity.sets import GoldenSet, sets

NAME = "janus-emoji"
MOST = {"int8": 0.02, "int8-dynamic": 0.05, "int4": 0.15}  # of logits: the norm of the error by the norm
GIB = 2**30
# ByteDance-Seed/BAGEL-7B-MoT
OFFICIAL: dict[str, Any] = {
    "model_type": "bagel",
    "llm_config": {
        "hidden_size": 3584,
        "intermediate_size": 18944,
        "num_hidden_layers": 28,
        "num_attention_heads": 28,
        "num_key_value_heads": 4,
        "vocab_size": 152064,
        "rope_theta": 1e6,
        "rms_norm_eps": 1e-6,
    },
    "vit_config": {
        "hidden_size": 1152,
        "intermediate_size": 4304,
        "num_attention_heads": 16,
        "num_hidden_layers": 27,
        "patch_size": 14,
        "image_size": 980,
    },
}


def loadable() -> list[GoldenSet]:
    """Golden sets that are folders of a family known here."""
    found = []
    for golden in sets():
        try:
            diptych.load(golden.folder, device="cpu")
        except DiptychError:
            continue
        found.append(golden)
    return found


def stacks(model: Model) -> list[Blocks]:
    return [m for m in model.network.modules() if isinstance(m, Blocks)]


def logits(model: Model) -> Tensor:
    return model.logits([[Ids(model.dialogue.tokenizer.encode("Draw two red birds above a blue car."))]])


@pytest.fixture(scope="module")
def whole() -> Model:
    return diptych.load(NAME, device="cpu")


@pytest.mark.parametrize("kind", KINDS)
def test_the_built_in_model(whole: Model, kind: str) -> None:
    small = diptych.load(NAME, device="cpu", quantize=kind)
    away = float((logits(small) - logits(whole)).norm() / logits(whole).norm())
    assert 0 < away < MOST[kind]
    numbers = sum(p.numel() for p in whole.network.parameters())
    assert parameter_count(small.network) == parameter_count(whole.network) == numbers
    assert small.dtype == whole.dtype and not any(p.requires_grad for p in small.network.parameters())
    assert small.generate("a red car")[0].size == whole.generate("a red car")[0].size


@pytest.mark.parametrize("kind", KINDS)
def test_all_families(kind: str) -> None:
    """Every linear layer of every block, and nothing else; hidden states stay near."""
    for golden in loadable():
        near, small = (diptych.load(golden.folder, device="cpu", quantize=q) for q in (None, kind))
        layers = [m for blocks in stacks(small) for m in blocks.modules()]
        assert layers and not any(isinstance(m, nn.Linear) for m in layers), golden.name
        inside = {id(m) for m in layers}
        assert all(id(m) in inside for m in small.network.modules() if isinstance(m, Quantised)), golden.name
        ours, theirs = small.network.state_dict(), near.network.state_dict()
        for name in ours.keys() & theirs.keys():
            assert torch.equal(ours[name], theirs[name]), f"{golden.name}: {name}"
        gone = theirs.keys() - ours.keys()
        assert gone and gone == {n.removesuffix("codes") + "weight" for n in ours if n.endswith(".codes")}, golden.name
        away = float((hidden(small) - hidden(near)).norm() / hidden(near).norm())
        assert 0 < away < {"int8": 0.05, "int8-dynamic": 0.12, "int4": 0.6}[kind], f"{golden.name}: {away}"


def hidden(model: Model) -> Tensor:
    """What the blocks make of eight tokens that all see each other."""
    backbone: Any = model.network.backbone
    with torch.inference_mode():
        tokens = backbone.embed(torch.arange(8))
        return backbone(pack([[Segment(tokens, Span("all"))]]))


def test_there_is_never_more_than_one_float_weight(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = list[weakref.ref]()

    def watched(linear: nn.Linear) -> Quantised:
        assert not [ref for ref in seen if ref() is not None], "a weight lives on beside its rounded form"
        seen.append(weakref.ref(linear.weight))
        return KINDS["int8"](linear)

    monkeypatch.setattr(fitting, "KINDS", {"int8": watched})
    small = diptych.load(NAME, device="cpu", quantize="int8")
    assert len(seen) == sum(isinstance(m, Quantised) for m in small.network.modules()) > 0


def test_bagel_fits_a_gpu_of_24_or_16_gib(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its weights at their published size, counted without memory; what is not rounded is bfloat16."""
    monkeypatch.setattr(quantised, "ROWS", 10**6)  # nothing is computed: all rows at a time
    sizes = [published(kind) / GIB for kind in (None, "int8", "int4")]
    assert sizes == pytest.approx([27.4, 15.2, 9.9], abs=0.2)


def published(quantize: str | None) -> int:
    """Bytes."""
    with torch.device("meta"):
        network = Bagel.build(Bagel.completed(OFFICIAL, {}))
    Fit(network, quantize, False).everything()
    tensors = [*network.parameters(), *network.buffers()]
    rounded = {id(t) for m in network.modules() if isinstance(m, Quantised) for t in (m.codes, m.scale)}
    return sum(t.numel() * (t.element_size() if id(t) in rounded else 2) for t in tensors)


def test_wrong_ways_to_save_memory() -> None:
    with pytest.raises(InputError, match="quantize is one of int8, int8-dynamic, int4, not 'int3'"):
        diptych.load(NAME, device="cpu", quantize="int3")
    with pytest.raises(InputError, match="offload saves a GPU's memory, but this model runs on cpu; leave it out"):
        diptych.load(NAME, device="cpu", offload=True)


def test_offloaded_it_answers_as_before(whole: Model) -> None:
    """The walk itself, with the CPU in the place of the GPU."""
    away = diptych.load(NAME, device="cpu")
    fit = Fit(away.network, None, True)
    fit.everything()
    fit.finish(torch.device("cpu"))
    assert [blocks.device for blocks in stacks(away)] == [torch.device("cpu")]
    assert torch.equal(logits(away), logits(whole))
    assert away.generate("a red car", seed=3)[0].tobytes() == whole.generate("a red car", seed=3)[0].tobytes()
