"""The responder of `answers.py`: tokens at a steady rate, each with the time at which it was written."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator
from typing import Any

RATE = float(os.environ.get("BENCH_RATE", "50"))
TOKENS = int(os.environ.get("BENCH_TOKENS", "500"))


async def answer(_prompt: Any) -> AsyncIterator[str]:
    """Yield the tokens."""
    started = time.perf_counter()
    for number in range(TOKENS):
        await asyncio.sleep(max(0.0, started + number / RATE - time.perf_counter()))
        yield f"{time.monotonic_ns() // 1_000} "
