"""Pictures from outside: anything a person may hand over, checked, decoded once, as RGB.

Only PNG, JPEG, WebP and GIF (first frame) are read, told by their content and not by their name. Size is read from the
header and refused before a pixel is decoded, so that a few kilobytes cannot ask for gigabytes. The orientation that
cameras note in EXIF is applied, once: what comes out carries no such note. Transparent pixels are laid on white.
"""

import base64
import binascii
import io
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
import PIL.Image
from PIL.PngImagePlugin import PngInfo

from diptych.errors import ImageError
from diptych.storage import replacing

FORMATS = ("PNG", "JPEG", "WEBP", "GIF")
MAX_PIXELS = 64_000_000
MAX_BYTES = 50_000_000

_ORIENTATION_TAG = 0x0112
_TURNS = {  # EXIF orientation -> how to turn the stored picture so that it stands upright
    2: PIL.Image.Transpose.FLIP_LEFT_RIGHT,
    3: PIL.Image.Transpose.ROTATE_180,
    4: PIL.Image.Transpose.FLIP_TOP_BOTTOM,
    5: PIL.Image.Transpose.TRANSPOSE,
    6: PIL.Image.Transpose.ROTATE_270,
    7: PIL.Image.Transpose.TRANSVERSE,
    8: PIL.Image.Transpose.ROTATE_90,
}


@dataclass(frozen=True)
class Image:
    """A picture in a conversation: upright RGB pixels."""

    pixels: PIL.Image.Image

    @classmethod
    def open(cls, source: "ImageSource") -> "Image":
        """A path, PIL picture, uint8 array, encoded bytes or data URI as a part of a conversation."""
        return source if isinstance(source, Image) else cls(open_image(source))

    @property
    def size(self) -> tuple[int, int]:
        """Width and height, as PIL gives them."""
        return self.pixels.size

    def save(self, path: str | os.PathLike[str], *, prompt: str = "", seed: int | None = None, model: str = "") -> Path:
        """Writes a PNG that remembers how it was made."""
        return save_png(self.pixels, path, prompt=prompt, seed=seed, model=model)


ImageSource: TypeAlias = str | os.PathLike[str] | bytes | PIL.Image.Image | np.ndarray | Image


def open_image(source: ImageSource, *, max_pixels: int = MAX_PIXELS, max_bytes: int = MAX_BYTES) -> PIL.Image.Image:
    """An upright RGB picture from a path, PIL picture, uint8 array [H, W, 1 | 3 | 4] or [H, W], bytes or data URI.

    Raises ImageError for what is missing, no picture, too large, of another format, or an address on the network.
    """
    if isinstance(source, Image):
        return source.pixels
    if isinstance(source, PIL.Image.Image):
        return _upright_rgb(source, "the picture", max_pixels)
    if isinstance(source, np.ndarray):
        return _upright_rgb(_from_array(source), "the array", max_pixels)
    data, name = _encoded(source, max_bytes)
    return _decode(data, name, max_pixels)


def save_png(
    image: PIL.Image.Image,
    path: str | os.PathLike[str],
    *,
    prompt: str = "",
    seed: int | None = None,
    model: str = "",
) -> Path:
    """Writes `image` as a PNG whose text fields say what made it (`prompt`, `seed`, `model`); whole or not at all."""
    notes = PngInfo()
    fields = {"prompt": prompt, "seed": "" if seed is None else str(seed), "model": model, "software": "diptych"}
    for field, value in fields.items():
        if value:
            notes.add_itxt(field, value.encode("utf-8", "replace").decode("utf-8"))
    with replacing(path) as draft:
        image.save(draft, format="PNG", pnginfo=notes)
    return Path(path)


def data_uri(image: PIL.Image.Image, *, lossy: bool = False) -> str:
    """The picture as a PNG (lossy: JPEG) inside a `data:` address, for pages and JSON."""
    buffer, kind = io.BytesIO(), "jpeg" if lossy else "png"
    image.save(buffer, format=kind, **({"quality": 85} if lossy else {}))
    return f"data:image/{kind};base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


def _encoded(source: str | os.PathLike[str] | bytes, max_bytes: int) -> tuple[bytes, str]:
    """The encoded bytes of a picture, and a short name for it in messages."""
    if isinstance(source, bytes | bytearray | memoryview):
        _check_bytes(len(source), "the picture", max_bytes)
        return bytes(source), "the picture"
    if not isinstance(source, str | os.PathLike):
        raise ImageError(
            f"{type(source).__name__} is no picture; pass a path, a PIL image, a uint8 array, bytes or a data: URI"
        )
    text = os.fspath(source)
    if isinstance(text, bytes):
        text = os.fsdecode(text)
    if text[:5].lower() == "data:":
        return _from_data_uri(text, max_bytes), "the data: URI"
    if scheme := re.match(r"[A-Za-z][A-Za-z0-9+.-]+://", text):
        raise ImageError(f"{scheme[0]} addresses are not fetched; download the picture and pass the file")
    return _from_file(text, max_bytes), _short(text)


