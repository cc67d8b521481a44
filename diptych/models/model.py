"""What a user holds: `model.chat`, `model.generate`, `model.edit`, the same for every family."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, overload

import torch
from PIL import Image as Pillow
from torch import Tensor

from diptych.canvas import Draws
from diptych.errors import InputError
from diptych.models.family import Dialogue, Options
from diptych.models.network import Ids, Made, Network, Piece
from diptych.samplers.conversation import cut, draw, say, write
from diptych.types import Image, Part, Reply, Request, Text, Turn, Turns, Want, conversation

Progress = Callable[[int, int], None]
MAX_IMAGES = 64  # a reply that opens more pictures than this is cut off


class Model:
    """A network and the way it is talked to.

    Every result is a function of the request and its seed alone: neither of the batch it was computed in nor of the
    device its noise is used on.
    """

    def __init__(self, name: str, network: Network, dialogue: Dialogue, folder: Path, batch: int = 16):
        self.name, self.network, self.dialogue, self.folder, self.batch = name, network, dialogue, folder, batch

    @property
    def can(self) -> frozenset[str]:
        """Of chat, generate, edit, interleave: what the model was trained for."""
        return self.dialogue.can

    @property
    def image_size(self) -> tuple[int, int]:
        """(height, width) of the pictures it writes."""
        return self.dialogue.image_size

    @property
    def device(self) -> torch.device:
        return self.network.device

    @property
    def dtype(self) -> torch.dtype:
        return self.network.dtype

    def generate(
        self,
        prompt: str | Sequence[str],
        *,
        n: int = 1,
        seed: int = 0,
        progress: Progress | None = None,
        **options: Any,
    ) -> list[Pillow.Image]:
        """Draw prompts: `n` RGB pictures a prompt, flat, in order. Picture k of a prompt has seed `seed + k`.

        options: guidance, temperature, top_k, top_p, steps, size (height, width); None is the published default.
        Raises CapabilityError, InputError.
        """
        self.dialogue.must("generate")
        prompts = [prompt] if isinstance(prompt, str) else list(prompt)
        if any(not isinstance(p, str) or not p.strip() for p in prompts):
            raise InputError("a prompt is a string that says what to draw; it is empty here")
        requests = [Request((Turn.user(p),), "image") for p in prompts]
        return self._draw(requests, n, seed, Options(**options), progress)

    def edit(
        self,
        image: Any,
        instruction: str | Sequence[str],
        *,
        n: int = 1,
        seed: int = 0,
        progress: Progress | None = None,
        **options: Any,
    ) -> list[Pillow.Image]:
        """Change a picture as instructed -> `n` RGB pictures an instruction.

        image: one source, or a list of sources for one edit; with a list of instructions, a list of as many sources.
        """
        self.dialogue.must("edit")
        single = isinstance(instruction, str)
        instructions = [instruction] if isinstance(instruction, str) else list(instruction)
        sources = [image] if single else list(image)
        if len(sources) != len(instructions):
            raise InputError(f"{len(sources)} pictures but {len(instructions)} instructions; give as many of each")
        if any(not isinstance(i, str) or not i.strip() for i in instructions):
            raise InputError("an instruction is a string that says what to change; it is empty here")
        requests = [
            Request((Turn.user(*(s if isinstance(s, list | tuple) else [s]), text),), "image")
            for s, text in zip((_opened(s) for s in sources), instructions, strict=True)
        ]
        return self._draw(requests, n, seed, Options(**options), progress)

    @overload
    def chat(self, turns: Turns, *, want: Want = ..., stream: Literal[False] = ..., **options: Any) -> Reply: ...
    @overload
    def chat(self, turns: Turns, *, want: Want = ..., stream: Literal[True], **options: Any) -> Iterator[Part]: ...
    def chat(
        self,
        turns: Turns,
        *,
        want: Want = "text",
        seed: int = 0,
        stream: bool = False,
        progress: Progress | None = None,
        **options: Any,
    ) -> Reply | Iterator[Part]:
        """Answer one conversation with text, with one picture, or (`want="any"`) with both as the model decides.

        stream: an iterator of parts as they come, text in pieces and pictures when they are done.
        options: max_tokens (512), temperature (0: greedy), top_p, top_k, guidance ...
        """
        request = Request(conversation(turns), want)
        self.dialogue.must({"text": "chat", "image": "generate", "any": "interleave"}[want])
        parts = self._parts(request, seed, Options(**options), progress)
        if stream:
            return parts
        began = time.perf_counter()
        joined = _joined(parts)
        return Reply(tuple(joined), seed, {"seconds": time.perf_counter() - began})

    def chat_batch(
        self, conversations: Sequence[Turns], *, seed: int = 0, progress: Progress | None = None, **options: Any
    ) -> list[Reply]:
        """Answer many conversations with text; each reply is what `chat` alone would give."""
        self.dialogue.must("chat")
        chosen = Options(**options)
        requests = [Request(conversation(turns)) for turns in conversations]
        replies: list[Reply] = []
        for begin in range(0, len(requests), self.batch):
            replies += self._answer(requests[begin : begin + self.batch], seed, chosen)
            if progress is not None:
                progress(len(replies), len(requests))
        return replies

    def logits(self, pieces: Sequence[Sequence[Piece]]) -> Tensor:
        """Raw text logits [B, T, vocab] of rows of pieces, aligned to the right: what tests compare."""
        context = say(self.network.backbone, self._read(pieces))
        assert context.last_hidden is not None
        with torch.inference_mode():
            return self.network.backbone.head(context.last_hidden)

    def _read(self, rows: Sequence[Sequence[Piece]]):
        with torch.inference_mode():
            return self.network.read(rows)

    def _draw(
        self, requests: list[Request], n: int, seed: int, options: Options, progress: Progress | None
    ) -> list[Pillow.Image]:
        if not 1 <= n <= 1024:
            raise InputError(f"n must lie in 1..1024, not {n}")
        jobs = [(request, seed + k) for request in requests for k in range(n)]
        pictures: list[Pillow.Image] = []
        for begin in range(0, len(jobs), self.batch):
            part = jobs[begin : begin + self.batch]
            inner = None if progress is None else _share(progress, begin, len(part), len(jobs))
            made = self._made([r for r, _ in part], [s for _, s in part], options, [[]] * len(part), inner)
            pictures += [picture for own in made for picture in self._decoded(own)]
        return pictures

    def _made(
        self,
        requests: Sequence[Request],
        seeds: Sequence[int],
        options: Options,
        said: Sequence[Sequence[Piece]],
        progress: Progress | None = None,
    ) -> list[Made]:
        """Fill one picture's canvas for each request."""
        branches, grid = self.dialogue.branches(requests[0], options), self.dialogue.grid(options)
        rows = [self.dialogue.render(r, s, branch) for branch in branches for r, s in zip(requests, said, strict=True)]
        writer = self.dialogue.image(options)
        context = say(self.network.backbone, self._read(rows), room=grid[0] * grid[-1])
        canvas = draw(context, writer, grid, len(branches), Draws(seeds), progress)
        return [Made(slots, grid) for slots in canvas.value]

    def _decoded(self, made: Made) -> list[Pillow.Image]:
        """One at a time, and on a CPU by one thread: a picture's bytes depend neither on its neighbours in a
        convolution's batch nor on how many threads share its sums (float32 differs by some 1e-6, enough to truncate
        to another byte)."""
        with torch.inference_mode(), _one_thread(self.device):
            return self.dialogue.pictures(self.network.decode(made.slots[None], made.grid))

    def _answer(self, requests: Sequence[Request], seed: int, options: Options) -> list[Reply]:
        rows = self._read([self.dialogue.render(request) for request in requests])
        context = say(self.network.backbone, rows, room=options.max_tokens)
        draws = Draws([seed] * len(requests))
        *_, (_, canvas) = write(context, self.dialogue.text(options), options.max_tokens, draws)
        texts = [self.dialogue.tokenizer.decode(cut(ids, self.dialogue.stops)[0]) for ids in _written(canvas)]
        return [Reply((Text(text.strip()),), seed) for text in texts]

    def _parts(self, request: Request, seed: int, options: Options, progress: Progress | None) -> Iterator[Part]:
        """One reply, part by part."""
        if request.want == "image":
            yield from map(Image, self._draw([request], 1, seed, options, progress))
            return
        dialogue, said, draws = self.dialogue, list[Piece](), Draws([seed])
        context = say(self.network.backbone, self._read([dialogue.render(request)]), room=options.max_tokens)
        for count in range(MAX_IMAGES):
            ids, stop = yield from self._text(context, draws, options)
            if stop is None or stop != dialogue.opening or request.want != "any":
                return
            said.append(Ids([*ids, stop]))
            (made,) = self._made([request], [seed + count], options, [said], progress)
            yield from map(Image, self._decoded(made))
            said += [made, Ids(list(dialogue.closing))]
            with torch.inference_mode():
                context.extend(self._read([[Ids([stop]), made, Ids(list(dialogue.closing))]]))

    def _text(self, context: Any, draws: Draws, options: Options) -> Iterator[Part]:
        """Write text, yielding it as it comes; returns (its ids, the stop that ended it)."""
        stream, ids = self.dialogue.tokenizer.stream(), list[int]()
        for _, canvas in write(context, self.dialogue.text(options), options.max_tokens, draws):
            new = int(canvas.value[0, len(ids)])
            if new in self.dialogue.stops:
                if piece := stream.flush():
                    yield Text(piece)
                return ids, new
            ids.append(new)
            if piece := stream.push(new):
                yield Text(piece)
        if piece := stream.flush():
            yield Text(piece)
        return ids, None


@contextmanager
def _one_thread(device: torch.device) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1 if device.type == "cpu" else before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _written(canvas) -> list[Tensor]:
    return [ids[known] for ids, known in zip(canvas.value, canvas.known, strict=True)]


def _opened(source: Any) -> Any:
    return (
        source if isinstance(source, list | tuple) else Image.open(source) if not isinstance(source, Image) else source
    )


def _joined(parts: Iterator[Part]) -> list[Part]:
    """Neighbouring texts as one, without space around it."""
    out: list[Part] = []
    for part in parts:
        if isinstance(part, Text) and out and isinstance(out[-1], Text):
            out[-1] = Text(out[-1].text + part.text)
        else:
            out.append(part)
    texts = [Text(p.text.strip()) if isinstance(p, Text) else p for p in out]
    return [p for p in texts if not isinstance(p, Text) or p.text]


def _share(progress: Progress, begin: int, size: int, jobs: int) -> Progress:
    """Progress of one batch as its share of the whole, counted in canvas slots."""

    def report(done: int, total: int) -> None:
        progress(begin * total + done * size, jobs * total)

    return report
