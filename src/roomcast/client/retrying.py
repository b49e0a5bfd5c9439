"""Repeats a request until it is answered. Only for requests that may be carried out twice without a second effect.

Layer: client.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from roomcast.backoff import Backoff
from roomcast.client.errors import Unreachable

_FIRST_PAUSE_S: Final = 0.2
_LONGEST_PAUSE_S: Final = 5.0
_R = TypeVar("_R")


async def retrying(
    request: Callable[[], Awaitable[_R]],
    limit_s: float,
    on_first_failure: Callable[[Unreachable], None] = lambda _error: None,
) -> _R:
    """The answer of the first attempt that is answered.

    Args:
        request: One attempt.
        limit_s: Seconds for which attempts are made.
        on_first_failure: Called with the cause of the first failure.

    Raises:
        Refused: the server refuses the request.
        Unreachable: no attempt was answered in time. The request may have been carried out.
    """
    backoff = Backoff(_FIRST_PAUSE_S, _LONGEST_PAUSE_S)
    last = Unreachable(f"no answer within {limit_s:g} s")
    try:
        async with asyncio.timeout(limit_s):
            while True:
                try:
                    return await request()
                except Unreachable as error:
                    last = error
                if backoff.failures == 0:
                    on_first_failure(last)
                await asyncio.sleep(max(backoff.next_s(), last.retry_after_s))
    except TimeoutError:
        raise last from None
