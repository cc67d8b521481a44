"""How a picture comes about: its canvas after some of the visits, side by side."""

from collections.abc import Sequence

import PIL.Image

GAP = 4
FRAMES = 8


class Film:
    """Collects the partial pictures of the first one drawn; give it to `generate` or `edit` as `preview`."""

    def __init__(self) -> None:
        self.frames: list[PIL.Image.Image] = []

    def __call__(self, number: int, picture: PIL.Image.Image) -> None:
        if number == 0:
            self.frames.append(picture)


def strip(frames: Sequence[PIL.Image.Image]) -> PIL.Image.Image:
    """Frames from left to right on white."""
    width, height = frames[0].size
    whole = PIL.Image.new("RGB", (len(frames) * (width + GAP) - GAP, height), "white")
    for i, frame in enumerate(frames):
        whole.paste(frame, (i * (width + GAP), 0))
    return whole


def chosen(frames: Sequence[PIL.Image.Image], count: int) -> list[PIL.Image.Image]:
    """At most `count` of them, evenly spread, the last always among them."""
    step = max(1, -(-len(frames) // count))
    return list(frames[::-1][::step][::-1])
