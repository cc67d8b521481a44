"""Writers of absorbing diffusion: how UniDisc's configs and options name samplers, and how its models are trained."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from diptych.canvas import Schedule, Writer
from diptych.errors import InputError
from diptych.models.family import Options
from diptych.models.joint import Joint
from diptych.objectives.absorbing import (
    MOST,
    Absorbing,
    Ancestral,
    cover_later_runs,
    cover_one_kind,
    gumbel_race,
    nucleus_race,
    surest_in_time,
)
from diptych.objectives.tokens import Pick, any_slot, argmax, race
from diptych.samplers.absorbing import ancestral, counted, even
from diptych.samplers.guidance import alone, cfg_rising

STEPS, HEAT, TOP_P, TEMPERATURE = 35, 4.5, 0.95, 0.9  # of the official demo: demo/api_data_defs.py


@dataclass(frozen=True)
class Sampling:
    """predictor: maskgit, maskgit_nucleus, first_hitting, ddpm or ddpm_cache; heat: the share of chance in which slots
    MaskGIT settles first."""

    predictor: str = "maskgit"
    heat: float = HEAT

    def writer(
        self, port: Joint, options: Options, guidance: float, room: int | None = None, **training: Any
    ) -> Writer:
        """guidance: 0 for one branch, else a conditional and an unconditional one. room: see `Joint`."""
        predictor = self._predictor(options)
        objective, schedule = self._sampler(predictor, options, room, training)
        guide = cfg_rising(guidance) if guidance else alone
        return Writer(port, objective, schedule, guide, "surest", lazy=predictor == "ddpm_cache")

    def _predictor(self, options: Options) -> str:
        """Greedy and nucleus sampling are MaskGIT's."""
        if options.temperature == 0:
            return "maskgit"
        return "maskgit_nucleus" if options.top_p < 1 else self.predictor

    def _sampler(
        self, predictor: str, options: Options, room: int | None, training: dict[str, Any]
    ) -> tuple[Absorbing, Schedule]:
        steps = options.steps or STEPS
        if predictor in ("ddpm", "ddpm_cache"):
            return Ancestral(1.0 if predictor == "ddpm_cache" else MOST, **training), ancestral(steps, room)
        if predictor == "first_hitting":
            return Absorbing(gumbel_race, any_slot, **training), counted(steps, even, room)
        if predictor not in ("maskgit", "maskgit_nucleus"):
            raise InputError(f"the config names an unknown sampler, {predictor!r}; write maskgit there")
        cold = options.temperature == 0
        pick: Pick = argmax if cold else race(options.temperature or 1.0, options.top_k)
        if predictor == "maskgit_nucleus":
            top_p = options.top_p if options.top_p < 1 else TOP_P
            pick = nucleus_race(top_p, options.temperature or TEMPERATURE)
        objective = Absorbing(pick, surest_in_time(0.0 if cold else self.heat), **training)
        return objective, counted(steps, room=room)


@dataclass(frozen=True)
class Lesson:
    """How a model was trained: weights of text and of images, softmin-SNR, how often whole parts are hidden, and the
    most that text may weigh against images."""

    text: float = 1.0
    image: float = 1.0
    snr: float | None = None
    whole: float = 0.0
    ratio: float | None = None
    antithetic: bool = True

    @classmethod
    def of(cls, trainer: dict[str, Any]) -> Lesson:
        bounded = trainer.get("set_max_txt_loss_ratio")
        return cls(
            text=trainer.get("text_loss_weight", 1.0),
            image=trainer.get("img_loss_weight", 1.0),
            snr=trainer.get("softmin_snr"),
            whole=trainer.get("mask_entire_modality") or 0.0,
            ratio=float(bounded) if bounded else None,
            antithetic=trainer.get("antithetic_sampling", True),
        )

    def one(self, weight: float) -> dict[str, Any]:
        """Of a canvas of one kind, as `Absorbing` takes it."""
        return {"weights": (weight,), "snr": self.snr, "antithetic": self.antithetic}

    def both(self, kinds: Tensor, interleaved: bool) -> dict[str, Any]:
        """Of a joint canvas."""
        cover = (cover_later_runs if interleaved else cover_one_kind)(kinds, self.whole)
        weights = {"kinds": kinds, "weights": (self.text, self.image), "ratio": self.ratio}
        return self.one(0.0) | weights | {"cover": cover}
