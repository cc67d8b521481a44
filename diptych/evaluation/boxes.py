"""Boxes in pixels, (left, top, right, bottom) with y growing downwards, and how they overlap."""

from collections.abc import Sequence

Box = Sequence[float]


def area(box: Box, edge: float = 0) -> float:
    """The area; `edge` 1 counts both border pixels in. 0 where a side is negative."""
    return max(box[2] - box[0] + edge, 0) * max(box[3] - box[1] + edge, 0)


def shared(a: Box, b: Box, edge: float = 0) -> float:
    """The area that both cover."""
    return area((max(a[0], b[0]), max(a[1], b[1]), min(a[2], b[2]), min(a[3], b[3])), edge)


def overlap(a: Box, b: Box, edge: float = 0) -> float:
    """Intersection over union, 0 to 1; 0 where there is no area."""
    both = shared(a, b, edge)
    union = area(a, edge) + area(b, edge) - both
    return both / union if union else 0.0


def center(box: Box) -> tuple[float, float]:
    return (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
