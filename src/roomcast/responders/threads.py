"""Threads for functions of a team that are not ``async``, apart from those of DNS look-ups and of the database.

Layer: responders.
"""

from __future__ import annotations

import asyncio
import contextvars
import functools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

#: Threads are made as they are needed. Further calls wait for a free one.
_THREADS: Final = ThreadPoolExecutor(max_workers=256, thread_name_prefix="responder")


async def in_thread(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Call a function in a thread, with the caller's context variables, and return its result."""
    call = functools.partial(contextvars.copy_context().run, function, *args, **kwargs)
    return await asyncio.get_running_loop().run_in_executor(_THREADS, call)
