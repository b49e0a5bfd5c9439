"""One Engine.IO v4 session, from handshake to close.

Sans-I/O: holds no socket, task, clock or queue. The caller passes in the input and the time, and carries out the
returned effects in order. Messages to the client do not pass through this class: the caller writes them to the
transport that ``transport`` names, unless ``state`` is closing or closed.

Layer: wire (standard library only). Source: Engine.IO protocol v4, whose sections are quoted; engine.io 6
``lib/socket.ts`` and ``lib/transports/polling.ts`` ("Node") where the protocol does not specify the behaviour.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
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
from roomcast.wire.strict_json import write

CLOSE_PACKET: Final = PacketType.CLOSE.value
PING_PACKET: Final = PacketType.PING.value
NOOP_PACKET: Final = PacketType.NOOP.value
PROBE: Final = "probe"
PROBE_REPLY: Final = PacketType.PONG.value + PROBE

# If a ping is late by at most this share of the ping timeout, the deadline of its pong is not extended.
_TIMER_SLACK: Final = 0.1

# How long a poll stays pending during an upgrade before a NOOP packet ends it: the client upgrades once it is answered.
# Node waits up to 0.1 s. Without the wait nearly each upgrade would take a NOOP packet and another poll, since the
# probe arrives together with the first events, whose answers end the poll as well.
_RELEASE_POLL_S: Final = 0.05


@unique
class State(Enum):
    """The state of a session."""

    __hash__ = object.__hash__  # that of Enum is a Python function, which takes longer than the rest of a look-up

    OPENING = "opening"
    OPEN = "open"
    UPGRADING = "upgrading"  # a candidate websocket has connected but has not sent its probe
    PROBED = "probed"  # the probe was answered; polls are answered soon until the UPGRADE packet arrives
    CLOSING = "closing"  # closed by the server over polling; the next poll fetches the queue and the CLOSE packet
    CLOSED = "closed"


@unique
class Trigger(Enum):
    """What changes the state of a session."""

    __hash__ = object.__hash__  # as above

    OPEN = "open"
    ATTACH = "attach"
    PROBE = "probe"
    UPGRADE = "upgrade"
    ABANDON = "abandon"
    CLOSE = "close"
    END = "end"


# The whole state machine. A pair that is not listed is illegal.
TRANSITIONS: Final[dict[tuple[State, Trigger], State]] = {
    (State.OPENING, Trigger.OPEN): State.OPEN,
    (State.OPEN, Trigger.ATTACH): State.UPGRADING,
    (State.UPGRADING, Trigger.PROBE): State.PROBED,
    (State.PROBED, Trigger.PROBE): State.PROBED,  # Node answers each probe
    (State.UPGRADING, Trigger.UPGRADE): State.OPEN,  # Node does not require the probe
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

# States in which a candidate websocket is connected.
_ATTACHED: Final = frozenset({State.UPGRADING, State.PROBED})
# States in which messages of the client are passed to the application.
_READING: Final = frozenset({State.OPEN, *_ATTACHED})


_NOTHING: Final[tuple[Effect, ...]] = ()


class EngineSession:
    """The state of one session.

    ``now`` is monotonic seconds in every method. On a closed session, the methods for input, timers and lost
    connections return no effects, so callers need not check whether a callback is late.

    Attributes:
        sid: Session id.
        transport: The current transport.
    """

    __slots__ = (
        "_closing_deadline",
        "_limits",
        "_next_ping",
        "_poll_during_upgrade",
        "_poll_pending",
        "_pong_deadline",
        "_post_pending",
        "_release_deadline",
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
        """Create a session in state ``OPENING``.

        Args:
            sid: Must be unguessable, since it is the only credential of a polling request.
            transport: The transport of the handshake.
            upgrades: Transports that a polling session may upgrade to; empty forbids upgrades.
            limits: Limits of the input.
            timeouts: Heartbeat, upgrade and close timeouts.
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
        self._release_deadline = math.inf
        self._poll_pending = False
        self._poll_during_upgrade = False  # the pending poll began then
        self._post_pending = False

    @property
    def state(self) -> State:
        """The current state."""
        return self._state

    def open(self, now: float) -> str:
        """Start the heartbeat and return the OPEN packet.

        "Handshake": the packet has exactly these keys; times are in milliseconds.
        """
        self._move(Trigger.OPEN)
        self._next_ping = now + self._timeouts.ping_interval_s
        text, _ = write(
            {
                "sid": self.sid,
                "upgrades": self._upgrades,
                "pingInterval": round(self._timeouts.ping_interval_s * 1000),
                "pingTimeout": round(self._timeouts.ping_timeout_s * 1000),
                "maxPayload": self._limits.max_payload_bytes,
            }
        )
        return PacketType.OPEN + text

    # -- time ---------------------------------------------------------------------------------------------------------

    @property
    def awaits_pong(self) -> bool:
        """Whether a ping was sent whose pong has not arrived."""
        return self._pong_deadline != math.inf

    def next_deadline(self) -> float:
        """When to call ``check_deadlines`` next; infinity once the session is closed.

        The deadline may change with each input. If a timer fires too early, set it again.
        """
        return min(
            self._next_ping, self._pong_deadline, self._upgrade_deadline, self._closing_deadline, self._release_deadline
        )

    def check_deadlines(self, now: float, *, input_waits: bool = False) -> Sequence[Effect]:
        """Apply the deadlines that have passed: ping, ping timeout, upgrade timeout, poll release, close timeout.

        Args:
            now: Monotonic seconds.
            input_waits: The server reads from this client later than the client sends, so the pong may wait behind
                other packets. The session pings again, since the client expects pings, too.
        """
        if now < self.next_deadline():
            return _NOTHING
        if self._closing_deadline <= now:
            return self._end(CloseReason.FORCED_CLOSE)
        if self._pong_deadline <= now:
            if not input_waits:
                return self._end(CloseReason.PING_TIMEOUT)
            self._next_ping = now
        effects: list[Effect] = []
        if self._upgrade_deadline <= now:
            effects.append(self._abandon_upgrade())
        if self._release_deadline <= now:
            self._release_deadline = math.inf
            effects += self._release_poll()
        if self._next_ping <= now:
            timeout_s = self._timeouts.ping_timeout_s
            # "Heartbeat": the client expects interval plus timeout, so a coarse timer must not extend the deadline. If
            # the delay is longer, the client gets the full timeout.
            late = now - self._next_ping > timeout_s * _TIMER_SLACK
            self._pong_deadline = (now if late else self._next_ping) + timeout_s
            self._next_ping = math.inf
            effects.append(Send(PING_PACKET))
        return effects

    # -- websocket ----------------------------------------------------------------------------------------------------

    def message(self, data: str | bytes) -> str | bytes | None:
        """The payload of a MESSAGE packet of the session's websocket; None if it is another packet, for `receive`.

        Nearly all input is such packets. `receive` accepts them, too, and takes more time.
        """
        if self._state is not State.OPEN:
            return None
        if not isinstance(data, str):
            return data
        return data[1:] if data.startswith("4") else None

    def receive(self, data: str | bytes, now: float) -> Sequence[Effect]:
        """Process one message of the session's websocket: ``str`` from a text frame, ``bytes`` from a binary frame."""
        if self._state is not State.OPEN:
            return _NOTHING
        payload = self.message(data)
        if payload is not None:
            return (MessageReceived(payload),)
        try:
            packet = decode_packet(str(data))
        except RemoteError as error:
            return self._end(CloseReason.PARSE_ERROR, error)
        return self._on_packet(packet, now)

    def transport_closed(self) -> Sequence[Effect]:
        """The client closed the session's websocket."""
        return self._end(CloseReason.TRANSPORT_CLOSE)

    def transport_failed(self, error: RemoteError | None = None) -> Sequence[Effect]:
        """The session's websocket was lost, or received an invalid frame (``error``)."""
        return self._end(CloseReason.TRANSPORT_ERROR, error)

    # -- polling ------------------------------------------------------------------------------------------------------

    def poll_started(self, now: float) -> Sequence[Effect]:
        """A GET request arrived.

        If no effects are returned, the poll is pending: answer it when a packet is queued, then call ``poll_answered``.
        A poll that begins during an upgrade, and is still pending at its end, was probably sent after the UPGRADE
        packet: refuse it, since polls that follow the UPGRADE packet are refused.

        Raises:
            RequestRefused: carry out its ``effects``, which may concern the earlier poll, then answer with the error.
        """
        self._require_polling(now)
        if self._poll_pending:
            # "Receiving data": on a second active GET request, answer 400 and close the session.
            raise RequestRefused(HttpError.BAD_REQUEST, "a second poll", effects=self._end(CloseReason.TRANSPORT_ERROR))
        self._poll_pending = True
        self._poll_during_upgrade = self._state in _ATTACHED
        if self._state is State.CLOSING:
            return self._end(CloseReason.FORCED_CLOSE)
        if self._state is State.PROBED:
            self._release_deadline = now + _RELEASE_POLL_S
        return _NOTHING

    def poll_answered(self) -> None:
        """The pending poll was answered with the queued packets."""
        self._poll_pending = False

    def poll_aborted(self) -> Sequence[Effect]:
        """The connection of the pending poll was lost before the response."""
        if not self._poll_pending:
            return _NOTHING
        self._poll_pending = False
        return self._end(CloseReason.TRANSPORT_ERROR)

    def post_started(self, now: float, content_type: str = "") -> None:
        """A POST request arrived; its body has not been read.

        Args:
            now: Monotonic seconds.
            content_type: The unparsed header.

        Raises:
            RequestRefused: carry out its ``effects``, then answer with the error.
        """
        self._require_polling(now)
        if self._post_pending:
            # "Sending data": on a second active POST request, answer 400 and close the session.
            raise RequestRefused(HttpError.BAD_REQUEST, "a second post", effects=self._end(CloseReason.TRANSPORT_ERROR))
        if content_type.partition(";")[0].strip().lower() == "application/octet-stream":
            # "From v3 to v4": payloads are text, with binary data in base64.
            raise RequestRefused(HttpError.BAD_REQUEST, "a binary body", effects=self._end(CloseReason.TRANSPORT_ERROR))
        self._post_pending = True

    def post_received(self, body: bytes, now: float) -> Iterator[Sequence[Effect]]:
        """The body of the POST is complete. Carry out the effects of each packet, then answer ``ok``.

        The caller may pause between two packets; the POST is active until the end of the iteration.

        Args:
            body: The body.
            now: When it was complete.

        Raises:
            RequestRefused: carry out its ``effects``, then answer with the error.
        """
        try:
            packets = decode_payload(body, self._limits)
            # What follows a packet that closes the session is not read.
            while self._state in _READING and (packet := next(packets, None)) is not None:
                yield self._on_packet(packet, now, polling=True)
        except RemoteError as error:
            effects = self._end(CloseReason.PARSE_ERROR, error)
            raise RequestRefused(HttpError.BAD_REQUEST, error.detail, effects=effects) from error
        finally:
            self._post_pending = False

    def post_dropped(self) -> None:
        """The POST was answered without reading its body (413 if too large). As in Node, the session stays open."""
        self._post_pending = False

    def post_aborted(self) -> Sequence[Effect]:
        """The connection of the POST was lost before its body was complete."""
        if not self._post_pending:
            return _NOTHING
        self._post_pending = False
        return self._end(CloseReason.TRANSPORT_ERROR)

    # -- upgrade ------------------------------------------------------------------------------------------------------

    def candidate_attached(self, now: float) -> None:
        """A websocket with this sid requests the upgrade and becomes the candidate.

        "WebSocket": a client must not open more than one websocket per session; an additional one is closed.

        Raises:
            UpgradeRefused: complete the websocket handshake, then close the websocket. The session is unchanged.
        """
        offered = self.transport is TransportName.POLLING and TransportName.WEBSOCKET in self._upgrades
        if self._state is not State.OPEN or not offered:
            raise UpgradeRefused(f"no upgrade in state {self._state.value}")
        self._move(Trigger.ATTACH)
        self._upgrade_deadline = now + self._timeouts.upgrade_timeout_s

    def receive_candidate(self, data: str | bytes, now: float) -> Sequence[Effect]:
        """Process one message of the candidate: the probe, then UPGRADE ("Upgrade").

        Any other message closes the candidate.
        """
        if self._state not in _ATTACHED:
            return _NOTHING
        if data == PacketType.PING + PROBE:
            self._move(Trigger.PROBE)
            # "Upgrade": answer the probe, and send a NOOP to the pending poll.
            if self._poll_pending:
                self._release_deadline = now + _RELEASE_POLL_S
            return (SendOnCandidate(PROBE_REPLY),)
        if isinstance(data, str) and data.startswith(PacketType.UPGRADE):
            self._move(Trigger.UPGRADE)
            self._upgrade_deadline = self._release_deadline = math.inf
            self.transport = TransportName.WEBSOCKET
            if self._pong_deadline != math.inf:
                # The ping may have been sent over the old transport, so the time for its pong starts again.
                self._pong_deadline = now + self._timeouts.ping_timeout_s
            if self._poll_during_upgrade:
                self._poll_pending = False
            return [*self._release_poll(), Upgraded()]
        return (self._abandon_upgrade(),)

    def candidate_lost(self) -> None:
        """The candidate was closed or lost. The session continues over polling."""
        if self._state in _ATTACHED:
            self._abandon_upgrade()

    # -- close --------------------------------------------------------------------------------------------------------

    def close(self, now: float) -> Sequence[Effect]:
        """Close the session from the server's side.

        Over websocket, or with a pending poll, the session ends at once. Otherwise it waits at most ``close_timeout_s``
        for the poll that fetches the queued packets and the CLOSE packet.
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

    # -- internals ----------------------------------------------------------------------------------------------------

    def _move(self, trigger: Trigger) -> None:
        """The only place where the state changes."""
        target = TRANSITIONS.get((self._state, trigger))
        if target is None:
            raise IllegalTransition(self._state.name, trigger.name)
        self._state = target

    def _on_packet(self, packet: Packet, now: float, *, polling: bool = False) -> Sequence[Effect]:
        match packet.type:
            case PacketType.MESSAGE:
                return (MessageReceived(packet.data),)
            case PacketType.PONG:
                # As in Node, an unsolicited pong counts, and a late one until the timer fires: the client is alive.
                self._pong_deadline = math.inf
                self._next_ping = now + self._timeouts.ping_interval_s
                return _NOTHING
            case PacketType.CLOSE:
                released = self._release_poll() if polling else _NOTHING
                return [*released, *self._end(CloseReason.TRANSPORT_CLOSE)]
            case PacketType.PING:
                # "From v3 to v4": only the server sends pings. Node: "invalid heartbeat direction".
                return self._end(CloseReason.TRANSPORT_ERROR)
            case _:  # OPEN, UPGRADE, NOOP: ignored, as in Node
                return _NOTHING

    def _require_polling(self, now: float) -> None:
        """Refuse a request unless polling carries the session ("Sending data", "Receiving data")."""
        # The timer may be late; a request must not revive a session whose deadline has passed.
        if self._pong_deadline < now or self._closing_deadline < now:
            effects = self.check_deadlines(now)
            raise RequestRefused(HttpError.UNKNOWN_SID, "the session has timed out", effects=effects)
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
        self._upgrade_deadline = self._release_deadline = math.inf
        self._poll_during_upgrade = False
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
        self._next_ping = self._pong_deadline = self._upgrade_deadline = math.inf
        self._closing_deadline = self._release_deadline = math.inf
        return effects
