"""A server around the wire's sessions without I/O: requests are calls, frames are lists, time is a number.

It runs the behaviours of the official conformance suites in microseconds, with the settings that they assume, and shows
how a caller carries out the effects.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from roomcast.wire.engineio import SEPARATOR, encode_payload
from roomcast.wire.engineio_effects import (
    CloseCandidate,
    Closed,
    ClosePoll,
    Effect,
    MessageReceived,
    ReleasePoll,
    Send,
    SendOnCandidate,
    Upgraded,
)
from roomcast.wire.engineio_http import TransportName, check_request, error_body, parse_query
from roomcast.wire.engineio_refusals import RequestRefused
from roomcast.wire.engineio_session import CLOSE_PACKET, NOOP_PACKET, EngineSession
from roomcast.wire.errors import RemoteError
from roomcast.wire.limits import Timeouts
from roomcast.wire.socketio import encode_ack, encode_event
from roomcast.wire.socketio_session import ConnectRequested, EventReceived, SocketSession

SUITE_TIMES = Timeouts(ping_interval_s=0.3, ping_timeout_s=0.2)

Handler = Callable[["Link", str | bytes], None]


@dataclass
class Response:
    """The response to an HTTP request; ``status`` is 0 while it is pending."""

    status: int = 0
    body: bytes = b""

    @property
    def text(self) -> str:
        return self.body.decode()

    @property
    def packets(self) -> list[str]:
        return self.text.split(SEPARATOR)


@dataclass
class WebSocket:
    """The client's side of a websocket."""

    server: Loopback
    link: Link | None = None
    inbox: list[str | bytes] = field(default_factory=list)
    closed: bool = False

    def send(self, data: str | bytes) -> None:
        if self.link is not None and not self.closed:
            self.server.websocket_message(self.link, self, data)

    def take(self) -> list[str | bytes]:
        taken, self.inbox = self.inbox, []
        return taken


@dataclass
class Link:
    """The server's side of one session."""

    server: Loopback
    engine: EngineSession
    waiting: list[str | bytes] = field(default_factory=list)
    poll: Response | None = None
    websocket: WebSocket | None = None
    candidate: WebSocket | None = None
    socket: SocketSession | None = None

    def send(self, packets: Iterable[str | bytes]) -> None:
        self.waiting.extend(packets)
        self.flush()

    def flush(self) -> None:
        if self.websocket is not None:
            self.websocket.inbox.extend(self.waiting)
        elif self.poll is not None and self.waiting:
            self.answer_poll()
            self.engine.poll_answered()
            return
        else:
            return
        self.waiting = []

    def answer_poll(self, *tail: str) -> None:
        assert self.poll is not None
        self.poll.status, self.poll.body = 200, encode_payload([*self.waiting, *tail])
        self.poll, self.waiting = None, []


