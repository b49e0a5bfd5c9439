"""Facts that every log line of a request or of an event's handler has: ids of the request, socket, user and chat.

The facts of `structlog.contextvars` are not visible to outer code, which writes the line of a request after inner code
has found the user. They also stay in tasks that a request happens to start, such as a feed or a connection to Redis.
Here all code of one request shares one dictionary, which is emptied at its end.

Layer: observability.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from contextvars import ContextVar
from typing import Final

_EMPTY: Final[Mapping[str, str]] = {}

_facts: ContextVar[dict[str, str] | None] = ContextVar("log_facts", default=None)


class _Block:
    """See `log_context`. `contextlib.contextmanager` would cost each request twice as much."""

    def __init__(self, facts: Mapping[str, str | None]) -> None:
        self._own = dict(log_facts())
        self._own.update({name: value for name, value in facts.items() if value is not None})

    def __enter__(self) -> None:
        self._token = _facts.set(self._own)

    def __exit__(self, *_error: object) -> None:
        _facts.reset(self._token)
        self._own.clear()


def log_context(**facts: str | None) -> AbstractContextManager[None]:
    """Add facts to every log line of the block, and of tasks that it starts while the block runs.

    Args:
        **facts: The facts; None: unknown.
    """
    return _Block(facts)


def add_to_log_context(**facts: str | None) -> None:
    """Add facts to the current `log_context`, if there is one, until its end. None: unknown."""
    own = _facts.get()
    if own is not None:
        own.update({name: value for name, value in facts.items() if value is not None})


def log_facts() -> Mapping[str, str]:
    """The facts of the current `log_context`."""
    return _facts.get() or _EMPTY
