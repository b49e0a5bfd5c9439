"""How much one client may send: packets per second, and few packets before it is connected to a namespace.

A token bucket, kept as the time until which the client's packets are paid for. A client above its rate is not closed:
its connection is read later. A client without a namespace has no reason to send more than a few packets: above the
limit its connection is closed.

Layer: wire (standard library only). Source: ITU-T I.371, "generic cell rate algorithm".
"""

from __future__ import annotations

from typing import Final

from roomcast.wire.errors import Fault, RemoteError
from roomcast.wire.limits import Limits

# A client may send this many seconds of its rate at once, for example the events that it kept during an outage.
BURST_S: Final = 1.0

# The parsing of a packet cannot be interrupted, so a client of large packets gets at most this part of a core.
_PARSING_SHARE: Final = 0.1


class InputBudget:
    """The budget of one client, over all transports of its session."""

    __slots__ = ("_before_connect", "_limits", "_packet_s", "_paid_until")

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._packet_s = 1.0 / limits.max_packets_per_s
        self._paid_until = 0.0
        self._before_connect: int | None = limits.max_packets_before_connect

    def connected(self) -> None:
        """The client is connected to a namespace."""
        self._before_connect = None

    def disconnected(self) -> None:
        """The client has left its last namespace, or was refused."""
        if self._before_connect is None:
            self._before_connect = self._limits.max_packets_before_connect

    def spend(self, packets: int, now: float) -> float:
        """Count packets that were received; return for how many seconds no more may be read, at most 0 if none.

        Args:
            packets: Engine.IO packets; over websocket, frames of any kind.
            now: Monotonic seconds.

        Raises:
            RemoteError: ``TOO_MANY_PACKETS`` before the client is connected to a namespace.
        """
        if self._before_connect is not None:
            self._before_connect -= packets
            if self._before_connect < 0:
                limit = self._limits.max_packets_before_connect
                raise RemoteError(Fault.TOO_MANY_PACKETS, f"more than {limit} packets without a namespace")
        self._paid_until = max(self._paid_until, now) + packets * self._packet_s
        return self._paid_until - now - BURST_S

    def used_up(self, now: float) -> bool:
        """Whether the client sends about as much as it may, so that its packets may wait to be read."""
        return self._paid_until - now > BURST_S / 2

    def spend_time(self, took_s: float, now: float) -> None:
        """Count the time that the parsing of one packet took: others waited for it."""
        self._paid_until = max(self._paid_until, now) + took_s / _PARSING_SHARE

    def check_size(self, size_bytes: int) -> None:
        """Refuse a large packet of a client that is not connected to a namespace.

        Raises:
            RemoteError: ``TOO_LARGE``.
        """
        limit = self._limits.max_bytes_before_connect
        if self._before_connect is not None and size_bytes > limit:
            raise RemoteError(Fault.TOO_LARGE, f"{size_bytes} bytes without a namespace; the limit is {limit}")
