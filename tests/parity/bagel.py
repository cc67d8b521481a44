"""What the tests of BAGEL share: the set as a model folder, its pictures, its recorded noise."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image as Pillow
from tokenizers import Tokenizer, models, pre_tokenizers
from torch import Tensor

import diptych
from diptych.encoders.native import Native
from diptych.encoders.preprocess import normalise
from diptych.models.bagel import MARKS
from diptych.models.model import Model
from diptych.models.network import Ids, Piece, Seen, Traced
from diptych.types import Image, Request, Text, Turn
from tests.parity.sets import Case, GoldenSet, sets_of

SETS = sets_of("bagel")
ROLES = ("bos_token_id", "eos_token_id", "start_of_image", "end_of_image")  # in the order of MARKS
Check = Callable[[Any, GoldenSet, str, Case], None]


def marks(golden: GoldenSet) -> list[int]:
    return [golden.settings["_special_token_ids"][role] for role in ROLES]


def numbers(count: int, specials: dict[str, int]) -> Tokenizer:
    """Text is numbers, and a number its own id."""
    vocabulary = {str(i): i for i in range(count) if i not in specials.values()} | specials
    made = Tokenizer(models.WordLevel(vocabulary, unk_token="0"))
    made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()  # type: ignore[assignment]
    made.add_special_tokens(list(specials))
    return made


def loaded(golden: GoldenSet, folder: Path) -> Model:
    """The set as a model whose text is numbers and whose pictures are resized as the set's: it has no tokenizer."""
    for file in golden.folder.resolve().iterdir():
        if file.name == "config.json" or file.name in ("ema.safetensors", "ae.safetensors"):
            (folder / file.name).symlink_to(file)
    vocab = golden.config["llm_config"]["vocab_size"]
    numbers(vocab, dict(zip(MARKS, marks(golden), strict=True))).save(str(folder / "tokenizer.json"))
    with torch.inference_mode(False):  # whoever asks first: its weights are to learn as well
        found = diptych.load(folder, device="cpu", dtype="float32")
    dialogue: Any = found.dialogue
    dialogue.written, dialogue.seen = (native(golden, f"{kind}_transform") for kind in ("vae", "vit"))
    return found


def native(golden: GoldenSet, name: str) -> Native:
    stated = golden.settings["_transforms"]
    sides = (stated[name][f"{side}_size"] for side in ("max_image", "min_image"))
    return Native(*sides, stated[name]["image_stride"], stated["max_pixels"])


def told(ids: Iterable[int]) -> str:
    return " ".join(map(str, ids))


def shot(pixels: Tensor) -> Pillow.Image:
    return Pillow.fromarray(pixels.numpy())


def turns(*parts: Tensor) -> tuple[Turn, ...]:
    """uint8 pictures [h, w, 3] and texts Int[n] as one turn."""
    return (Turn.user(*(Image(shot(p)) if p.ndim == 3 else Text(told(p.tolist())) for p in parts)),)


def seen(found: Any, pixels: Tensor) -> Seen:
    """A picture that goes straight to the vision transformer, without the first resizing."""
    return Seen(normalise(found.dialogue.seen(shot(pixels))))


def traced(found: Any, pixels: Tensor, noise: Tensor) -> Traced:
    return Traced(normalise(found.dialogue.written(shot(pixels))), noise[0])


def render(found: Any, request: Request, case: Case, said: Sequence[Piece] = (), branch: str = "full") -> list[Piece]:
    """As the dialogue renders, with the noise that was recorded for the autoencoder."""
    noise = iter(sorted(name for name in case.inputs if name.startswith("vae_noise")))
    pieces = found.dialogue.render(request, said, branch)
    return [
        piece._replace(noise=case.inputs[next(noise)][0]) if isinstance(piece, Traced) else piece for piece in pieces
    ]


def begin(golden: GoldenSet) -> Ids:
    """The mark after which text is written."""
    return Ids(marks(golden)[:1])