def _from_file(path: str, max_bytes: int) -> bytes:
    name = _short(path)
    try:
        if os.path.isdir(path):
            raise ImageError(f"{name}: is a folder; pass one picture file")
        if os.path.exists(path) and not os.path.isfile(path):
            raise ImageError(f"{name}: is not a regular file")
        with open(path, "rb") as file:
            _check_bytes(os.fstat(file.fileno()).st_size, name, max_bytes)
            return file.read(max_bytes + 1)
    except FileNotFoundError:
        raise ImageError(f"{name}: no such file") from None
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        reason = error.strerror if isinstance(error, OSError) and error.strerror else "not a usable path"
        raise ImageError(f"{name}: {reason.lower()}") from error


def _from_data_uri(text: str, max_bytes: int) -> bytes:
    head, comma, body = text.partition(",")
    if not comma or not head.lower().endswith(";base64"):
        raise ImageError("the data: URI is not of the form data:image/png;base64,...")
    _check_bytes(len(body) * 3 // 4, "the data: URI", max_bytes)
    try:
        return base64.b64decode(re.sub(r"\s+", "", body), validate=True)
    except (binascii.Error, ValueError) as error:
        raise ImageError("the data: URI holds no valid base64") from error


def _from_array(array: np.ndarray) -> PIL.Image.Image:
    if array.dtype != np.uint8:
        raise ImageError(f"an array of {array.dtype} is ambiguous; scale it to 0..255 and convert it to uint8")
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[:, :, 0]
    if 0 in array.shape or not (array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (3, 4))):
        raise ImageError(f"an array of shape {array.shape} is no picture; pass [height, width, 3]")
    return PIL.Image.fromarray(np.ascontiguousarray(array))


def _decode(data: bytes, name: str, max_pixels: int) -> PIL.Image.Image:
    try:
        picture = PIL.Image.open(io.BytesIO(data), formats=FORMATS)
    except (PIL.Image.DecompressionBombError, PIL.Image.DecompressionBombWarning) as error:
        raise ImageError(f"{name}: too large; the limit is {max_pixels / 1e6:.0f} megapixels") from error
    except Exception as error:  # a decoder on bytes from outside: whatever it raises, the bytes are to blame
        raise ImageError(f"{name}: not a PNG, JPEG, WebP or GIF picture") from error
    with picture:
        return _upright_rgb(picture, name, max_pixels)


def _upright_rgb(picture: PIL.Image.Image, name: str, max_pixels: int) -> PIL.Image.Image:
    width, height = picture.size  # known from the header; nothing is decoded yet
    if width * height > max_pixels:
        limit = f"{max_pixels / 1e6:.0f} megapixels"
        raise ImageError(f"{name}: {width}x{height} is too large; the limit is {limit}, make it smaller first")
    try:
        rgb = _rgb(picture)
        turn = _TURNS.get(_orientation(picture))
        rgb = rgb.transpose(turn) if turn is not None else rgb
    except ImageError:
        raise
    except Exception as error:  # as in _decode
        raise ImageError(f"{name}: damaged or cut short, it cannot be decoded") from error
    rgb.info = {}  # neither the orientation, now applied, nor colour profiles and comments travel on
    return rgb


def _orientation(picture: PIL.Image.Image) -> int:
    """The EXIF orientation, 1 where there is none. A damaged note is no reason to refuse a good picture."""
    try:
        return int(picture.getexif().get(_ORIENTATION_TAG, 1))
    except Exception:  # the EXIF reader raises whatever its parser trips over
        return 1


def _rgb(picture: PIL.Image.Image) -> PIL.Image.Image:
    """Any mode as a new RGB picture: 16 bits keep their high byte, transparency is laid on white."""
    picture.load()
    if picture.mode == "F":
        raise ImageError("a picture of floats is ambiguous; scale it to 0..255 and convert it to 8 bits")
    if picture.mode == "I" or picture.mode.startswith("I;16"):
        values = np.asarray(picture).astype(np.int64)
        return PIL.Image.fromarray((values >> 8).clip(0, 255).astype(np.uint8)).convert("RGB")
    if picture.has_transparency_data:
        rgba = picture.convert("RGBA")
        white = PIL.Image.new("RGBA", rgba.size, (255, 255, 255, 255))
        return PIL.Image.alpha_composite(white, rgba).convert("RGB")
    return picture.convert("RGB") if picture.mode != "RGB" else picture.copy()


def _check_bytes(count: int, name: str, limit: int) -> None:
    if count > limit:
        raise ImageError(f"{name}: {count / 1e6:.0f} MB is too large; the limit is {limit / 1e6:.0f} MB")


def _short(path: str) -> str:
    """The last part of a path, printable and of bounded length: enough to find it, too little to leak a layout."""
    name = os.path.basename(path.rstrip("/\\")) or path
    printable = "".join(c if c.isprintable() else "?" for c in name)
    return printable if len(printable) <= 60 else printable[:57] + "..."
