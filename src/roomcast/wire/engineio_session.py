"""One Engine.IO v4 session, from handshake to close.

Sans-I/O: holds no socket, task, clock or outbox. Callers pass in what arrived and the time, and carry out the effects
that come back, in order. Messages to the client do not pass through here: the caller writes them to the transport that
``transport`` names while ``state`` is not closing or closed.

Layer: wire (standard library only). Source: Engine.IO protocol v4, "Heartbeat" and "Upgrade"; engine.io 6
``lib/socket.ts`` and ``lib/transports/polling.ts`` for what the document leaves open.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from enum import Enum, unique
from typing import Final

from roomcast.wire.engineio import Packet, PacketType, decode_packet, decode_payload
from roomcast.wire.engineio_effects import (
    CloseCandidate,
    Closed,
    ClosePoll,
    CloseReason,
    Effect,
    MessageReceived,
    ReleasePoll,
    Send,
    SendOnCandidate,
    Upgraded,
)
from roomcast.wire.engineio_http import TransportName
from roomcast.wire.engineio_refusals import HttpError, RequestRefused, UpgradeRefused
from roomcast.wire.errors import IllegalTransition, RemoteError
from roomcast.wire.limits import DEFAULT_LIMITS, DEFAULT_TIMEOUTS, Limits, Timeouts

CLOSE_PACKET: Final = PacketType.CLOSE.value
PING_PACKET: Final = PacketType.PING.value
NOOP_PACKET: Final = PacketType.NOOP.value
PROBE: Final = "probe"
PROBE_REPLY: Final = PacketType.PONG.value + PROBE

# The share of the ping time-out by which a ping may be late at the client's expense.
_TIMER_SLACK: Final = 0.1


@unique
class State(Enum):
    """Where a session stands."""

    OPENING = "opening"
    OPEN = "open"
    UPGRADING = "upgrading"  # a websocket with this sid is there and has not sent its probe
    PROBED = "probed"  # its probe is answered; polls are released at once until the upgrade packet comes
    CLOSING = "closing"  # closed by us on polling; the next poll fetches what is left and the close packet
    CLOSED = "closed"


@unique
class Trigger(Enum):
    """What moves a session."""

    OPEN = "open"
    ATTACH = "attach"
    PROBE = "probe"
    UPGRADE = "upgrade"
    ABANDON = "abandon"
    CLOSE = "close"
    END = "end"


# The whole machine. A pair that is missing here is illegal.
TRANSITIONS: Final[dict[tuple[State, Trigger], State]] = {
    (State.OPENING, Trigger.OPEN): State.OPEN,
    (State.OPEN, Trigger.ATTACH): State.UPGRADING,
    (State.UPGRADING, Trigger.PROBE): State.PROBED,
    (State.PROBED, Trigger.PROBE): State.PROBED,  # Node answers every probe
    (State.UPGRADING, Trigger.UPGRADE): State.OPEN,  # Node does not insist on the probe
    (State.PROBED, Trigger.UPGRADE): State.OPEN,
    (State.UPGRADING, Trigger.ABANDON): State.OPEN,
    (State.PROBED, Trigger.ABANDON): State.OPEN,
    (State.OPEN, Trigger.CLOSE): State.CLOSING,
    (State.OPENING, Trigger.END): State.CLOSED,
    (State.OPEN, Trigger.END): State.CLOSED,
    (State.UPGRADING, Trigger.END): State.CLOSED,
    (State.PROBED, Trigger.END): State.CLOSED,
    (State.CLOSING, Trigger.END): State.CLOSED,
}

# A candidate websocket is there.
_ATTACHED: Final = frozenset({State.UPGRADING, State.PROBED})
# What the client sends is for the application.
_READING: Final = frozenset({State.OPEN, *_ATTACHED})


_NOTHING: Final[tuple[Effect, ...]] = ()


class EngineSession:
    """The state of one session.

    Every method that takes ``now`` wants monotonic seconds. None does I/O; each returns what the caller must do.
    A method called on a session that is closed returns nothing, so late callbacks need no care.

    Attributes:
        sid: Session id.
        transport: The transport that carries it at present.
    """

    __slots__ = (
        "_closing_deadline",
        "_limits",
        "_next_ping",
        "_poll_pending",
        "_pong_deadline",
        "_post_pending",
        "_state",
        "_timeouts",
        "_upgrade_deadline",
        "_upgrades",
        "sid",
        "transport",
    )

    def __init__(
        self,
        sid: str,
        transport: TransportName,
        *,
        upgrades: Sequence[TransportName] = (TransportName.WEBSOCKET,),
        limits: Limits = DEFAULT_LIMITS,
        timeouts: Timeouts = DEFAULT_TIMEOUTS,
    ) -> None:
        """Make a session that still has to be opened.

        Args:
            sid: Its id: not to be guessed, since it is all that a polling request shows.
            transport: The transport of the handshake.
            upgrades: What a polling session may move to; empty forbids upgrades.
            limits: Bounds of what is read.
            timeouts: Its times.
        """
        self.sid = sid
        self.transport = transport
        self._upgrades = tuple(upgrades) if transport is TransportName.POLLING else ()
        self._limits = limits
        self._timeouts = timeouts
        self._state = State.OPENING
        self._next_ping = math.inf
        self._pong_deadline = math.inf
        self._upgrade_deadline = math.inf
        self._closing_deadline = math.inf
        self._poll_pending = False
        self._post_pending = False

    @property
    def state(self) -> State:
        """Where the session stands."""
        return self._state

    def open(self, now: float) -> str:
        """The open packet; the heartbeat starts.

        Source: Engine.IO protocol v4, "Handshake": exactly these keys, times in milliseconds.
        """
        self._move(Trigger.OPEN)
        self._next_ping = now + self._timeouts.ping_interval_s
        return PacketType.OPEN + json.dumps(
            {
                "sid": self.sid,
                "upgrades": self._upgrades,
                "pingInterval": round(self._timeouts.ping_interval_s * 1000),
                "pingTimeout": round(self._timeouts.ping_timeout_s * 1000),
                "maxPayload": self._limits.max_payload_bytes,
            },
            separators=(",", ":"),
        )

    # -- time ---------------------------------------------------------------------------------------------------------

    def next_deadline(self) -> float:
        """When ``check_deadlines`` has to be called next; infinity once the session is closed.

        It moves with everything that arrives: a timer that finds it later than expected sets itself anew.
        """
        return min(self._next_ping, self._pong_deadline, self._upgrade_deadline, self._closing_deadline)

    def check_deadlines(self, now: float) -> Sequence[Effect]:
        """Do what is due at ``now``: ping, give up a silent peer or an unfinished upgrade, end an unfetched close."""
        if now < self.next_deadline():
            return _NOTHING
        if self._closing_deadline <= now:
            return self._end(CloseReason.FORCED_CLOSE)
        if self._pong_deadline <= now:
            return self._end(CloseReason.PING_TIMEOUT)
        effects: list[Effect] = []
        if self._upgrade_deadline <= now:
            effects.append(self._abandon_upgrade())
        if self._next_ping <= now:
            timeout_s = self._timeouts.ping_timeout_s
            # Interval plus timeout is what the client was told, and a coarse timer must not stretch it. A ping that was
            # held up for longer leaves the client its whole time.
            late = now - self._next_ping > timeout_s * _TIMER_SLACK
            self._pong_deadline = (now if late else self._next_ping) + timeout_s
            self._next_ping = math.inf
            effects.append(Send(PING_PACKET))
        return effects

    # -- websocket ----------------------------------------------------------------------------------------------------

    def receive(self, data: str | bytes, now: float) -> Sequence[Effect]:
        """Take one message of the session's websocket; ``str`` from a text frame, ``bytes`` from a binary one."""
        if self._state is not State.OPEN:
            return _NOTHING
        if not isinstance(data, str):
            return (MessageReceived(data),)
        if data.startswith("4"):
            return (MessageReceived(data[1:]),)
        try:
            packet = decode_packet(data)
        except RemoteError as error:
            return self._end(CloseReason.PARSE_ERROR, error)
        return self._on_packet(packet, now)

    def transport_closed(self) -> Sequence[Effect]:
        """The session's websocket was closed by the other side."""
        return self._end(CloseReason.TRANSPORT_CLOSE)

    def transport_failed(self, error: RemoteError | None = None) -> Sequence[Effect]:
        """The session's websocket broke, or its frames were wrong."""
        return self._end(CloseReason.TRANSPORT_ERROR, error)

    # -- polling ------------------------------------------------------------------------------------------------------

    def poll_started(self, now: float) -> Sequence[Effect]:
        """A GET arrived.

        Without effects it waits: answer it as soon as something is there, and call ``poll_answered``.

        Raises:
            RequestRefused: answer this request with it, after its ``effects``, which are for the poll before.
        """
        self._require_polling(now)
        if self._poll_pending:
            # Protocol, "Receiving data": at most one GET at a time, else 400 and the session is closed.
            raise RequestRefused(
                HttpError.BAD_REQUEST, "two polls at a time", effects=self._end(CloseReason.TRANSPORT_ERROR)
            )
        self._poll_pending = True
        if self._state is State.CLOSING:
            return self._end(CloseReason.FORCED_CLOSE)
        if self._state is State.PROBED:
            return self._release_poll()
        return _NOTHING

    def poll_answered(self) -> None:
        """The pending poll was answered with what was waiting."""
        self._poll_pending = False

    def poll_aborted(self) -> Sequence[Effect]:
        """The connection of the pending poll went away before its answer: what it would carry cannot be trusted."""
        if not self._poll_pending:
            return _NOTHING
        self._poll_pending = False
        return self._end(CloseReason.TRANSPORT_ERROR)

    def post_started(self, now: float, content_type: str = "") -> None:
        """A POST arrived; its body is still to be read.

        Args:
            now: Monotonic seconds.
            content_type: The header as it stands.

        Raises:
            RequestRefused: answer it with this, after its ``effects``.
        """
        self._require_polling(now)
        if self._post_pending:
            # Protocol, "Sending data": at most one POST at a time, else 400 and the session is closed.
            raise RequestRefused(
                HttpError.BAD_REQUEST, "two posts at a time", effects=self._end(CloseReason.TRANSPORT_ERROR)
            )
        if content_type.partition(";")[0].strip().lower() == "application/octet-stream":
            # Binary bodies ended with protocol version 3.
            raise RequestRefused(HttpError.BAD_REQUEST, "a binary body", effects=self._end(CloseReason.TRANSPORT_ERROR))
        self._post_pending = True

    def post_received(self, body: bytes, now: float) -> Sequence[Effect]:
        """The body of the POST is complete; carry out the effects, then answer ``ok``.

        Raises:
            RequestRefused: answer it with this, after its ``effects``: the messages before the bad packet among them.
        """
        self._post_pending = False
        effects: list[Effect] = []
        try:
            for packet in decode_payload(body, self._limits):
                if self._state not in _READING:  # a packet before this one may have closed the session
                    break
                effects.extend(self._on_packet(packet, now, polling=True))
        except RemoteError as error:
            effects.extend(self._end(CloseReason.PARSE_ERROR, error))
            raise RequestRefused(HttpError.BAD_REQUEST, error.detail, effects=effects) from error
        return effects

    def post_dropped(self) -> None:
        """The POST was answered without being read (413 to an oversize body): Node keeps the session."""
        self._post_pending = False

    def post_aborted(self) -> Sequence[Effect]:
        """The connection of the POST went away before its body was complete."""
        if not self._post_pending:
            return _NOTHING
        self._post_pending = False
        return self._end(CloseReason.TRANSPORT_ERROR)

    # -- upgrade ------------------------------------------------------------------------------------------------------

    def candidate_attached(self, now: float) -> None:
        """A websocket with this sid asks to take the session over.

        Raises:
            UpgradeRefused: it may not: finish its handshake, then close it. The session itself is not touched.
        """
        offered = self.transport is TransportName.POLLING and TransportName.WEBSOCKET in self._upgrades
        if self._state is not State.OPEN or not offered:
            raise UpgradeRefused(f"no upgrade in state {self._state.value}")
        self._move(Trigger.ATTACH)
        self._upgrade_deadline = now + self._timeouts.upgrade_timeout_s

    def receive_candidate(self, data: str | bytes, now: float) -> Sequence[Effect]:
        """Take one message of the candidate websocket: the probe, then the upgrade packet; anything else ends it."""
        if self._state not in _ATTACHED:
            return _NOTHING
        if data == PacketType.PING + PROBE:
            self._move(Trigger.PROBE)
            return [SendOnCandidate(PROBE_REPLY), *self._release_poll()]
        if isinstance(data, str) and data.startswith(PacketType.UPGRADE):
            self._move(Trigger.UPGRADE)
            self._upgrade_deadline = math.inf
            self.transport = TransportName.WEBSOCKET
            if self._pong_deadline != math.inf:
                # A ping may have gone to the transport that is now abandoned: the pong's time starts again.
                self._pong_deadline = now + self._timeouts.ping_timeout_s
            return [*self._release_poll(), Upgraded()]
        return (self._abandon_upgrade(),)

    def candidate_lost(self) -> None:
        """The candidate websocket closed or broke; the session goes on over polling."""
        if self._state in _ATTACHED:
            self._abandon_upgrade()

    # -- close --------------------------------------------------------------------------------------------------------

    def close(self, now: float) -> Sequence[Effect]:
        """End the session from our side.

        On websocket, or with a poll pending, at once. On polling without one, the next poll fetches what is waiting and
        the close packet, for at most ``close_timeout_s``.
        """
        if self._state in {State.CLOSING, State.CLOSED}:
            return _NOTHING
        if self.transport is TransportName.WEBSOCKET or self._poll_pending or self._state is State.OPENING:
            return self._end(CloseReason.FORCED_CLOSE)
        effects: list[Effect] = []
        if self._state in _ATTACHED:
            effects.append(self._abandon_upgrade())
        self._move(Trigger.CLOSE)
        self._next_ping = self._pong_deadline = math.inf
        self._closing_deadline = now + self._timeouts.close_timeout_s
        return effects

    # -- inner workings -----------------------------------------------------------------------------------------------

    def _move(self, trigger: Trigger) -> None:
        """The only place where the state changes."""
        following = TRANSITIONS.get((self._state, trigger))
        if following is None:
            raise IllegalTransition(self._state.name, trigger.name)
        self._state = following

    def _on_packet(self, packet: Packet, now: float, *, polling: bool = False) -> Sequence[Effect]:
        match packet.type:
            case PacketType.MESSAGE:
                return (MessageReceived(packet.data),)
            case PacketType.PONG:
                if now > self._pong_deadline:  # the timer is late; the pong is later
                    return self._end(CloseReason.PING_TIMEOUT)
                # As in Node any pong counts, asked for or not: it proves life, and no timer is made for it.
                self._pong_deadline = math.inf
                self._next_ping = now + self._timeouts.ping_interval_s
                return _NOTHING
            case PacketType.CLOSE:
                released = self._release_poll() if polling else _NOTHING
                return [*released, *self._end(CloseReason.TRANSPORT_CLOSE)]
            case PacketType.PING:
                # Since version 4 only the server pings. Node: "invalid heartbeat direction".
                return self._end(CloseReason.TRANSPORT_ERROR)
            case _:  # open, upgrade, noop: Node ignores them
                return _NOTHING

    def _require_polling(self, now: float) -> None:
        # The timer may be behind; a session that is over does not come back through a request.
        if self._pong_deadline < now or self._closing_deadline < now:
            effects = self.check_deadlines(now)
            raise RequestRefused(HttpError.UNKNOWN_SID, "the session is over", effects=effects)
        if self._state in {State.OPENING, State.CLOSED}:
            raise RequestRefused(HttpError.UNKNOWN_SID, f"the session is {self._state.value}")
        if self.transport is not TransportName.POLLING:
            raise RequestRefused(HttpError.BAD_REQUEST, "the session has been upgraded to another transport")

    def _release_poll(self) -> Sequence[Effect]:
        if not self._poll_pending:
            return _NOTHING
        self._poll_pending = False
        return (ReleasePoll(),)

    def _abandon_upgrade(self) -> Effect:
        self._move(Trigger.ABANDON)
        self._upgrade_deadline = math.inf
        return CloseCandidate()

    def _end(self, reason: CloseReason, error: RemoteError | None = None) -> Sequence[Effect]:
        if self._state is State.CLOSED:
            return _NOTHING
        effects: list[Effect] = []
        if self._state in _ATTACHED:
            effects.append(CloseCandidate())
        if self._poll_pending:
            self._poll_pending = False
            effects.append(ClosePoll())
        effects.append(Closed(reason, error))
        self._move(Trigger.END)
        self._next_ping = self._pong_deadline = self._upgrade_deadline = self._closing_deadline = math.inf
        return effects
