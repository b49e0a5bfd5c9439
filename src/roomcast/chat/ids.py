"""Generated identifiers.

Layer: chat. Source: RFC 9562, UUID version 7, method 3 (sub-millisecond clock fraction).
"""

from __future__ import annotations

import secrets
import time

_VERSION = 7 << 76
_VARIANT = 0b10 << 62


def new_id() -> str:
    """A UUIDv7 as text. Ids sort by creation time, with a resolution of about 0.25 µs, and have 62 random bits."""
    nanoseconds = time.time_ns()
    milliseconds, rest = divmod(nanoseconds, 1_000_000)
    fraction = (rest << 12) // 1_000_000
    digits = f"{milliseconds << 80 | _VERSION | fraction << 64 | _VARIANT | secrets.randbits(62):032x}"
    # `uuid.UUID` costs three times the rest.
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"