class Loopback:
    """A server with one application."""

    def __init__(self, opened: Callable[[Link], None], received: Handler) -> None:
        self.opened = opened
        self.received = received
        self.links: dict[str, Link] = {}
        self.now = 0.0
        self.ids = (f"sid{number}" for number in itertools.count())

    # -- client side --------------------------------------------------------------------------------------------------

    def get(self, query: str) -> Response:
        return self.request("GET", query)

    def post(self, query: str, body: str | bytes = b"") -> Response:
        return self.request("POST", query, body.encode() if isinstance(body, str) else body)

    def request(self, method: str, query: str, body: bytes = b"") -> Response:
        response = Response()
        parsed = parse_query(query)
        link = self.links.get(parsed.sid)
        try:
            transport = None if link is None else link.engine.transport
            check_request(method, parsed, websocket=False, session_transport=transport)
            if link is None:
                link = self.open(TransportName.POLLING)
            if method == "GET":
                effects = link.engine.poll_started(self.now)
                link.poll = response
                self.apply(link, effects)
                link.flush()
            else:
                link.engine.post_started(self.now)
                for effects in link.engine.post_received(body, self.now):
                    self.apply(link, effects)
                response.status, response.body = 200, b"ok"
        except RequestRefused as refused:
            if link is not None:
                self.apply(link, refused.effects)
            response.status, response.body = refused.status, error_body(refused)
        return response

    def websocket(self, query: str) -> WebSocket:
        websocket = WebSocket(self)
        parsed = parse_query(query)
        link = self.links.get(parsed.sid)
        try:
            transport = None if link is None else link.engine.transport
            check_request("GET", parsed, websocket=True, session_transport=transport)
            if link is None:
                websocket.link = self.open(TransportName.WEBSOCKET, websocket)
            else:
                link.engine.candidate_attached(self.now)
                link.candidate = websocket
                websocket.link = link
        except RequestRefused:
            websocket.closed = True
        return websocket

    def abort(self, poll: Response) -> None:
        for link in list(self.links.values()):
            if link.poll is poll:
                link.poll = None
                self.apply(link, link.engine.poll_aborted())

    def advance(self, seconds: float) -> None:
        """Advance the time, and check each deadline when it is reached."""
        end = self.now + seconds
        while (due := min((link.engine.next_deadline() for link in self.links.values()), default=math.inf)) <= end:
            self.now = due
            for link in list(self.links.values()):
                self.apply(link, link.engine.check_deadlines(self.now))
        self.now = end

    # -- server side --------------------------------------------------------------------------------------------------

    def open(self, transport: TransportName, websocket: WebSocket | None = None) -> Link:
        engine = EngineSession(next(self.ids), transport, timeouts=SUITE_TIMES)
        link = self.links[engine.sid] = Link(self, engine, websocket=websocket)
        link.send([engine.open(self.now)])
        self.opened(link)
        return link

    def websocket_message(self, link: Link, websocket: WebSocket, data: str | bytes) -> None:
        if websocket is link.candidate:
            self.apply(link, link.engine.receive_candidate(data, self.now))
        else:
            self.apply(link, link.engine.receive(data, self.now))

    def apply(self, link: Link, effects: Sequence[Effect]) -> None:  # noqa: C901 -- one case for each effect
        for effect in effects:
            match effect:
                case MessageReceived(data):
                    self.received(link, data)
                case Send(packet):
                    link.send([packet])
                case SendOnCandidate(packet):
                    assert link.candidate is not None
                    link.candidate.inbox.append(packet)
                case ReleasePoll():
                    link.answer_poll(*([] if link.waiting else [NOOP_PACKET]))
                case ClosePoll():
                    link.answer_poll(CLOSE_PACKET)
                case Upgraded():
                    link.websocket, link.candidate = link.candidate, None
                    if link.poll is not None:
                        link.poll.status, link.poll = 400, None
                    link.flush()
                case CloseCandidate():
                    assert link.candidate is not None
                    link.candidate.closed = True
                    link.candidate = None
                case Closed():
                    link.flush()
                    if link.websocket is not None:
                        link.websocket.closed = True
                    if link.socket is not None:
                        link.socket.close()
                    del self.links[link.engine.sid]


def echo_server() -> Loopback:
    """The server that the Engine.IO suite assumes."""
    return Loopback(lambda link: None, lambda link, data: link.send([data if isinstance(data, bytes) else f"4{data}"]))


def socketio_server() -> Loopback:
    """The server that the Socket.IO suite assumes."""

    def opened(link: Link) -> None:
        link.socket = SocketSession()

    def received(link: Link, data: str | bytes) -> None:
        assert link.socket is not None
        try:
            event = link.socket.receive(data)
        except RemoteError:
            link.server.apply(link, link.engine.close(link.server.now))
            return
        match event:
            case ConnectRequested(namespace, auth) if namespace in {"/", "/custom"}:
                link.send([link.socket.accept(namespace, next(link.server.ids))])
                link.send(encode_event(namespace, ["auth", auth]))
            case ConnectRequested(namespace):
                link.send([link.socket.refuse(namespace, "Invalid namespace")])
            case EventReceived("/", "message", args):
                link.send(encode_event("/", ["message-back", *args]))
            case EventReceived("/", "message-with-ack", args, int(ack_id)):
                link.send(encode_ack("/", args, ack_id))

    return Loopback(opened, received)


def open_packet(text: Any) -> str:
    """The data of an OPEN packet."""
    assert isinstance(text, str)
    assert text[0] == "0"
    return text[1:]
