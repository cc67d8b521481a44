"""InceptionV3 as FID and IS use it: Szegedy et al. 2016 (arXiv:1512.00567) in the port of the 2015 TensorFlow weights.

Tensor names are those of `pt_inception-2015-12-05` (mseitzer/pytorch-fid), the shapes torchvision's with 1008 classes.
It differs from torchvision's network in its pools: means leave out the padding, and the last block takes a maximum.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from diptych.errors import BenchmarkError
from diptych.evaluation.networks import Picture, batched, planes, upright

SIZE = 299
CLASSES = 1008


class Unit(nn.Module):
    """Convolution without bias, batch normalisation, ReLU."""

    def __init__(
        self, wide: int, out: int, size: int | tuple[int, int], stride: int = 1, pad: int | tuple[int, int] = 0
    ):
        super().__init__()
        self.conv = nn.Conv2d(wide, out, size, stride, pad, bias=False)
        self.bn = nn.BatchNorm2d(out, eps=0.001)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.bn(self.conv(x)))


def across(wide: int, out: int, size: int) -> Unit:
    """A row of weights."""
    return Unit(wide, out, (1, size), pad=(0, size // 2))


def down(wide: int, out: int, size: int) -> Unit:
    """A column of weights."""
    return Unit(wide, out, (size, 1), pad=(size // 2, 0))


def mean_pool(x: Tensor) -> Tensor:
    return F.avg_pool2d(x, 3, 1, 1, count_include_pad=False)


def max_pool(x: Tensor) -> Tensor:
    return F.max_pool2d(x, 3, 1, 1)


class A(nn.Module):
    """35 x 35."""

    def __init__(self, wide: int, pooled: int):
        super().__init__()
        self.branch1x1 = Unit(wide, 64, 1)
        self.branch5x5_1, self.branch5x5_2 = Unit(wide, 48, 1), Unit(48, 64, 5, pad=2)
        self.branch3x3dbl_1, self.branch3x3dbl_2 = Unit(wide, 64, 1), Unit(64, 96, 3, pad=1)
        self.branch3x3dbl_3 = Unit(96, 96, 3, pad=1)
        self.branch_pool = Unit(wide, pooled, 1)

    def forward(self, x: Tensor) -> Tensor:
        double = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x)))
        return torch.cat(
            [self.branch1x1(x), self.branch5x5_2(self.branch5x5_1(x)), double, self.branch_pool(mean_pool(x))], 1
        )


class B(nn.Module):
    """35 x 35 to 17 x 17."""

    def __init__(self, wide: int):
        super().__init__()
        self.branch3x3 = Unit(wide, 384, 3, 2)
        self.branch3x3dbl_1, self.branch3x3dbl_2 = Unit(wide, 64, 1), Unit(64, 96, 3, pad=1)
        self.branch3x3dbl_3 = Unit(96, 96, 3, 2)

    def forward(self, x: Tensor) -> Tensor:
        double = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x)))
        return torch.cat([self.branch3x3(x), double, F.max_pool2d(x, 3, 2)], 1)


class C(nn.Module):
    """17 x 17, with rows and columns of 7."""

    def __init__(self, wide: int, inner: int):
        super().__init__()
        self.branch1x1 = Unit(wide, 192, 1)
        self.branch7x7_1, self.branch7x7_2 = Unit(wide, inner, 1), across(inner, inner, 7)
        self.branch7x7_3 = down(inner, 192, 7)
        self.branch7x7dbl_1, self.branch7x7dbl_2 = Unit(wide, inner, 1), down(inner, inner, 7)
        self.branch7x7dbl_3, self.branch7x7dbl_4 = across(inner, inner, 7), down(inner, inner, 7)
        self.branch7x7dbl_5 = across(inner, 192, 7)
        self.branch_pool = Unit(wide, 192, 1)

    def forward(self, x: Tensor) -> Tensor:
        single = self.branch7x7_3(self.branch7x7_2(self.branch7x7_1(x)))
        double = self.branch7x7dbl_3(self.branch7x7dbl_2(self.branch7x7dbl_1(x)))
        double = self.branch7x7dbl_5(self.branch7x7dbl_4(double))
        return torch.cat([self.branch1x1(x), single, double, self.branch_pool(mean_pool(x))], 1)


class D(nn.Module):
    """17 x 17 to 8 x 8."""

    def __init__(self, wide: int):
        super().__init__()
        self.branch3x3_1, self.branch3x3_2 = Unit(wide, 192, 1), Unit(192, 320, 3, 2)
        self.branch7x7x3_1, self.branch7x7x3_2 = Unit(wide, 192, 1), across(192, 192, 7)
        self.branch7x7x3_3, self.branch7x7x3_4 = down(192, 192, 7), Unit(192, 192, 3, 2)

    def forward(self, x: Tensor) -> Tensor:
        seven = self.branch7x7x3_4(self.branch7x7x3_3(self.branch7x7x3_2(self.branch7x7x3_1(x))))
        return torch.cat([self.branch3x3_2(self.branch3x3_1(x)), seven, F.max_pool2d(x, 3, 2)], 1)


class E(nn.Module):
    """8 x 8; the two blocks differ in how they pool."""

    def __init__(self, wide: int, most: bool):
        super().__init__()
        self.pool = max_pool if most else mean_pool
        self.branch1x1 = Unit(wide, 320, 1)
        self.branch3x3_1 = Unit(wide, 384, 1)
        self.branch3x3_2a, self.branch3x3_2b = across(384, 384, 3), down(384, 384, 3)
        self.branch3x3dbl_1, self.branch3x3dbl_2 = Unit(wide, 448, 1), Unit(448, 384, 3, pad=1)
        self.branch3x3dbl_3a, self.branch3x3dbl_3b = across(384, 384, 3), down(384, 384, 3)
        self.branch_pool = Unit(wide, 192, 1)

    def forward(self, x: Tensor) -> Tensor:
        single, double = self.branch3x3_1(x), self.branch3x3dbl_2(self.branch3x3dbl_1(x))
        split = [self.branch3x3_2a(single), self.branch3x3_2b(single)]
        split += [self.branch3x3dbl_3a(double), self.branch3x3dbl_3b(double)]
        return torch.cat([self.branch1x1(x), *split, self.branch_pool(self.pool(x))], 1)


class InceptionV3(nn.Module):
    """Pixels float32 [N, 3, 299, 299] from -1 to 1 -> pooled features [N, 2048]."""

    def __init__(self):
        super().__init__()
        self.Conv2d_1a_3x3, self.Conv2d_2a_3x3 = Unit(3, 32, 3, 2), Unit(32, 32, 3)
        self.Conv2d_2b_3x3, self.Conv2d_3b_1x1 = Unit(32, 64, 3, pad=1), Unit(64, 80, 1)
        self.Conv2d_4a_3x3 = Unit(80, 192, 3)
        self.Mixed_5b, self.Mixed_5c, self.Mixed_5d = A(192, 32), A(256, 64), A(288, 64)
        self.Mixed_6a = B(288)
        self.Mixed_6b, self.Mixed_6c, self.Mixed_6d, self.Mixed_6e = C(768, 128), C(768, 160), C(768, 160), C(768, 192)
        self.Mixed_7a = D(768)
        self.Mixed_7b, self.Mixed_7c = E(1280, False), E(2048, True)
        self.fc = nn.Linear(2048, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        x = F.max_pool2d(self.Conv2d_2b_3x3(self.Conv2d_2a_3x3(self.Conv2d_1a_3x3(x))), 3, 2)
        x = F.max_pool2d(self.Conv2d_4a_3x3(self.Conv2d_3b_1x1(x)), 3, 2)
        x = self.Mixed_5d(self.Mixed_5c(self.Mixed_5b(x)))
        x = self.Mixed_6e(self.Mixed_6d(self.Mixed_6c(self.Mixed_6b(self.Mixed_6a(x)))))
        return self.Mixed_7c(self.Mixed_7b(self.Mixed_7a(x))).mean((2, 3))


class Inception:
    """The network with weights from a file; pictures are scaled to 299 x 299 (bilinear, without smoothing)."""

    def __init__(self, path: Path, device: torch.device):
        self.id, self.device = f"inception:{path.name}", device
        with torch.device("meta"):
            network = InceptionV3()
        try:
            tensors = load_file(path)
            network.load_state_dict(tensors, assign=True)
        except (OSError, SafetensorError, RuntimeError) as error:
            raise BenchmarkError(
                f"{path} does not hold FID's InceptionV3 ({' '.join(str(error).split())[:120]}); take "
                "pt_inception-2015-12-05-6726825d.pth of github.com/mseitzer/pytorch-fid through `diptych convert`"
            ) from error
        self.network = network.to(device).eval()

    def images(self, pictures: Sequence[Picture]) -> np.ndarray:
        """Pooled features, float64 [N, 2048]: for FID and KID."""
        return batched(pictures, self._pooled)

    def logits(self, pictures: Sequence[Picture]) -> np.ndarray:
        """Class logits without the bias, float64 [N, 1008]: for IS, as torch-fidelity takes them."""
        return batched(pictures, lambda part: F.linear(self._pooled(part), self.network.fc.weight))

    def _pooled(self, pictures: Sequence[Picture]) -> Tensor:
        scaled = [
            F.interpolate(planes(upright(picture))[None], (SIZE, SIZE), mode="bilinear", align_corners=False)
            for picture in pictures
        ]
        return self.network(2 * torch.cat(scaled).to(self.device) - 1)
