"""What Janus, Janus-Pro and JanusFlow share: the Llama and SigLIP that their configs describe, and the conversation
templates of DeepSeek-VL.

Official code: deepseek-ai/Janus, janus/models/{clip_encoder,siglip_vit,processing_vlm,image_processing_vlm}.py and
janus/utils/conversation.py; janus/janusflow has copies.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import torch
from PIL import Image as Pillow
from torch import Tensor

from diptych.backbone.transformer import BackboneConfig
from diptych.canvas import Canvas, Step, Writer
from diptych.encoders.preprocess import janus_preprocess, to_uint8
from diptych.encoders.vit import ViTConfig
from diptych.models.family import Dialogue, Options
from diptych.models.network import Ids, Network, Piece, Seen
from diptych.models.ports import Words
from diptych.objectives.tokens import Token, argmax, sample
from diptych.samplers.guidance import alone
from diptych.samplers.schedules import raster
from diptych.tokenizers.text import TextTokenizer
from diptych.types import Image, Text, Turn

# Sizes the official code looks up by name; a config may state its own beside the name.
SIGLIP_L16 = {"patch_size": 16, "width": 1024, "layers": 24, "heads": 16, "mlp_ratio": 4}
# Keys that language_config leaves to transformers' LlamaConfig.
LLAMA = {
    "hidden_size": 4096,
    "intermediate_size": 11008,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "vocab_size": 32000,
    "rms_norm_eps": 1e-6,
    "rope_theta": 10000.0,
}
SYSTEM = (
    "You are a helpful language and vision assistant. You are able to understand the visual content that the user "
    "provides, and assist the user with a variety of tasks using natural language."
)


class Mark(str):
    """A special token that the template puts there."""


ROLES: dict[str, str] = {"user": Mark("<|User|>"), "assistant": Mark("<|Assistant|>")}
OLD_ROLES = {"user": "User", "assistant": "Assistant"}  # deepseek_old: plain words


def llama(config: dict[str, Any]) -> BackboneConfig:
    c = LLAMA | config
    return BackboneConfig(
        width=c["hidden_size"],
        depth=c["num_hidden_layers"],
        heads=c["num_attention_heads"],
        kv_heads=c.get("num_key_value_heads") or c["num_attention_heads"],
        hidden=c["intermediate_size"],
        vocab=c["vocab_size"],
        head_width=c.get("head_dim"),
        theta=c["rope_theta"],
        eps=c["rms_norm_eps"],
        tied=c.get("tie_word_embeddings", False),
    )


def siglip(params: dict[str, Any]) -> ViTConfig:
    """CLIPVisionTower: `select_layer` <= 0 counts blocks from the end, and those behind it are not even built."""
    p = SIGLIP_L16 | params
    layers, select = p["layers"], p.get("select_layer", -1)
    return ViTConfig(
        image_size=p["image_size"],
        patch=p["patch_size"],
        width=p["width"],
        depth=min(layers, layers + select + 1) if select <= 0 else select,
        heads=p["heads"],
        hidden=int(p["width"] * p["mlp_ratio"]),
        stem=tuple(p.get("stem", ())),  # of the built-in models; published ones have none
    )


class DeepSeekDialogue(Dialogue):
    """The `deepseek` and `deepseek_old` templates; pictures as the official processor makes them."""

    def __init__(
        self,
        folder: Path,
        network: Network,
        pictures: Mapping[str, Any],
        settings: Mapping[str, Any],
        roles: Mapping[str, str],
    ):
        """folder: the tokenizer's; pictures, settings: preprocessor_config and processor_config in official terms;
        roles: what the official commands call user and assistant."""
        # every prompt begins with BOS, whatever a tokenizer config that was saved anew has lost
        self.backbone, self.tokenizer = network.backbone, TextTokenizer(folder, {"add_bos_token": True})
        self.preprocess = janus_preprocess(
            pictures["image_size"], tuple(pictures["image_mean"]), tuple(pictures["image_std"]), pictures["min_size"]
        )
        self.roles, self.system = roles, settings.get("system_prompt", SYSTEM)
        self.begin, self.end, self.pad, self.eos = (
            self.tokenizer.special(name)
            for name in ("<begin_of_image>", "<end_of_image>", "<｜▁pad▁｜>", "<｜end▁of▁sentence｜>")
        )
        self.ending, self.stops = self.eos, frozenset({self.eos})

    def begun(self, turns: Sequence[Turn], system: str, said: Sequence[Piece] = ()) -> list[Piece]:
        """BOS, messages as `role: content`, and the opened reply with what was said of it so far. Without a turn of
        the role system the conversation begins with `system`, if that is not empty."""
        return merged([Ids(self.tokenizer.encode("")), *self._pieces(self._parts(turns, system)), *said])

    def shown(self, image: Image) -> list[Piece]:
        """A picture in a turn, between its marks."""
        return [Ids([self.begin]), Seen(self.preprocess(image.pixels)), Ids([self.end])]

    def _parts(self, turns: Sequence[Turn], system: str) -> list[str | Image]:
        """Marks, strings and pictures in the order of the official template."""
        given = [turn.text for turn in turns if turn.role == "system"]
        system = "\n\n".join(given) if given else system
        parts: list[str | Image] = [system + "\n\n"] if system else []
        for turn in turns:
            if turn.role != "system":
                parts += [self.roles[turn.role], ": ", *_content(turn)]
                parts.append("\n\n" if turn.role == "user" else Mark("<｜end▁of▁sentence｜>"))
        return [*parts, self.roles["assistant"], ":"]

    def _pieces(self, parts: Sequence[str | Image]) -> list[Piece]:
        """A special token's name is parsed only where the template put it, never in what a person wrote."""
        pieces: list[Piece] = []
        for kind, group in groupby(parts, key=type):
            if kind is str:
                text = "".join(str(part) for part in group)
                pieces.append(Ids(self.tokenizer.encode(text, frame=False, specials=False)))
                continue
            for part in group:
                own = self.shown(part) if isinstance(part, Image) else [Ids([self.tokenizer.special(str(part))])]
                pieces += own
        return pieces

    def text(self, options: Options) -> Writer:
        pick = argmax if not options.temperature else sample(options.temperature, options.top_k, options.top_p)
        stops = torch.tensor(sorted(self.stops))

        def ended(canvas: Canvas, step: Step) -> Tensor:
            return torch.isin(canvas.value[:, step.index], stops.to(canvas.value.device))

        return Writer(Words(self.backbone, lag=1), Token(pick), raster, alone, stop=ended)

    def pictures(self, pixels: Tensor) -> list[Pillow.Image]:
        return [Pillow.fromarray(p) for p in to_uint8(pixels, "trunc").cpu().numpy()]


def _content(turn: Turn) -> list[str | Image]:
    """The turn's parts, stripped at both ends; a picture stands on a line of its own unless the text says otherwise."""
    parts: list[str | Image] = []
    for part in turn.parts:
        new = part.text if isinstance(part, Text) else part
        if parts and isinstance(parts[-1], str) != isinstance(new, str):
            before, after = parts[-1], new
            spaced = isinstance(before, str) and before[-1:].isspace() or isinstance(after, str) and after[:1].isspace()
            parts += [] if spaced else ["\n"]
        parts.append(new)
    if parts and isinstance(parts[0], str):
        parts[0] = parts[0].lstrip()
    if parts and isinstance(parts[-1], str):
        parts[-1] = parts[-1].rstrip()
    return parts


def merged(pieces: Sequence[Piece]) -> list[Piece]:
    """Neighbouring ids as one piece."""
    out: list[Piece] = []
    for piece in pieces:
        if isinstance(piece, Ids) and out and isinstance(out[-1], Ids):
            out[-1] = Ids([*out[-1].ids, *piece.ids])
        else:
            out.append(piece)
    return out
