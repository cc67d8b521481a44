"""Feature networks, by name: what `features` measures distances in. The network belongs to the number.

    clip[=MODEL]        CLIP through transformers (a folder or a hub id); pictures and texts, [N, D]
    inception=FILE      InceptionV3 as FID uses it, weights from a safetensors file; pooled features [N, 2048]

Features come as float64 arrays, which `diptych.evaluation.features` turns into FID, KID, IS, CLIPScore and directions.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import numpy as np
import PIL.Image
import torch
from torch import Tensor

from diptych.errors import BenchmarkError
from diptych.images import open_image

Picture: TypeAlias = "str | Path | bytes | PIL.Image.Image"
CLIP = "openai/clip-vit-base-patch32"
MEAN = (0.48145466, 0.4578275, 0.40821073)
STD = (0.26862954, 0.26130258, 0.27577711)
BATCH = 32


class Network(Protocol):
    """Pictures to features."""

    def images(self, pictures: Sequence[Picture]) -> np.ndarray:
        """float64 [N, D]."""
        ...


def find(name: str, device: str = "auto") -> Network:
    """The network `clip`, `clip=MODEL` or `inception=FILE`. Raises `BenchmarkError`."""
    kind, given, source = name.partition("=")
    if kind == "clip":
        return Clip(source if given else CLIP, device)
    if kind == "inception" and source:
        from diptych.evaluation.inception import Inception

        return Inception(Path(source), place(device))
    raise BenchmarkError(f"unknown feature network {name!r}; write clip, clip=MODEL or inception=FILE.safetensors")


def features(pictures: Sequence[Picture], network: str | Network = "clip") -> np.ndarray:
    """Features of pictures, float64 [N, D], by a network or its name."""
    return (find(network) if isinstance(network, str) else network).images(pictures)


def place(device: str = "auto") -> torch.device:
    """A GPU if there is one, or what was asked for."""
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return torch.device(device)


def pretrained(loader: str, source: str, **options: Any) -> Any:
    """What transformers' class of this name loads from a folder or hub id.

    Raises `BenchmarkError` if transformers is not installed or the model cannot be had.
    """
    try:
        import transformers

        transformers.utils.logging.disable_progress_bar()  # one judge has several parts, and a bar of its own
        return getattr(transformers, loader).from_pretrained(source, **options)
    except ImportError as error:  # transformers itself, or what a model's class asks for (scipy, for Mask2Former)
        raise BenchmarkError('local judges need transformers and scipy: pip install "diptych[eval]"') from error
    except (OSError, ValueError) as error:
        said = " ".join(str(error).split())[:200]
        raise BenchmarkError(
            f"{source} cannot be loaded as {loader} ({said}); download it and name its folder"
        ) from error


def named(source: str) -> str:
    """A hub id, or a folder's name: what a result says of a model."""
    return Path(source).name if Path(source).is_dir() else source


def model(loader: str, source: str, device: str = "auto") -> Any:
    """A network in float32, of safetensors, ready to be asked."""
    return pretrained(loader, source, use_safetensors=True, dtype=torch.float32).to(place(device)).eval()


def batched(items: Sequence[Any], work: Callable[[Sequence[Any]], Tensor]) -> np.ndarray:
    """Rows of `work` on parts of the items, as float64. Raises `BenchmarkError` for none."""
    if not items:
        raise BenchmarkError("there is nothing to take features of; give one picture or text at least")
    with torch.inference_mode():
        parts = [work(items[begin : begin + BATCH]).double().cpu() for begin in range(0, len(items), BATCH)]
    return torch.cat(parts).numpy()


def upright(picture: Picture) -> PIL.Image.Image:
    """A picture as RGB; a string is a path."""
    if isinstance(picture, PIL.Image.Image):
        return picture.convert("RGB")
    return open_image(Path(picture) if isinstance(picture, str) else picture)


def planes(image: PIL.Image.Image) -> Tensor:
    """float32 [3, H, W], 0 to 1."""
    return torch.from_numpy(np.array(image)).permute(2, 0, 1).float() / 255


def normalised(pixels: Tensor, mean: Sequence[float] = MEAN, std: Sequence[float] = STD) -> Tensor:
    """[..., 3, H, W] with each colour's mean taken off, over its deviation; those of CLIP unless others are given."""
    centre, width = (torch.tensor(values).view(3, 1, 1) for values in (mean, std))
    return (pixels - centre) / width


class Clip:
    """CLIP: the shorter side to the size of its pictures (bicubic), the centre of it, its own normalisation."""

    def __init__(self, source: str = CLIP, device: str = "auto"):
        self.id = named(source)
        self.model = model("CLIPModel", source, device)
        self.tokenizer = pretrained("AutoTokenizer", source)
        self.size: int = self.model.config.vision_config.image_size
        self.length: int = self.model.config.text_config.max_position_embeddings

    def images(self, pictures: Sequence[Picture]) -> np.ndarray:
        """float64 [N, D], not normalised."""
        return batched(pictures, self._images)

    def texts(self, texts: Sequence[str]) -> np.ndarray:
        """float64 [N, D], not normalised; what is longer than the model reads is cut off."""
        return batched(texts, self._texts)

    def _images(self, pictures: Sequence[Picture]) -> Tensor:
        pixels = torch.stack([normalised(planes(_centre(upright(picture), self.size))) for picture in pictures])
        seen = self.model.vision_model(pixel_values=pixels.to(self.model.device))
        return self.model.visual_projection(seen.pooler_output)

    def _texts(self, texts: Sequence[str]) -> Tensor:
        ids = self.tokenizer(list(texts), padding=True, truncation=True, max_length=self.length, return_tensors="pt")
        read = self.model.text_model(
            input_ids=ids["input_ids"].to(self.model.device), attention_mask=ids["attention_mask"].to(self.model.device)
        )
        return self.model.text_projection(read.pooler_output)


def _centre(image: PIL.Image.Image, size: int) -> PIL.Image.Image:
    """The shorter side to `size`, and the middle of the longer one, rounded as torchvision does."""
    width, height = image.size
    short = min(width, height)
    width, height = int(size * width / short), int(size * height / short)
    scaled = image.resize((width, height), PIL.Image.Resampling.BICUBIC)
    left, top = round((width - size) / 2), round((height - size) / 2)
    return scaled.crop((left, top, left + size, top + size))
