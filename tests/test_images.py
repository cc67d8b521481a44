"""Anything a person hands over as a picture comes out as upright RGB, or as one clear error."""

import base64
import io
import struct
import zlib

import numpy as np
import PIL.Image
import pytest
from hypothesis import given
from hypothesis import strategies as st

from diptych import Image
from diptych.errors import ImageError
from diptych.images import data_uri, open_image, save_png

CORNERS = np.zeros((2, 3, 3), np.uint8)
CORNERS[0, 0], CORNERS[0, 2], CORNERS[1, 0], CORNERS[1, 2] = (250, 0, 0), (0, 250, 0), (0, 0, 250), (250, 250, 0)


def encoded(image: PIL.Image.Image, kind: str = "PNG", **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format=kind, **options)
    return buffer.getvalue()


def png(width: int, height: int, extra: bytes = b"", data: bytes = b"") -> bytes:
    """A PNG that says it is of this size, whatever it holds."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + extra + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def test_every_kind_of_source_gives_the_same_picture(tmp_path):
    picture = PIL.Image.fromarray(CORNERS)
    data = encoded(picture)
    (tmp_path / "a.png").write_bytes(data)
    sources = [
        tmp_path / "a.png",
        str(tmp_path / "a.png"),
        data,
        picture,
        CORNERS,
        data_uri(picture),
        Image(picture),
    ]
    assert all(np.array_equal(np.asarray(open_image(source)), CORNERS) for source in sources)


def test_what_comes_out_is_ours_to_change():
    picture = PIL.Image.fromarray(CORNERS)
    open_image(picture).putpixel((0, 0), (1, 2, 3))
    assert picture.getpixel((0, 0)) == (250, 0, 0)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF"])
def test_formats_are_told_by_content(tmp_path, kind):
    (tmp_path / "picture.txt").write_bytes(encoded(PIL.Image.new("RGB", (5, 4), (200, 30, 30)), kind))
    picture = open_image(tmp_path / "picture.txt")
    assert (picture.mode, picture.size) == ("RGB", (5, 4))
    assert np.abs(np.asarray(picture, int) - [200, 30, 30]).max() < 6


@pytest.mark.parametrize("kind", ["BMP", "TIFF", "ICO", "PPM", "TGA"])
def test_other_formats_are_refused(kind):
    with pytest.raises(ImageError, match="not a PNG, JPEG, WebP or GIF"):
        open_image(encoded(PIL.Image.new("RGB", (16, 16)), kind))


def test_first_frame_of_an_animation():
    frames = [PIL.Image.new("RGB", (4, 4), color) for color in ("red", "blue")]
    data = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert open_image(data).getpixel((0, 0)) == (254, 0, 0) or open_image(data).getpixel((0, 0)) == (255, 0, 0)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_orientation_is_applied_once(orientation, kind):
    exif = PIL.Image.Exif()
    exif[0x0112] = orientation
    stored = PIL.Image.fromarray(CORNERS)
    data = encoded(stored, kind, exif=exif, **({"lossless": True} if kind == "WEBP" else {}))
    upright = {
        1: CORNERS,
        2: CORNERS[:, ::-1],
        3: CORNERS[::-1, ::-1],
        4: CORNERS[::-1],
        5: CORNERS.transpose(1, 0, 2),
        6: CORNERS.transpose(1, 0, 2)[:, ::-1],
        7: CORNERS[::-1, ::-1].transpose(1, 0, 2),
        8: CORNERS.transpose(1, 0, 2)[::-1],
    }[orientation]
    once = open_image(data)
    assert np.array_equal(np.asarray(once), upright)
    assert np.array_equal(np.asarray(open_image(once)), upright)
    assert np.array_equal(np.asarray(open_image(encoded(once))), upright)


@pytest.mark.parametrize(
    ("picture", "pixel"),
    [
        (PIL.Image.new("RGBA", (1, 1), (255, 0, 0, 0)), (255, 255, 255)),
        (PIL.Image.new("RGBA", (1, 1), (255, 0, 0, 255)), (255, 0, 0)),
        (PIL.Image.new("RGBA", (1, 1), (0, 0, 0, 51)), (204, 204, 204)),
        (PIL.Image.new("LA", (1, 1), (100, 0)), (255, 255, 255)),
        (PIL.Image.new("L", (1, 1), 7), (7, 7, 7)),
        (PIL.Image.new("1", (1, 1), 1), (255, 255, 255)),
        (PIL.Image.fromarray(np.array([[0xABCD]], np.uint16)), (0xAB, 0xAB, 0xAB)),
    ],
)
def test_modes(picture, pixel):
    assert open_image(picture).getpixel((0, 0)) == pixel
    assert open_image(encoded(picture)).getpixel((0, 0)) == pixel


def test_palette_with_a_transparent_entry():
    picture = PIL.Image.new("P", (2, 1))
    picture.putpalette([255, 0, 0, 0, 0, 255])
    picture.putpixel((1, 0), 1)
    opened = open_image(encoded(picture, transparency=0))
    assert [opened.getpixel((x, 0)) for x in (0, 1)] == [(255, 255, 255), (0, 0, 255)]


def test_cmyk_jpeg():
    red = open_image(encoded(PIL.Image.new("RGB", (8, 8), (200, 10, 10)).convert("CMYK"), "JPEG"))
    assert np.abs(np.asarray(red, int) - [200, 10, 10]).max() < 8


@pytest.mark.parametrize("size", [(1, 1), (1, 4000), (4000, 1)])
def test_odd_sizes(size):
    assert open_image(encoded(PIL.Image.new("RGB", size))).size == size


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((2, 2, 3), np.float32), "uint8"),
        (np.zeros((3, 4, 4, 4), np.uint8), "height, width"),
        (np.zeros((2, 2, 2), np.uint8), "height, width"),
        (np.zeros((0, 2, 3), np.uint8), "height, width"),
    ],
)
def test_ambiguous_arrays_are_refused(array, message):
    with pytest.raises(ImageError, match=message):
        open_image(array)


def test_arrays_of_one_and_four_channels():
    assert open_image(np.full((1, 1, 1), 9, np.uint8)).getpixel((0, 0)) == (9, 9, 9)
    assert open_image(np.zeros((1, 1, 4), np.uint8)).getpixel((0, 0)) == (255, 255, 255)


@pytest.mark.parametrize(
    "address",
    ["http://127.0.0.1/a.png", "HTTPS://example.org/a.png", "file:///etc/hostname", "ftp://h/a", "gopher://h"],
)
def test_addresses_are_refused(address):
    with pytest.raises(ImageError, match="not fetched; download"):
        open_image(address)


def test_missing_folder_and_unusable_paths(tmp_path):
    for source, message in [
        (tmp_path / "no.png", "no.png: no such file"),
        (tmp_path, "is a folder"),
        ("a\0b.png", "not a usable path"),
        ("x" * 5000, "too long"),
        (tmp_path / "no.png" / "a.png", "no such file|not a directory"),
    ]:
        with pytest.raises(ImageError, match=message) as caught:
            open_image(source)
        assert str(tmp_path.parent) not in str(caught.value)
        assert len(str(caught.value)) < 200


@pytest.mark.parametrize("text", ["data:image/png;base64,@@@", "data:image/png,abc", "data:", "data:;base64,AAA"])
def test_broken_data_uris(text):
    with pytest.raises(ImageError, match="data: URI"):
        open_image(text)


def test_large_pictures_are_refused_by_their_header():
    """Thirty gigabytes of pixels asked for by some hundred bytes."""
    bomb = png(100_000, 100_000, data=zlib.compress(b"\0" * 1000))
    with pytest.raises(ImageError, match="too large"):
        open_image(bomb)
    with pytest.raises(ImageError, match="9000x9000 is too large; the limit is 64 megapixels"):
        open_image(png(9_000, 9_000, data=zlib.compress(b"\0" * 1000)))
    with pytest.raises(ImageError, match="too large"):
        open_image(PIL.Image.new("RGB", (20, 20)), max_pixels=399)


def test_many_bytes_are_refused_before_they_are_decoded(tmp_path):
    data = encoded(PIL.Image.new("RGB", (8, 8)))
    (tmp_path / "a.png").write_bytes(data)
    text = "data:image/png;base64," + base64.b64encode(data).decode()
    for source in (data, tmp_path / "a.png", text):
        with pytest.raises(ImageError, match="MB is too large"):
            open_image(source, max_bytes=len(data) - 3)


def test_text_bombs_in_chunks():
    """Chunks that unfold to hundreds of megabytes are not unfolded."""
    bomb = zlib.compress(b"\0" * 100_000_000, 1)
    extra = chunk(b"zTXt", b"Comment\0\0" + bomb) + chunk(b"iCCP", b"name\0\0" + bomb)
    with pytest.raises(ImageError, match="decoded|not a PNG"):
        open_image(png(4, 4, extra, zlib.compress(b"\0" * 52)))


def test_no_process_wide_setting_is_changed():
    before = PIL.Image.MAX_IMAGE_PIXELS
    open_image(CORNERS)
    assert before == PIL.Image.MAX_IMAGE_PIXELS


@given(st.sampled_from(["PNG", "JPEG", "WEBP", "GIF"]), st.data())
def test_damaged_files_are_image_errors_or_pictures(kind, data):
    noise = np.random.default_rng(0).integers(0, 256, (16, 16, 3), np.uint8)
    whole = bytearray(encoded(PIL.Image.fromarray(noise), kind))
    for _ in range(data.draw(st.integers(1, 4))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(whole)))
    try:
        assert open_image(bytes(whole[:cut])).mode == "RGB"
    except ImageError as error:
        assert len(str(error)) < 200


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_truncated_files(kind):
    noise = PIL.Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8))
    data = encoded(noise, kind)
    with pytest.raises(ImageError, match="cut short|not a PNG"):
        open_image(data[: len(data) // 2])


def test_png_remembers_how_it_was_made(tmp_path):
    file = save_png(
        PIL.Image.fromarray(CORNERS), tmp_path / "new" / "a.png", prompt="红苹果 \ud800", seed=0, model="tiny"
    )
    with PIL.Image.open(file) as picture:
        assert picture.info["prompt"] == "红苹果 ?"
        assert (picture.info["seed"], picture.info["model"]) == ("0", "tiny")
        assert np.array_equal(np.asarray(picture), CORNERS)
    assert [path.name for path in file.parent.iterdir()] == ["a.png"]


def test_a_failed_save_leaves_the_old_file(tmp_path):
    file = save_png(PIL.Image.fromarray(CORNERS), tmp_path / "a.png")
    before = file.read_bytes()
    with pytest.raises(OSError, match="cannot write mode"):
        save_png(PIL.Image.new("HSV", (2, 2)), file)
    assert file.read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]
