"""An event that several sockets of this server acknowledge.

Layer: realtime.core. Source: socket.io-adapter's ``broadcastWithAck``. Unlike there, a client that disconnects is
reported, so that a sender does not wait for it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Sequence
from typing import Any

from roomcast.realtime.cluster.commands import AckListener
from roomcast.realtime.core.socket import Socket
from roomcast.realtime.errors import AckLimitExceeded, SocketGone
from roomcast.wire.socketio import encode_event_once

logger = logging.getLogger(__name__)


class BroadcastAcks:
    """`cluster.PendingAcks` of an event that is emitted at the construction.

    A socket with ``max_pending_acks`` pending acknowledgements receives the event and is not asked.

    Args:
        namespace: The namespace of the sockets.
        sockets: The recipients.
        args: Event name and arguments.
        listener: Is called in later loop turns.

    Raises:
        EncodeError: an argument cannot be encoded; no socket is asked.
    """

    __slots__ = ("_listener", "_pending", "asked")

    def __init__(self, namespace: str, sockets: Iterable[Socket], args: Sequence[Any], listener: AckListener) -> None:
        self._listener: AckListener | None = listener
        self._pending: list[tuple[Socket, int]] = []
        encode = encode_event_once(namespace, args)
        loop = asyncio.get_running_loop()
        for socket in sockets:
            answer: asyncio.Future[list[Any]] = loop.create_future()
            answer.add_done_callback(self._settle)
            try:
                self._pending.append((socket, socket.ask(encode, answer)))
            except AckLimitExceeded as error:
                logger.info("%r is not asked to acknowledge a broadcast: %s", socket, error)
                socket.emit(*args)
            except SocketGone as error:
                logger.info("acknowledged broadcast not sent to %r: %s", socket, error)
        self.asked = len(self._pending)

    def _settle(self, answer: asyncio.Future[list[Any]]) -> None:
        if self._listener is None:
            return
        if answer.cancelled():
            self._listener.disconnected()
        else:
            self._listener.acknowledged(answer.result())

    def stop(self) -> None:
        """See `cluster.PendingAcks`."""
        self._listener = None
        pending, self._pending = self._pending, []
        for socket, ack_id in pending:
            socket.forget_ack(ack_id)
