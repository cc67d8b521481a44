"""The network of the judge: which object, in which colour and style, is on a 32 x 32 crop."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from diptych.data.worlds.emoji.rules import COLORS, OBJECTS, STYLES
from diptych.errors import WeightsError

CROP = 32
MARGIN = 0.125  # of the longer side, added around a box on every side before it is cut out
IDS: tuple[str, ...] = tuple(OBJECTS)
PAINTS: tuple[str | None, ...] = (None, *COLORS)
WIDTHS = (24, 48, 96, 192)
WEIGHTS = Path(__file__).with_name("judge.safetensors")


@dataclass(frozen=True)
class Scores:
    """Logits for N crops: objects [N, 394], colours [N, 12] (the first is native), styles [N, 4]."""

    objects: Tensor
    colors: Tensor
    styles: Tensor


def convolution(channels_in: int, channels_out: int, stride: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels_in, channels_out, 3, stride, 1, bias=False), nn.BatchNorm2d(channels_out), nn.SiLU()
    )


class GlyphClassifier(nn.Module):
    """Three halvings with a residual convolution after each, mean and maximum pooling, three linear heads."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = convolution(3, WIDTHS[0], 1)
        pairs = list(zip(WIDTHS, WIDTHS[1:], strict=False))
        self.halve = nn.ModuleList(convolution(narrow, wide, 2) for narrow, wide in pairs)
        self.refine = nn.ModuleList(convolution(wide, wide, 1) for _, wide in pairs)
        features = 2 * WIDTHS[-1]
        self.objects = nn.Linear(features, len(IDS))
        self.colors = nn.Linear(features, len(PAINTS))
        self.styles = nn.Linear(features, len(STYLES))

    def forward(self, crops: Tensor) -> Scores:
        """Crops are float [N, 3, 32, 32], 0 to 1."""
        x = self.stem(crops * 4 - 2)
        for halve, refine in zip(self.halve, self.refine, strict=True):
            x = halve(x)
            x = x + refine(x)
        x = torch.cat([x.mean((2, 3)), x.amax((2, 3))], 1)
        return Scores(self.objects(x), self.colors(x), self.styles(x))


def load_classifier(path: Path = WEIGHTS) -> GlyphClassifier:
    """The trained network, float32, on the CPU, ready to judge. Raises `WeightsError` if the file is not whole."""
    if not path.is_file():
        raise WeightsError(
            f"the judge's weights are missing: {path}; reinstall diptych or train them with "
            "python -m diptych.evaluation.emoji.train_judge"
        )
    net = GlyphClassifier()
    try:
        net.load_state_dict({name: tensor.float() for name, tensor in load_file(path).items()})
    except RuntimeError as error:
        raise WeightsError(f"{path} does not hold the judge's network: {error}") from error
    return net.eval().requires_grad_(False)


def as_input(crops: np.ndarray) -> Tensor:
    """uint8 [N, 32, 32, 3] to what the network takes."""
    return torch.from_numpy(crops).permute(0, 3, 1, 2).float() / 255
