"""Compression of polling responses.

Layer: realtime.transports. Source: engine.io 6 ``transports/polling.ts``; RFC 9110 §12.5.3, "Accept-Encoding".
"""

from __future__ import annotations

import asyncio
import zlib
from typing import Final

# Beyond this size compression takes more than a millisecond: a thread does it, and the event loop goes on.
_THREAD_BYTES: Final = 32 * 1024
# JSON becomes nearly as small as with zlib's default of 6, in half of the time.
_LEVEL: Final = 3
# zlib's window bits: +16 writes gzip's header and trailer.
_WINDOW_BITS: Final = {"gzip": 16 + zlib.MAX_WBITS, "deflate": zlib.MAX_WBITS}


def encoding_for(accept_encoding: str) -> str | None:
    """``gzip``, ``deflate`` or None, by what a client accepts."""
    accepted: dict[str, bool] = {}
    for item in accept_encoding.lower().split(","):
        name, _, parameter = item.partition(";")
        weight = parameter.replace(" ", "")
        accepted[name.strip()] = not weight.startswith("q=0") or weight.strip("q=0.") != ""
    anything = accepted.get("*", False)
    return next((name for name in _WINDOW_BITS if accepted.get(name, anything)), None)


async def compress(body: bytes, encoding: str) -> bytes:
    """The body in an encoding that `encoding_for` has returned."""
    if len(body) > _THREAD_BYTES:
        return await asyncio.to_thread(_compress, body, encoding)
    return _compress(body, encoding)


def _compress(body: bytes, encoding: str) -> bytes:
    return zlib.compress(body, _LEVEL, wbits=_WINDOW_BITS[encoding])
