"""Makes the thumbnail of an image, in a process of its own with limits: a decoder that a file misleads ends with it.

``python -m roomcast.files.thumbnails`` reads an image from its standard input, and writes a WebP without metadata.

Layer: files. Source: Pillow, "Limits"; EXIF 2.32, "Orientation".
"""

from __future__ import annotations

import asyncio
import io
import sys
from typing import Final

from PIL import Image, ImageOps

from roomcast.files.images import FORMATS

#: Of the longer side, in pixels: twice the size that the page shows, for screens with a high density.
SIDE: Final = 640
#: Images with more pixels have no thumbnail.
MAX_PIXELS: Final = 50_000_000
TIME_LIMIT_S: Final = 10.0
#: Processor seconds and bytes of the process. 50 million pixels take 200 MB.
_CPU_S: Final = 8
_MEMORY_BYTES: Final = 1_000_000_000
#: Processes at the same time.
_PROCESSES: Final = 2


class Thumbnails:
    """Makes thumbnails, at most `_PROCESSES` at the same time."""

    def __init__(self) -> None:
        self._free = asyncio.Semaphore(_PROCESSES)

    async def make(self, image: bytes) -> bytes | None:
        """The thumbnail of an image; None if it cannot be made within the limits."""
        async with self._free:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-P",
                "-m",
                __name__,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.DEVNULL,
            )
            try:
                async with asyncio.timeout(TIME_LIMIT_S):
                    made, _ = await process.communicate(image)
            except TimeoutError:
                return None
            finally:
                if process.returncode is None:
                    process.kill()
                    await process.wait()
            return made if process.returncode == 0 and made else None


def thumbnail(image: bytes) -> bytes:
    """The thumbnail of an image: its first frame, turned as its EXIF orientation says."""
    Image.MAX_IMAGE_PIXELS = MAX_PIXELS // 2  # Pillow refuses twice this number
    with Image.open(io.BytesIO(image), formats=FORMATS) as opened:
        opened.draft("RGB", (SIDE, SIDE))  # a JPEG is decoded at a fraction of its size
        shown = ImageOps.exif_transpose(opened)
        shown = shown.convert("RGBA" if shown.has_transparency_data else "RGB")
        shown.thumbnail((SIDE, SIDE))
        file = io.BytesIO()
        shown.save(file, "webp", quality=80, exif=b"", icc_profile=None)
    return file.getvalue()


def _limit() -> None:
    if sys.platform != "win32":
        import resource

        resource.setrlimit(resource.RLIMIT_CPU, (_CPU_S, _CPU_S))
        resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_BYTES, _MEMORY_BYTES))
        resource.setrlimit(resource.RLIMIT_NOFILE, (16, 16))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


if __name__ == "__main__":
    _limit()
    sys.stdout.buffer.write(thumbnail(sys.stdin.buffer.read()))
