"""transformers' language models with random weights, and ours with the very same."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import torch

from diptych.backbone.transformer import Backbone, BackboneConfig
from diptych.models.fitting import Fit
from diptych.weights.layout import Layout


def seeded(kind: Any, **sizes: Any) -> Any:
    """A model of transformers of these sizes; sizes go to its config."""
    torch.manual_seed(0)
    return kind(kind.config_class(**sizes)).eval().requires_grad_(False)


def shared(theirs: Any, config: BackboneConfig, layout: Layout) -> Backbone:
    """Our backbone with the peer's tensors, as `diptych.load` would leave it."""
    with torch.device("meta"):
        ours = Backbone(config)
    ours.load_state_dict(layout.read(theirs.state_dict()), assign=True)
    return settled(ours)


def fitted(network: Any, dtype: torch.dtype = torch.float32, quantize: str | None = None) -> Any:
    """A copy as `diptych.load` would leave it."""
    return settled(deepcopy(network).to(dtype), quantize)


def settled(network: Any, quantize: str | None = None) -> Any:
    Fit(network.eval().requires_grad_(False), quantize, False).everything()
    return network
