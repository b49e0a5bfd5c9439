from __future__ import annotations

import io
import struct
import zlib

import pytest
from PIL import Image

from roomcast.files import thumbnails
from roomcast.files.images import measure
from roomcast.files.thumbnails import Thumbnails


def png(width: int, height: int) -> bytes:
    """A PNG that claims a size, with almost no data."""

    def part(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    pixels = zlib.compress(bytes(1_000))
    return b"\x89PNG\r\n\x1a\n" + part(b"IHDR", header) + part(b"IDAT", pixels) + part(b"IEND", b"")


async def test_an_image_with_too_many_pixels_has_no_thumbnail() -> None:
    assert await Thumbnails().make(png(60_000, 60_000)) is None
    assert measure(png(60_000, 60_000)) is None


async def test_what_is_no_image_has_no_thumbnail() -> None:
    assert await Thumbnails().make(b"text") is None
    assert await Thumbnails().make(b"") is None


async def test_a_decoder_that_takes_too_long_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(thumbnails, "TIME_LIMIT_S", 0.0)
    assert await Thumbnails().make(png(10, 10)) is None


async def test_an_animation_has_the_thumbnail_of_its_first_frame() -> None:
    file = io.BytesIO()
    frames = [Image.new("RGB", (1_000, 500), color) for color in ("red", "blue")]
    frames[0].save(file, "gif", save_all=True, append_images=frames[1:])
    made = await Thumbnails().make(file.getvalue())
    assert made is not None
    with Image.open(io.BytesIO(made)) as small:
        assert (small.size, getattr(small, "n_frames", 1)) == ((640, 320), 1)
        red, _, blue = small.convert("RGB").getpixel((5, 5))  # type: ignore[misc] # three bands
        assert red > 200
        assert blue < 50
