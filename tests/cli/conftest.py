"""A model that is quick and predictable, and a way to run command lines on it."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import PIL.Image
import pytest
import torch

from diptych import Image, Reply, Text
from diptych.cli import main
from diptych.errors import CapabilityError
from diptych.types import conversation


@dataclass
class FakeModel:
    """Draws one colour a seed, answers with the question, and remembers what it was asked."""

    name: str = "fake"
    can: frozenset[str] = frozenset({"chat", "generate", "edit", "interleave"})
    image_size: tuple[int, int] = (64, 64)
    device: str = "cpu"
    dtype: torch.dtype = torch.float32
    network: Any = field(default_factory=lambda: torch.nn.Linear(2, 3))
    calls: list[tuple[Any, ...]] = field(default_factory=list)
    loaded: list[tuple[Any, ...]] = field(default_factory=list)
    interrupt: bool = False

    def picture(self, seed: int) -> PIL.Image.Image:
        return PIL.Image.fromarray(np.full((*self.image_size, 3), seed % 256, np.uint8))

    def generate(self, prompt, *, n=1, seed=0, progress=None, preview=None, every=8, **options):
        if self.interrupt:
            raise KeyboardInterrupt
        if "generate" not in self.can:
            raise CapabilityError("this model cannot generate; it can chat")
        prompts = [prompt] if isinstance(prompt, str) else prompt
        self.calls.append(("generate", prompts, n, seed, options))
        if preview is not None:
            for visit in range(20 // every):
                for number in range(len(prompts) * n):
                    preview(number, self.picture(visit))
        return [self.picture(seed + k) for _ in prompts for k in range(n)]

    def edit(self, image, instruction, *, n=1, seed=0, progress=None, **options):
        self.calls.append(("edit", image, instruction, n, seed, options))
        film = {name: options[name] for name in ("preview", "every") if name in options}
        return self.generate(instruction, n=n, seed=seed, **film)

    def extend(self, image, prompt, *, side, n=1, seed=0, progress=None, **options):
        self.calls.append(("extend", prompt, side, n, seed, options))
        return [self.picture(seed + k) for k in range(n)]

    def infill(self, text, image, *, mask=None, seed=0, progress=None, **options):
        self.calls.append(("infill", text, mask, seed, options))
        return Reply((Text(text.replace("<m>", "red")), Image(self.picture(seed))), seed)

    def chat(self, turns, *, want="text", stream=False, seed=0, **options):
        turns = conversation(turns)
        self.calls.append(("chat", turns, want, options))
        said = turns[-1].text
        pictures = [Image(self.picture(seed))] if want in ("image", "any") else []
        parts = (Text(f"{len(turns[-1].images)} pictures, "), Text(said), *pictures)
        return iter(parts) if stream else Reply(parts, seed)

    def chat_batch(self, conversations, *, progress=None, **options):
        return [self.chat(turns) for turns in conversations]


@dataclass
class Result:
    code: int
    out: str
    err: str


@pytest.fixture
def model(monkeypatch) -> FakeModel:
    fake = FakeModel()
    monkeypatch.setattr(
        "diptych.cli.console._load", lambda name, **placing: fake.loaded.append((name, *placing.values())) or fake
    )
    return fake


@pytest.fixture
def run(capsys, monkeypatch, tmp_path) -> Callable[..., Result]:
    """Runs one command line in a folder of its own."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments: object) -> Result:
        with pytest.raises(SystemExit) as ended:
            main([str(argument) for argument in arguments])
        said = capsys.readouterr()
        return Result(int(ended.value.code or 0), said.out, said.err)

    return call


@pytest.fixture
def photo(tmp_path):
    """A picture of the person's own."""
    PIL.Image.new("RGB", (40, 30), (200, 30, 30)).save(tmp_path / "photo.png")
    return tmp_path / "photo.png"
