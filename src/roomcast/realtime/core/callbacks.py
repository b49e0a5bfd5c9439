"""An event whose acknowledgements a callback receives, one call for each recipient on any server.

The callback gets the arguments of the acknowledgement; of a client of a Node server the first one alone, all that its
adapters carry. Clients of other servers acknowledge within `CALLBACK_LIMIT_S`. Where they cannot be asked, they receive
the event alone; see `Queries.call_back`.

Layer: realtime.core. Source: python-socketio 5.18, ``AsyncManager.emit``.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Awaitable, Sequence
from contextvars import copy_context
from functools import partial
from typing import Any, Protocol

from roomcast.realtime.cluster.commands import Broadcast, Selection
from roomcast.realtime.cluster.gathering import Queries
from roomcast.realtime.cluster.membership import Membership
from roomcast.realtime.core.hub import Hub
from roomcast.realtime.core.socket import AckCallback, Socket
from roomcast.realtime.errors import AckLimitExceeded

logger = logging.getLogger(__name__)


class CallbackHost(Protocol):
    """What such an event needs from its server; `engine.Engine` implements it.

    Attributes:
        membership: Sends commands to the other servers.
        queries: Queries to the other servers.
        tasks: Tasks of the running handlers.
    """

    membership: Membership
    queries: Queries
    tasks: set[asyncio.Task[None]]

    @property
    def alone(self) -> bool:
        """Whether there can be no other server."""

    def used_hub(self, namespace: str) -> Hub | None:
        """The hub of a namespace; None if the namespace has no socket."""

    def recipients(self, selection: Selection) -> Sequence[Socket]:
        """The selected sockets of this server that are connected or inside their ``connect`` handler, each once."""


def emit_with_callback(
    host: CallbackHost,
    command: Broadcast,
    args: tuple[Any, ...],
    callback: AckCallback,
    *,
    everywhere: bool = True,
) -> None:
    """Emit an event. Does not wait.

    Args:
        host: This server.
        command: The event.
        args: Its name and arguments.
        callback: A function, or a coroutine function, which runs as a task.
        everywhere: Also on the other servers.

    Raises:
        EncodeError: an argument cannot be encoded.
        AckLimitExceeded: ``max_pending_acks`` is reached for a recipient on this server, which is not asked; it has
            received the event, as the others have.
    """
    if everywhere:
        if host.alone or _all_here(host, command.to):
            host.membership.publish(command)
        else:
            host.queries.call_back(command, args, partial(_call, host, callback))
    event, *values = args
    full: AckLimitExceeded | None = None
    for socket in host.recipients(command.to):
        try:
            socket.emit(event, *values, callback=callback)
        except AckLimitExceeded as error:
            full = error
            socket.send(command.message)
    if full is not None:
        raise full


def _all_here(host: CallbackHost, selection: Selection) -> bool:
    """Whether only sockets of this server are selected by their ids."""
    hub = host.used_hub(selection.namespace)
    return hub is not None and selection.rooms is not None and all(room in hub.sockets for room in selection.rooms)


def _call(host: CallbackHost, callback: AckCallback, *args: Any) -> None:
    """Call the callback with the acknowledgement of a client of another server."""
    try:
        result = copy_context().run(callback, *args)
    except Exception:
        logger.exception("a callback failed")
        return
    if inspect.isawaitable(result):
        task = asyncio.get_running_loop().create_task(_finish(result))
        host.tasks.add(task)
        task.add_done_callback(host.tasks.discard)


async def _finish(result: Awaitable[Any]) -> None:
    try:
        await result
    except Exception:
        logger.exception("a callback failed")
