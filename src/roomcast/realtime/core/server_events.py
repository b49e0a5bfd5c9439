"""Events between the servers of a cluster: the handlers on this server, and their calls.

Layer: realtime.core. Source: socket.io 4.8's ``serverSideEmit``.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Awaitable, Callable
from contextvars import copy_context
from typing import Any, Final

from roomcast.realtime.cluster.commands import ServerEvent
from roomcast.wire.errors import EncodeError
from roomcast.wire.strict_json import write

logger = logging.getLogger(__name__)

#: Events of a Node server itself, which would call its handlers for connections.
_RESERVED: Final = frozenset({"connect", "connection", "new_namespace"})

ServerEventHandler = Callable[..., Any]
Answer = Callable[[Any], None]


def server_event(namespace: str, event: str, args: tuple[Any, ...]) -> ServerEvent:
    """An event for the other servers.

    Raises:
        EncodeError: its name is reserved, or an argument is not JSON.
    """
    if event in _RESERVED:
        raise EncodeError(f"{event!r} is a reserved event name")
    made = ServerEvent(namespace, (event, *args))
    _, attachments = write(made.args)
    if attachments:
        raise EncodeError("an event between servers cannot hold binary data")
    return made


class ServerEvents:
    """The handlers for events of other servers.

    Args:
        tasks: Keeps the running handlers.
        limit: Maximum number of coroutine handlers that run at once; further events are dropped.
    """

    def __init__(self, tasks: set[asyncio.Task[None]], limit: int) -> None:
        self._tasks = tasks
        self._limit = limit
        self._running = 0
        self._handlers: dict[tuple[str, str], ServerEventHandler] = {}

    def add(self, namespace: str, event: str, handler: ServerEventHandler) -> None:
        """Register a handler; the latest one wins."""
        self._handlers[namespace, event] = handler

    def namespaces(self) -> frozenset[str]:
        """The namespaces with handlers."""
        return frozenset(namespace for namespace, _ in self._handlers)

    def receive(self, event: ServerEvent, answer: Answer | None) -> None:
        """Call the handler of an event; see `cluster.Node.receive`."""
        name, *args = event.args or (None,)
        handler = self._handlers.get((event.namespace, name)) if isinstance(name, str) else None
        if handler is None:
            # The sender waits for an answer of each server.
            if answer is not None:
                answer(None)
            return
        if self._running >= self._limit:
            logger.warning("event %r of another server dropped: too many handlers run", name)
            return
        try:
            result = copy_context().run(handler, *args)
        except Exception:
            logger.exception("handler of %r of another server failed", name)
            result = None
        if inspect.isawaitable(result):
            self._running += 1
            task = asyncio.get_running_loop().create_task(self._finish(str(name), result, answer))
            self._tasks.add(task)
            task.add_done_callback(self._end)
        elif answer is not None:
            answer(result)

    async def _finish(self, name: str, result: Awaitable[Any], answer: Answer | None) -> None:
        try:
            value = await result
        except Exception:
            logger.exception("handler of %r of another server failed", name)
            value = None
        if answer is not None:
            answer(value)

    def _end(self, task: asyncio.Task[None]) -> None:
        self._running -= 1
        self._tasks.discard(task)
