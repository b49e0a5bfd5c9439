"""The size of an image, from its first bytes.

Layer: files.
"""

from __future__ import annotations

import io
import warnings
from typing import Final

from PIL import ExifTags, Image, UnidentifiedImageError

from roomcast.chat.files.names import INLINE_TYPES

#: The formats that Pillow may decode.
FORMATS: Final = tuple(sorted(kind.removeprefix("image/").upper() for kind in INLINE_TYPES))
# EXIF orientations that turn the image by a quarter.
_TURNED: Final = range(5, 9)
_MAX_SIDE: Final = 65_535


def measure(head: bytes) -> tuple[int, int] | None:
    """Width and height in pixels as an image is shown; None if browsers do not show it. Decodes no pixels."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(head), formats=FORMATS) as image:
                width, height = image.size
                turned = image.getexif().get(ExifTags.Base.Orientation) in _TURNED
    except (
        UnidentifiedImageError,
        OSError,
        ValueError,
        SyntaxError,
        Image.DecompressionBombError,
        Image.DecompressionBombWarning,
    ):
        return None
    if not (0 < width <= _MAX_SIDE and 0 < height <= _MAX_SIDE):
        return None
    return (height, width) if turned else (width, height)
