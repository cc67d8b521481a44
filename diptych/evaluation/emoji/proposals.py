"""Where the objects are: everything that differs from the flat background, as boxes. Numpy only.

The rules were tuned on scenes of other seeds than any that is reported.
"""

from dataclasses import dataclass

import numpy as np

CLEAN_THRESHOLD = 14  # of 255, in the most different channel
SOFT_THRESHOLD = 26
SOFT_SHARE = 0.07  # of near-background pixels that are not exactly background: compressed, blurred or noisy
NOISY = 2.0  # mean difference at the rim above which the picture is smoothed first
TIGHTEN = 0.3  # of the local contrast, where a soft contour is drawn
SMALLEST_SIDE, SMALLEST_AREA = 0.13, 0.0035  # of the canvas side and area


@dataclass(frozen=True)
class Box:
    """Pixels, right and bottom exclusive; `area` counts the pixels that differ from the background."""

    left: int
    top: int
    right: int
    bottom: int
    area: int

    @property
    def longer(self) -> int:
        return max(self.right - self.left, self.bottom - self.top)


@dataclass(frozen=True)
class Proposals:
    background: np.ndarray  # float [3], RGB, 0 to 255
    boxes: list[Box]


def propose(image: np.ndarray) -> Proposals:
    """Finds the background and the objects of uint8 [S, S, 3]."""
    pixels = image.astype(np.float32)
    size = len(pixels)
    rim = _rim(pixels, max(1, size // 32))
    background = np.median(rim, 0)
    noise = float(np.abs(rim - background).mean())
    contrast = np.abs((_smooth(pixels) if noise > NOISY else pixels) - background).max(-1)
    near = contrast < CLEAN_THRESHOLD
    soft = bool(near.any()) and float((contrast[near] > 1).mean()) > SOFT_SHARE
    threshold = max(SOFT_THRESHOLD, 2.2 * noise + 10) if soft else CLEAN_THRESHOLD
    boxes = _merge(_parts(contrast, contrast > threshold, soft), size)
    if soft:
        boxes = [_tighten(contrast, box) for box in boxes]
    least = SMALLEST_AREA * size * size
    boxes = [box for box in boxes if box.longer >= size * SMALLEST_SIDE and box.area >= least]
    return Proposals(background, boxes)


def _rim(pixels: np.ndarray, width: int) -> np.ndarray:
    """The pixels of the outermost rows and columns: [N, 3]."""
    sides = (pixels[:width], pixels[-width:], pixels[:, :width], pixels[:, -width:])
    return np.concatenate([side.reshape(-1, 3) for side in sides])


def _smooth(pixels: np.ndarray) -> np.ndarray:
    """Mean over 3 x 3 pixels."""
    size = len(pixels)
    padded = np.pad(pixels, ((1, 1), (1, 1), (0, 0)), "edge")
    return np.stack([padded[i : i + size, j : j + size] for i in range(3) for j in range(3)]).mean(0)


def label(mask: np.ndarray) -> np.ndarray:
    """8-connected components of a boolean [H, W]: int [H, W], 0 outside, components numbered from 1.

    Works on horizontal runs: neighbouring runs of neighbouring rows are joined by union-find.
    """
    height, width = mask.shape
    edges = np.diff(np.pad(mask, ((0, 0), (1, 1))).astype(np.int8), axis=1)
    rows, starts = np.nonzero(edges == 1)
    ends = np.nonzero(edges == -1)[1]
    stride = width + 2
    # Runs of row y - 1 that touch [start, end) diagonally or straight: those with end' >= start and start' <= end.
    first = np.searchsorted((rows * stride + ends), (rows - 1) * stride + starts, "left")
    last = np.searchsorted((rows * stride + starts), (rows - 1) * stride + ends, "right")
    parent = list(range(len(rows)))

    def root(run: int) -> int:
        while parent[run] != run:
            parent[run] = parent[parent[run]]
            run = parent[run]
        return run

    for run, (low, high) in enumerate(zip(first.tolist(), last.tolist(), strict=True)):
        for other in range(low, high):
            parent[root(run)] = root(other)
    numbers = np.unique([root(run) for run in parent], return_inverse=True)[1] + 1 if parent else np.zeros(0, int)
    labels = np.zeros((height, width), int)
    labels[mask] = np.repeat(numbers, ends - starts)
    return labels


def _parts(contrast: np.ndarray, mask: np.ndarray, soft: bool) -> list[Box]:
    """The boxes of all components but specks, largest area first."""
    labels, size = label(mask), len(mask)
    least = max(5, size * size // 1000) if soft else 3
    boxes = []
    for number in range(1, labels.max() + 1):
        y, x = np.nonzero(labels == number)
        faint = soft and contrast[y, x].max() < 48
        if len(y) >= (least if faint else 3):
            boxes.append(Box(int(x.min()), int(y.min()), int(x.max()) + 1, int(y.max()) + 1, len(y)))
    return sorted(boxes, key=lambda box: -box.area)


def _merge(boxes: list[Box], size: int) -> list[Box]:
    """Joins parts of one glyph: small parts into large ones beside them, until nothing changes."""
    boxes = list(boxes)
    gap = max(1, size * 5 // 256)
    while (pair := _first_pair(boxes, gap, size)) is not None:
        large, small = pair
        boxes[large] = _union(boxes[large], boxes[small])
        boxes.pop(small)
    return boxes


def _first_pair(boxes: list[Box], gap: int, size: int) -> tuple[int, int] | None:
    for large in range(len(boxes)):
        for small in range(len(boxes) - 1, large, -1):
            if _belong(boxes[large], boxes[small], gap, size):
                return large, small
    return None


def _belong(large: Box, small: Box, gap: int, size: int) -> bool:
    """Overlapping boxes do; near ones do if one is small and both together are a plausible glyph."""
    across = max(large.left, small.left) - min(large.right, small.right)
    down = max(large.top, small.top) - min(large.bottom, small.bottom)
    if across < 0 and down < 0:
        return True
    if across > gap or down > gap:
        return False
    joint, ratio = _union(large, small).longer, small.longer / large.longer
    return (ratio < 0.6 and joint < 1.35 * large.longer) or (ratio < 0.35 and joint <= 0.42 * size)


def _union(a: Box, b: Box) -> Box:
    return Box(min(a.left, b.left), min(a.top, b.top), max(a.right, b.right), max(a.bottom, b.bottom), a.area + b.area)


def _tighten(contrast: np.ndarray, box: Box) -> Box:
    """Draws a soft object's box at a share of its own contrast, where the sharp contour was."""
    window = contrast[box.top : box.bottom, box.left : box.right]
    y, x = np.nonzero(window > max(SOFT_THRESHOLD, TIGHTEN * float(np.percentile(window, 90))))
    if len(y) <= 3:
        return box
    left, top, right, bottom = int(x.min()), int(y.min()), int(x.max()) + 1, int(y.max()) + 1
    return Box(box.left + left, box.top + top, box.left + right, box.top + bottom, box.area)
