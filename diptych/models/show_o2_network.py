"""Show-o2's network: latents in along two paths, out through a flow head, and pictures as parts of a context.

B pictures, T frames, N slots, n tokens, C channels of a latent on a grid of h x w, D and W widths of the language
model and of its flow head. Tokens are D + W wide (`backbone/flow_head.py`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from diptych.backbone.flow_head import DRAWN, WithFlowHead
from diptych.backbone.packing import Segment, Span
from diptych.backbone.transformer import RMSNorm
from diptych.canvas import Canvas, Port, Step, selected
from diptych.encoders.dual_path import DualPath
from diptych.models.network import Made, Network, Piece, Traced
from diptych.objectives.flow import waves
from diptych.tokenizers.wan import WanTokenizer

WAVES = 256  # sinusoids of a time in [0, 1], which is 1 for clean pictures
CLEAN, TOLD = 1.0, 0.0  # times of pictures before a picture, and of the model's own before its text, as published
VIDEO_SIDE = 14  # a frame that is read becomes 14 x 14 tokens


class Latents(Port):
    """Slots are latents, row by row, frame by frame. Fed are the embedded time and a token for 2 x 2 of them; a token
    answers with the velocities of as many slots that follow each other in a row, not of those it was made of."""

    span = Span("full", expert=DRAWN)

    def __init__(self, network: ShowO2Network, channels: int, patch: int):
        super().__init__()
        self._network = [network]  # in a list: its parameters are not this port's
        width, self.channels = network.backbone.flow.config.block.width, channels
        self.norm, self.modulate = RMSNorm(width, eps=1e-6), nn.Linear(width, 2 * width)
        self.out = nn.Linear(width, patch * patch * channels)

    def embed(self, canvas: Canvas, step: Step) -> tuple[Tensor, Tensor]:
        """memo: the embedded time [B, W]."""
        network, batch = self._network[0], len(canvas.known)
        time = network.clock(torch.as_tensor(step.time, device=canvas.value.device).expand(batch))
        return network.picture(framed(canvas.value, canvas.grid), time), time

    def head(self, hidden: Tensor, memo: Tensor, where: Tensor | None = None) -> Tensor:
        shift, scale = self.modulate(F.silu(memo))[:, None].chunk(2, -1)
        flow = self.norm(hidden[:, 1:, self._network[0].backbone.config.width :])
        velocity = self.out(flow * (1 + scale) + shift)
        return selected(velocity.flatten(1).unflatten(1, (-1, self.channels)), where)


def framed(slots: Tensor, grid: Sequence[int]) -> Tensor:
    """Slots [B, N, C] of a picture (h, w) or a video (T, h, w) -> latents [B, T, C, h, w]."""
    return slots.unflatten(1, (-1, *grid[-2:])).movedim(-1, 2)


class ShowO2Network(Network):
    """backbone: Qwen2.5 with its flow head. paths: latents to tokens. tokenizer: latents to pixels."""

    image_span = Span("full")

    def __init__(self, backbone: WithFlowHead, paths: DualPath, tokenizer: WanTokenizer):
        super().__init__()
        self.backbone: WithFlowHead = backbone
        self.paths, self.tokenizer = paths, tokenizer
        width, inner = backbone.config.width, backbone.flow.config.block.width
        self.time = nn.Sequential(nn.Linear(WAVES, inner), nn.SiLU(), nn.Linear(inner, inner))
        self.time_in = nn.Identity() if width == inner else nn.Linear(inner, width)
        self.draw = Latents(self, tokenizer.config.latent, paths.patch)

    @property
    def stride(self) -> int:
        """Pixels along each side of a token."""
        return self.tokenizer.factor * self.paths.patch

    def clock(self, time: Tensor) -> Tensor:
        """Times [B] -> embedded [B, W]."""
        return self.time(waves(time, WAVES).to(self.dtype))

    def picture(self, latents: Tensor, time: Tensor, side: int | None = None) -> Tensor:
        """Latents [B, T, C, h, w] at embedded times [B, W] -> tokens [B, 1 + n, D + W]: the time, then frame by frame.
        side: each frame is made that many tokens high and wide."""
        tokens = self.paths(latents.flatten(0, 1).to(self.dtype))
        if side is not None:
            height, width = (size // self.paths.patch for size in latents.shape[-2:])
            plane = tokens.transpose(1, 2).unflatten(2, (height, width))
            tokens = F.interpolate(plane, (side, side), mode="bilinear").flatten(2).transpose(1, 2)
        tokens = F.pad(tokens.unflatten(0, latents.shape[:2]).flatten(1, 2), (0, time.shape[-1]))
        return torch.cat([torch.cat([self.time_in(time), time], -1)[:, None], tokens], 1)

    def read(self, rows: Sequence[Sequence[Piece]]) -> list[list[Segment]]:
        return [self._late(row, segments) for row, segments in zip(rows, super().read(rows), strict=True)]

    def _late(self, row: Sequence[Piece], segments: list[Segment]) -> list[Segment]:
        """As published, tokens of a picture that is asked about see each other one token too late: from the one behind
        the time to the mark behind the picture. Of a video only as many as an image has."""
        out, count = list[Segment](), len(self.paths.position) + 1
        for i, piece in enumerate(row):
            own = segments[i]
            if isinstance(piece, Traced) and i + 1 < len(row):
                x, last = torch.cat([own.x, segments[i + 1].x]), max(len(own.x), count + 1)
                out += [Segment(x[:1]), Segment(x[1 : count + 1], self.image_span), Segment(x[count + 1 : len(own.x)])]
                segments[i + 1] = segments[i + 1]._replace(x=x[last:])
            else:
                out.append(own)
        return [segment for segment in out if len(segment.x)]

    def _recalled(self, pictures: list[Made | Traced]) -> Iterable[Tensor]:
        traced = iter(self.trace([p for p in pictures if isinstance(p, Traced)]))
        return [self._asked(next(traced)) if isinstance(p, Traced) else self._told(p) for p in pictures]

    def _asked(self, made: Made) -> Tensor:
        return self._shown(made, CLEAN, VIDEO_SIDE if len(made.grid) == 3 else None)

    def _told(self, made: Made) -> Tensor:
        return self._shown(made, TOLD if made.time is None else made.time, None)

    def _shown(self, made: Made, time: float, side: int | None) -> Tensor:
        clock = self.clock(torch.tensor([time], device=self.device))
        return self.picture(framed(made.slots[None].to(self.device), made.grid), clock, side)[0]

    def trace(self, pictures: list[Traced]) -> list[Made]:
        """Frames of a video, [T, 3, H, W], are each a picture of their own."""
        made = []
        for pixels, noise in pictures:
            frames = pixels if pixels.ndim == 4 else pixels[None]
            drawn = None if noise is None else noise.view(len(frames), *noise.shape[-3:]).to(self.device)
            sides = tuple(side // self.tokenizer.factor for side in frames.shape[-2:])
            grid = sides if pixels.ndim == 3 else (len(frames), *sides)
            made.append(Made(self.encode(frames.to(self.device), drawn).flatten(0, 1), grid))
        return made

    def encode(self, pixels: Tensor, noise: Tensor | None = None) -> Tensor:
        """Pixels [B, 3, H, W] in [-1, 1] -> slots [B, N, C]; with noise [B, C, h, w] a sample, else the mean."""
        drawn = None if noise is None else noise[:, :, None]
        return self.tokenizer.encode(pixels[:, :, None], drawn).flatten(2).transpose(1, 2)

    def recall(self, made: list[Made]) -> list[Tensor]:
        return [self._told(one) for one in made]

    def see(self, pictures: list[Tensor]) -> list[Tensor]:
        return [self._asked(made) for made in self.trace([Traced(p) for p in pictures])]

    def decode(self, slots: Tensor, grid: tuple[int, ...]) -> Tensor:
        """Of a video [B, 3, frames, H, W]."""
        pixels = self.tokenizer.decode(framed(slots, grid).transpose(1, 2)).clamp(-1, 1)
        return pixels[:, :, 0] if len(grid) == 2 else pixels
