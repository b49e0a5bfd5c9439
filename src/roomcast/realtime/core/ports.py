"""The ports of a connection: its host, its transport, and the nodes that have other sessions.

Layer: realtime.core.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from roomcast.realtime.core.reasons import Reason
from roomcast.realtime.fanout.message import Batch, OutgoingMessage

if TYPE_CHECKING:
    from roomcast.realtime.core.connection import Connection


class Transport(Protocol):
    """What carries a connection. Nothing here waits or raises."""

    def bind(self, connection: Connection) -> None:
        """It carries ``connection`` from here on."""

    def direct(self) -> Callable[[bytes], object] | None:
        """What takes websocket frames at once; None while batches have to go through `send`."""

    def send(self, batch: Batch) -> None:
        """Take a batch. Beyond the outbox limit it calls `Connection.overflow` instead."""

    def waiting(self) -> list[OutgoingMessage]:
        """Take away what is queued (polling only; a websocket's queue is the kernel's business)."""

    def release(self, last: OutgoingMessage | None) -> None:
        """Answer the pending poll with what is queued and ``last``, or with a NOOP packet (polling only)."""

    def close(self, reason: Reason) -> None:
        """Write what is queued, then close."""

    def abort(self) -> None:
        """Close now; what is queued is lost."""

    def pause_reading(self) -> None:
        """Take no more from the client until `resume_reading`."""

    def resume_reading(self) -> None:
        """Go on."""


class Candidate(Protocol):
    """A websocket that asks to take a polling session over."""

    def send_packet(self, packet: str) -> None:
        """Write one Engine.IO packet."""

    def take_over(self) -> Transport:
        """It has the session from here on."""

    def dismiss(self) -> None:
        """The session does not want it."""
