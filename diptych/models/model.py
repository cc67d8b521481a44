"""What a user holds: `model.chat`, `model.generate`, `model.edit`, the same for every family."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import groupby
from pathlib import Path
from typing import Any, Literal, cast, overload

import torch
from PIL import Image as Pillow
from torch import Tensor

from diptych.canvas import Canvas, Draws, Given
from diptych.errors import InputError
from diptych.models.family import Dialogue, Options
from diptych.models.jobs import Job, Preview, Progress, Watched, given_text, jobs_of, seeds_of, several
from diptych.models.network import Ids, Made, Network, Piece
from diptych.models.painting import Side, beyond, encoded, given, onward, side_of, under
from diptych.models.spoken import spoken
from diptych.models.thinking import think
from diptych.samplers.conversation import Watch, cut, draw, say, write
from diptych.types import Draft, Image, Part, Reply, Request, Text, Turn, Turns, Want, conversation

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
        """Of chat, generate, edit, inpaint, infill, interleave: what the model was trained for."""
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
        seed: int | Sequence[int] = 0,
        progress: Progress | None = None,
        preview: Preview | None = None,
        every: int = 8,
        **options: Any,
    ) -> list[Pillow.Image]:
        """Draw prompts: `n` RGB pictures a prompt, flat, in order. Picture k of a prompt has seed `seed + k`,
        where `seed` may also be a list, one a prompt.

        options: guidance, temperature, top_k, top_p, steps, size (height, width), ...; None is the published default.
        think: the model plans in words first, where it has learned that (`chat` with want="image" shows them).
        preview: told (number of the picture, the picture so far) after each `every` visits to its canvas.
        Raises CapabilityError, InputError.
        """
        self.dialogue.must("generate")
        prompts = given_text(prompt, "a prompt is a string that says what to draw; it is empty here")
        requests = [Request((Turn.user(p),), "image") for p in prompts]
        return self._draw(jobs_of(requests, n, seed), Options(**options), Watched(progress, preview, every))

    def edit(
        self,
        image: Any,
        instruction: str | Sequence[str],
        *,
        mask: Any = None,
        n: int = 1,
        seed: int | Sequence[int] = 0,
        progress: Progress | None = None,
        preview: Preview | None = None,
        every: int = 8,
        **options: Any,
    ) -> list[Pillow.Image]:
        """Change pictures as instructed -> `n` RGB pictures an instruction.

        image: one source, or a list of sources for one edit; with a list of instructions, a list of as many sources.
        mask: inpainting. A picture of the source's size (or a list, one an instruction), white where to paint anew;
        the instruction then says what the whole picture shows.
        """
        self.dialogue.must("edit" if mask is None else "inpaint")
        single = isinstance(instruction, str)
        instructions = given_text(instruction, "an instruction is a string that says what to change; it is empty here")
        sources, masks = ([image], [mask]) if single else (list(image), [None] * len(image) if mask is None else mask)
        if not len(sources) == len(instructions) == len(masks):
            raise InputError(f"{len(sources)} pictures but {len(instructions)} instructions; give as many of each")
        chosen = Options(**options)
        if mask is None:
            asked = zip(map(_opened, sources), instructions, strict=True)
            turns = [Turn.user(*(s if isinstance(s, list | tuple) else [s]), text) for s, text in asked]
            jobs = jobs_of([Request((turn,), "image") for turn in turns], n, seed)
        else:
            grid = self.dialogue.grid(chosen)
            pairs = [(_image(s), _image(m)) for s, m in zip(sources, masks, strict=True)]
            starts = [given(self.network, self.dialogue, s, m, grid) for s, m in pairs]
            jobs = jobs_of([Request((Turn.user(text),), "image") for text in instructions], n, seed, starts)
        return self._draw(jobs, chosen, Watched(progress, preview, every))

    def extend(
        self,
        image: Any,
        prompt: str | Sequence[str],
        *,
        side: str | Sequence[str] = "right",
        n: int = 1,
        seed: int = 0,
        progress: Progress | None = None,
        **options: Any,
    ) -> list[Pillow.Image]:
        """Let a picture go on beyond its edge: `n` RGB pictures, half a picture larger for each side that is named.

        image: cut to the square the model writes. prompt: what the whole shows; one, or one for each side. side: left,
        right, top or bottom, or several of them in turn, all along or all across. Raises CapabilityError, InputError.
        """
        self.dialogue.must("inpaint")
        sides: list[Side] = [side_of(name) for name in ([side] if isinstance(side, str) else side)]
        prompts = given_text(prompt, "a prompt is a string that says what the whole picture shows; it is empty here")
        prompts = prompts * len(sides) if isinstance(prompt, str) else prompts
        if len(prompts) != len(sides):
            raise InputError(f"{len(prompts)} prompts for {len(sides)} sides; give one, or one for each side")
        if not sides:
            raise InputError("name a side at which the picture goes on: left, right, top or bottom")
        if len({name in ("left", "right") for name in sides}) != 1:
            raise InputError("a picture goes on to left and right or to top and bottom, not both in one call")
        chosen = Options(**options)
        grid, watch = self.dialogue.grid(chosen), Watched(progress)
        whole = [encoded(self.network, self.dialogue, _image(image)).unflatten(0, grid)] * several(n)
        for number, (name, text) in enumerate(zip(sides, prompts, strict=True)):
            request = Request((Turn.user(text),), "image")
            starts = [beyond(codes, name, grid) for codes in whole]
            jobs = [Job(request, seed + k, start) for k, start in enumerate(starts)]
            made = self._fill(jobs, chosen, watch, number * n, len(sides) * n)
            whole = [onward(codes, one.slots.unflatten(0, grid), name) for codes, one in zip(whole, made, strict=True)]
        return [
            picture for codes in whole for picture in self._decoded(Made(codes.flatten(0, 1), tuple(codes.shape[:2])))
        ]

    def infill(
        self,
        text: str,
        image: Any,
        *,
        mask: Any = None,
        seed: int = 0,
        progress: Progress | None = None,
        **options: Any,
    ) -> Reply:
        """Complete a text and the picture it goes with, both at once -> a Reply of the text and the picture.

        text: with `<m>` for each token that is missing, or `<m3>` for three. mask: white where the picture is missing.
        Raises CapabilityError, and InputError where nothing is.
        """
        self.dialogue.must("infill")
        began, dialogue, chosen = time.perf_counter(), cast(Any, self.dialogue), Options(**options)
        (words,) = given_text(text, "the text is empty; write it with <m> where a token is missing")
        shown, grid = _image(image), dialogue.grid(Options())
        anew = None if mask is None else under(dialogue, shown, _image(mask), grid)
        sheet = dialogue.sheet(Request((Turn.user(words, shown),)), anew)
        writer, slots = dialogue.joint(sheet.runs, chosen), len(sheet.given.known)
        branches = dialogue.text_branches(chosen)
        watch = Watched(progress).of(self.network, dialogue, 0, 1, 1)
        context = say(self.network.backbone, [[] for _ in branches])
        given = _together([sheet.given])
        canvas = draw(context, writer, (slots,), len(branches), Draws([seed]), watch, given)
        (ids,) = canvas.value
        (picture,) = self._decoded(Made(ids[sheet.picture] - dialogue.mask - 1, grid))
        parts = Text(dialogue.spell(ids[sheet.text].tolist())), Image(picture)
        return Reply(parts, seed, {"seconds": time.perf_counter() - began})

    @overload
    def chat(self, turns: Turns, *, want: Want = ..., stream: Literal[False] = ..., **options: Any) -> Reply: ...
    @overload
    def chat(self, turns: Turns, *, want: Want = ..., stream: Literal[True], **options: Any) -> Iterator[Part]: ...
    @overload
    def chat(
        self, turns: Turns, *, want: Want = ..., stream: Literal["drafts"], **options: Any
    ) -> Iterator[Part | Draft]: ...
    def chat(
        self,
        turns: Turns,
        *,
        want: Want = "text",
        seed: int = 0,
        stream: bool | Literal["drafts"] = False,
        progress: Progress | None = None,
        **options: Any,
    ) -> Reply | Iterator[Part] | Iterator[Part | Draft]:
        """Answer one conversation with text, with one picture, or (`want="any"`) with both as the model decides.

        stream: an iterator of parts as they come, text in pieces that are final and pictures when they are done. With
        "drafts" each text is a row of `Draft`s, the whole of it as it stands after each visit: a model of masked
        diffusion writes anywhere, and `Draft.final` says how many characters will not change.
        options: max_tokens (512), temperature (0: greedy), top_p, top_k, guidance, think ...
        """
        request = Request(conversation(turns), want)
        self.dialogue.must({"text": "chat", "image": "generate", "any": "interleave"}[want])
        if stream not in (True, False, "drafts"):
            raise InputError(f'stream is True, False or "drafts", not {stream!r}')
        parts = self._parts(request, seed, Options(**options), progress, stream == "drafts")
        if stream:
            return parts
        began = time.perf_counter()
        joined = _joined(part for part in parts if not isinstance(part, Draft))
        return Reply(tuple(joined), seed, {"seconds": time.perf_counter() - began})

    def chat_batch(
        self,
        conversations: Sequence[Turns],
        *,
        seed: int | Sequence[int] = 0,
        progress: Progress | None = None,
        **options: Any,
    ) -> list[Reply]:
        """Answer many conversations with text; each reply is what `chat` alone would give. seed: one, or one each."""
        self.dialogue.must("chat")
        chosen = Options(**options)
        requests = [Request(conversation(turns)) for turns in conversations]
        seeds = seeds_of(seed, len(requests))
        replies: list[Reply] = []
        for begin in range(0, len(requests), self.batch):
            part = slice(begin, begin + self.batch)
            replies += self._answer(requests[part], seeds[part], chosen)
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

    def _draw(self, jobs: Sequence[Job], options: Options, watch: Watched) -> list[Pillow.Image]:
        """Neighbours for which the request decides the same options, such as a size, are drawn together."""
        pictures: list[Pillow.Image] = []
        for fitted, alike in groupby(jobs, lambda job: self.dialogue.fitted(job.request, options)):
            for made in self._fill(list(alike), fitted, watch, len(pictures), len(jobs)):
                pictures += self._decoded(made)
        return pictures

    def _fill(self, jobs: Sequence[Job], options: Options, watch: Watched, before: int, total: int) -> Iterator[Made]:
        """The jobs' canvases, a batch at a time; `before` of `total` pictures were made beforehand."""
        for begin in range(0, len(jobs), self.batch):
            part = self._thought(jobs[begin : begin + self.batch], options)
            told = watch.of(self.network, self.dialogue, before + begin, len(part), total)
            yield from self._made(part, options, watch=told)

    def _made(
        self, jobs: Sequence[Job], options: Options, said: Sequence[Piece] = (), watch: Watch | None = None
    ) -> list[Made]:
        """Fill one picture's canvas for each job."""
        branches, grid = self.dialogue.branches(jobs[0].request, options), self.dialogue.grid(options)
        rows = [self.dialogue.render(job.request, [*said, *job.said], branch) for branch in branches for job in jobs]
        start = _together([job.start for job in jobs if job.start is not None])
        context = say(self.network.backbone, self._read(rows), room=grid[0] * grid[-1])
        draws = Draws([job.seed for job in jobs])
        canvas = draw(context, self.dialogue.image(options), grid, len(branches), draws, watch, start)
        return [Made(slots, grid) for slots in canvas.value]

    def _thought(self, jobs: Sequence[Job], options: Options) -> list[Job]:
        """The jobs with what the model thinks about each before it draws, where that is asked for."""
        if not options.think or jobs[0].said:
            return list(jobs)
        requests = [self.dialogue.thinking(job.request) for job in jobs]
        thoughts = think(self.network, self.dialogue, requests, options, Draws([job.seed for job in jobs]))
        return [job._replace(request=r, said=(t,)) for job, r, t in zip(jobs, requests, thoughts, strict=True)]

    def _decoded(self, made: Made) -> list[Pillow.Image]:
        """One at a time, and on a CPU by one thread: a picture's bytes depend neither on its neighbours in a
        convolution's batch nor on how many threads share its sums (float32 differs by some 1e-6, enough to truncate
        to another byte)."""
        with torch.inference_mode(), _one_thread(self.device):
            return self.dialogue.pictures(self.network.decode(made.slots[None], made.grid))

    def _answer(self, requests: Sequence[Request], seeds: Sequence[int], options: Options) -> list[Reply]:
        branches = self.dialogue.text_branches(options)
        requests = [self.dialogue.thinking(r) for r in requests] if options.think else requests
        rows = self._read([self.dialogue.render(r, branch=branch) for branch in branches for r in requests])
        context = say(self.network.backbone, rows, room=options.max_tokens)
        draws = Draws(seeds)
        starts = [self.dialogue.given(request) for request in requests]
        given = _together([start for start in starts if start is not None])
        *_, (_, canvas) = write(context, self.dialogue.text(options), options.max_tokens, draws, given, len(branches))
        written = _written(canvas, given)
        texts = [Text(self.dialogue.spell(cut(ids, self.dialogue.stops)[0])) for ids in written]
        return [Reply((text,), seed) for text, seed in zip(texts, seeds, strict=True)]

    def _parts(
        self, request: Request, seed: int, options: Options, progress: Progress | None, drafts: bool = False
    ) -> Iterator[Part | Draft]:
        """One reply, part by part."""
        if request.want == "image":
            jobs = self._thought(jobs_of([request], 1, seed), options)
            yield from (Text(self.dialogue.spell(thought.ids[:-1])) for job in jobs for thought in job.said)
            yield from map(Image, self._draw(jobs, options, Watched(progress)))
            return
        dialogue, said, draws = self.dialogue, list[Piece](), Draws([seed])
        request = dialogue.thinking(request) if options.think else request
        branches = dialogue.text_branches(options)
        rows = self._read([dialogue.render(request, branch=branch) for branch in branches])
        context = say(self.network.backbone, rows, room=options.max_tokens)
        for count in range(MAX_IMAGES):
            start = dialogue.given(request)
            given = None if start is None else _together([start])
            visits = write(context, dialogue.text(options), options.max_tokens, draws, given, len(branches))
            canvases = (canvas if given is None else canvas.without(given.known[0]) for _, canvas in visits)
            whole = dialogue.spell if dialogue.rewrites else None
            ids, stop = yield from spoken(canvases, dialogue.tokenizer, dialogue.stops, drafts, whole)
            if stop is None or stop != dialogue.opening or request.want != "any":
                return
            said.append(Ids([*ids, stop]))
            watch = Watched(progress).of(self.network, dialogue, 0, 1, 1)
            (made,) = self._made([Job(request, seed + count)], options, said, watch)
            yield from map(Image, self._decoded(made))
            said += [made, Ids(list(dialogue.closing))]
            with torch.inference_mode():
                context.extend(self._read([[Ids([stop]), made, Ids(list(dialogue.closing))]] * len(branches)))


@contextmanager
def _one_thread(device: torch.device) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1 if device.type == "cpu" else before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _together(starts: Sequence[Given]) -> Given | None:
    return Given(*map(torch.stack, zip(*starts, strict=True))) if starts else None


def _written(canvas: Canvas, given: Given | None) -> list[Tensor]:
    """What of each text was not there beforehand."""
    known = canvas.known if given is None else canvas.known & ~given.known.to(canvas.known.device)
    return [ids[own] for ids, own in zip(canvas.value, known, strict=True)]


def _opened(source: Any) -> Any:
    return (
        source if isinstance(source, list | tuple) else Image.open(source) if not isinstance(source, Image) else source
    )


def _joined(parts: Iterable[Part]) -> list[Part]:
    """Neighbouring texts as one, without space around it."""
    out: list[Part] = []
    for part in parts:
        if isinstance(part, Text) and out and isinstance(out[-1], Text):
            out[-1] = Text(out[-1].text + part.text)
        else:
            out.append(part)
    texts = [Text(p.text.strip()) if isinstance(p, Text) else p for p in out]
    return [p for p in texts if not isinstance(p, Text) or p.text]


def _image(source: Any) -> Image:
    return source if isinstance(source, Image) else Image.open(source)
