"""A model that is quick and predictable: what it says and draws is a function of what it is asked and the seed."""

import hashlib
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from PIL import Image as Pillow

from diptych.samplers.guidance import cfg
from diptych.samplers.schedules import euler
from diptych.types import Reply, Text, conversation


class FakeModel:
    """Answers yes or no by a digest, draws a plain colour by a digest; remembers how large its batches were."""

    name, dtype, device, image_size, batch = "fake", torch.float32, torch.device("cpu"), (16, 16), 16

    def __init__(self, can: tuple[str, ...] = ("chat", "generate", "edit"), skill: int = 128) -> None:
        self.can, self.skill = frozenset(can), skill
        self.network = torch.nn.Linear(2, 3)
        torch.nn.init.constant_(self.network.weight, 0.5)
        torch.nn.init.constant_(self.network.bias, 0.25)
        self.dialogue = SimpleNamespace(image=self._writer, text=self._writer)
        self.batches: list[int] = []

    def _writer(self, options: Any) -> SimpleNamespace:
        guide = cfg(options.guidance or 3.0)
        return SimpleNamespace(objective=options, schedule=euler(options.steps or 50), guide=guide, order="raster")

    def chat_batch(self, conversations, *, seed=0, progress=None, max_tokens=512, temperature=0.0):
        self.batches.append(len(conversations))
        seeds = [seed] * len(conversations) if isinstance(seed, int) else seed
        return [self._reply(conversation(turns), own) for turns, own in zip(conversations, seeds, strict=True)]

    def _reply(self, turns, seed: int) -> Reply:
        shown = b"".join(picture.tobytes() for turn in turns for picture in turn.images)
        known = digest(turns[-1].text.encode() + shown) < self.skill
        return Reply((Text("Yes" if known else f"No, it has {seed % 7}"),), seed)

    def generate(self, prompt, *, n=1, seed=0, **options):
        assert n == 1 and len(prompt) == len(seed)
        self.batches.append(len(prompt))
        return [picture(text, own) for text, own in zip(prompt, seed, strict=True)]

    def edit(self, image, instruction, *, n=1, seed=0, **options):
        assert len(image) == len(instruction) == len(seed)
        self.batches.append(len(image))
        said = zip(image, instruction, seed, strict=True)
        return [picture(text + str(source.getpixel((0, 0))), own) for source, text, own in said]


def digest(data: bytes) -> int:
    return hashlib.sha256(data).digest()[0]


def picture(text: str, seed: int) -> Pillow.Image:
    return Pillow.fromarray(np.full((16, 16, 3), digest(f"{text}{seed}".encode()), np.uint8))
