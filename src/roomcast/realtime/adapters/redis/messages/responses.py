"""Responses of Node's adapter, byte for byte, with what this package's servers add for each other. Sans-I/O.

A response of Node does not name its server. This package's servers recognize a request of each other by its id, which
begins with the uid of the requester and a hyphen, and then add what Node lacks: ``uid``, the server that responds;
``part``, the number of a part of the answer, and ``more``, if another one follows, so that no message is large;
``rest``, the arguments of an acknowledgement after the first; type 10, ``gone``, for a client that disconnected before
it acknowledged. Requests and responses between this package and Node are as between Node servers.

Layer: realtime. Source: @socket.io/redis-adapter 8.3.
"""

from __future__ import annotations

import secrets
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, TypeVar

from roomcast.realtime.adapters.redis.errors import MalformedMessage
from roomcast.realtime.adapters.redis.messages.packing import pack
from roomcast.realtime.adapters.redis.messages.protocol import (
    RequestType,
    encode_json,
    optional_text,
    read_list,
    read_object,
)
from roomcast.realtime.cluster.commands import SocketDescription
from roomcast.realtime.requests.handshake import Handshake, Headers
from roomcast.wire.engineio_http import TransportName

#: Type of the response with ``gone``. Node ignores it.
GONE: Final = 10
_REQUEST_ID_BYTES: Final = 9
_RESPONSE_TYPES: Final = frozenset({RequestType.CLIENT_COUNT.value, RequestType.ACK.value})
_TRANSPORTS: Final = {member.value: member for member in TransportName}


_T = TypeVar("_T")


def new_request_id(uid: str) -> str:
    """An id for a request of the server with this uid."""
    return f"{uid}-{secrets.token_urlsafe(_REQUEST_ID_BYTES)}"


def is_ours(request_id: str, requester: str | None) -> bool:
    """Whether the server that has sent a request is of this package."""
    return requester is not None and request_id.startswith(f"{requester}-")


def parts_of(items: Iterable[tuple[_T, int]], limit_bytes: int) -> Iterator[tuple[list[_T], int, bool]]:
    """The parts of an answer: items, number, and whether another part follows.

    Args:
        items: Items with their sizes in bytes; taken one by one.
        limit_bytes: Maximum size of a part of more than one item.
    """
    part: list[_T] = []
    size = number = 0
    for item, size_bytes in items:
        if part and size + size_bytes > limit_bytes:
            yield part, number, True
            part, size, number = [], 0, number + 1
        part.append(item)
        size += size_bytes + 1
    yield part, number, False


def ack_fields(args: Sequence[Any], *, ours: bool) -> dict[str, Any]:
    """The fields for the arguments of an acknowledgement: Node's has the first one alone.

    Args:
        args: The arguments.
        ours: Whether the requester is of this package.
    """
    fields: dict[str, Any] = {"packet": args[0]} if args else {}
    if ours and len(args) > 1:
        fields["rest"] = list(args[1:])
    return fields


@dataclass(frozen=True, slots=True)
class Responder:
    """Encodes the responses to one request.

    Attributes:
        request_id: Id of the request.
        uid: Uid of this server if the requester is of this package; None: the requester is of Node.
    """

    request_id: str
    uid: str | None

    @classmethod
    def to(cls, request_id: str, requester: str | None, uid: str) -> Responder:
        """For a request of ``requester`` to the server ``uid``."""
        return cls(request_id, uid if is_ours(request_id, requester) else None)

    def encode(self, **fields: Any) -> bytes:
        """A response with these fields, as JSON.

        Raises:
            EncodeError: a value is binary or not JSON.
        """
        return encode_json({"requestId": self.request_id, **fields, **self._name})

    def encode_sockets(self, sockets: Iterable[bytes], limit_bytes: int) -> Iterator[bytes]:
        """The response to a fetch.

        Args:
            sockets: From `encode_socket`; taken one by one.
            limit_bytes: Size of a part; for Node there is one part of any size.
        """
        limit_bytes = limit_bytes if self.uid is not None else sys.maxsize
        for part, number, more in parts_of(((socket, len(socket)) for socket in sockets), limit_bytes):
            yield self._encode_part(part, number, more=more)

    def _encode_part(self, sockets: Sequence[bytes], number: int, *, more: bool) -> bytes:
        head = encode_json({"requestId": self.request_id, "sockets": []}).removesuffix(b"]}")
        if self.uid is None:
            return b"%b%b]}" % (head, b",".join(sockets))
        tail = encode_json({"uid": self.uid, "part": number, "more": more})
        return b"%b%b],%b" % (head, b",".join(sockets), tail[1:])

    def encode_count(self, asked: int) -> bytes:
        """The number of clients that were asked to acknowledge."""
        count = {"type": RequestType.CLIENT_COUNT.value, "requestId": self.request_id, "clientCount": asked}
        return encode_json(count | self._name)

    def encode_event_answer(self, value: Any) -> bytes:
        """The answer to an event between servers; without ``data`` if it is None.

        Raises:
            EncodeError: the value is not JSON.
        """
        answer: dict[str, Any] = {"type": RequestType.SERVER_SIDE_EMIT.value, "requestId": self.request_id}
        if value is not None:
            answer["data"] = value
        return encode_json(answer | self._name)

    def encode_ack(self, args: Sequence[Any]) -> bytes:
        """A client's acknowledgement.

        Raises:
            EncodeError: an argument cannot be encoded.
        """
        response: dict[str, Any] = {"type": RequestType.ACK.value, "requestId": self.request_id}
        return pack(response | ack_fields(args, ours=self.uid is not None) | self._name)

    def encode_gone(self) -> bytes | None:
        """A client that will not acknowledge; None: Node has no such response."""
        if self.uid is None:
            return None
        return encode_json({"type": GONE, "requestId": self.request_id, "gone": 1, **self._name})

    @property
    def _name(self) -> dict[str, str]:
        return {} if self.uid is None else {"uid": self.uid}


@dataclass(frozen=True, slots=True)
class Response:
    """A response of another server.

    Attributes:
        request_id: Id of the request.
        server: Uid of the responding server; None: it is of Node.
        fields: The other fields, not validated.
    """

    request_id: str
    server: str | None
    fields: dict[str, Any]

    @classmethod
    def decode(cls, data: bytes) -> Response | None:
        """Decode a response; None if it belongs to no request.

        Raises:
            MalformedMessage: it is not a response.
        """
        fields = read_object(data)
        request_id = optional_text(fields, "requestId")
        return None if request_id is None else cls(request_id, optional_text(fields, "uid"), fields)

    @property
    def part(self) -> int:
        """The number of this part of the answer, from 0."""
        part = self.fields.get("part")
        return part if self.server is not None and type(part) is int else 0

    @property
    def more(self) -> bool:
        """Whether another part of the answer follows."""
        return self.server is not None and self.fields.get("more") is True

    @property
    def kind(self) -> RequestType | None:
        """The type of a response to a broadcast; None if it has another type, or none."""
        kind = self.fields.get("type")
        return RequestType(kind) if type(kind) is int and kind in _RESPONSE_TYPES else None

    @property
    def count(self) -> int:
        """How many clients were asked to acknowledge.

        Raises:
            MalformedMessage: it is not such a response.
        """
        count = self.fields.get("clientCount")
        if type(count) is not int or count < 0:
            raise MalformedMessage("clientCount must be a number of clients")
        return count

    @property
    def args(self) -> Sequence[Any]:
        """The arguments of an acknowledgement; see `ack_fields`."""
        first = [self.fields["packet"]] if "packet" in self.fields else []
        rest = self.fields.get("rest") if self.server is not None else None
        return [*first, *rest] if isinstance(rest, list) else first

    @property
    def gone(self) -> bool:
        """Whether a client has disconnected before it acknowledged."""
        return self.fields.get("type") == GONE

    @property
    def sockets(self) -> list[SocketDescription]:
        """The sockets in the response to a fetch.

        Raises:
            MalformedMessage: it is not such a response.
        """
        return [_socket(item) for item in read_list(self.fields, "sockets")]


# -- descriptions of sockets ------------------------------------------------------------------------------------------


def encode_socket(socket: SocketDescription, *, with_data: bool = True) -> bytes:
    """Encode `describe`.

    Args:
        socket: The socket.
        with_data: Whether to send its data; else an empty object.

    Raises:
        EncodeError: its data cannot be encoded.
    """
    return encode_json(describe(socket) if with_data else describe(socket) | {"data": {}})


def describe(socket: SocketDescription) -> dict[str, Any]:
    """Describe a socket as Node's ``fetchSockets`` does.

    As in Node, the handshake holds the headers and ``auth``, secrets included: the cluster's Redis must be private.
    """
    handshake = socket.handshake
    headers = dict(handshake.headers)
    opened = datetime.fromtimestamp(handshake.time, UTC)
    return {
        "id": socket.sid,
        "handshake": {
            "headers": headers,
            # The format in which JavaScript converts a `Date` to a string.
            "time": f"{opened:%a %b %d %Y %H:%M:%S} GMT+0000 (Coordinated Universal Time)",
            "address": handshake.address or "",
            "xdomain": "origin" in headers,
            "secure": handshake.secure,
            "issued": int(handshake.time * 1_000),
            "url": f"{handshake.path}?{handshake.query_string}",
            "query": handshake.query,
            "auth": handshake.auth if handshake.auth is not None else {},
        },
        "rooms": [socket.sid, *sorted(socket.rooms, key=str)],
        "data": socket.data,
    }


def _socket(item: Any) -> SocketDescription:
    if not isinstance(item, dict):
        raise MalformedMessage("a socket must be an object")
    sid, handshake, data = item.get("id"), item.get("handshake"), item.get("data")
    if not isinstance(sid, str) or not isinstance(handshake, dict):
        raise MalformedMessage("a socket must have an id and a handshake")
    rooms = frozenset(room for room in read_list(item, "rooms") if isinstance(room, str) and room != sid)
    return SocketDescription(sid, _handshake(handshake), rooms, data if isinstance(data, dict) else {})


def _handshake(fields: dict[str, Any]) -> Handshake:
    headers = fields.get("headers")
    path, _, query_string = _text(fields, "url").partition("?")
    issued = fields.get("issued")
    address = _text(fields, "address")
    query = fields.get("query")
    transport = query.get("transport") if isinstance(query, dict) else None
    return Handshake(
        headers=Headers(_header_lines(headers if isinstance(headers, dict) else {})),
        address=address or None,
        query_string=query_string,
        time=issued / 1_000 if isinstance(issued, int | float) else 0.0,
        transport=_TRANSPORTS.get(transport, TransportName.POLLING)
        if isinstance(transport, str)
        else TransportName.POLLING,
        path=path,
        secure=fields.get("secure") is True,
        auth=fields.get("auth") or None,
    )


def _header_lines(headers: dict[str, Any]) -> Iterator[tuple[bytes, bytes]]:
    for name, value in headers.items():
        # Node lists the values of some repeated headers.
        for line in value if isinstance(value, list) else [value]:
            if isinstance(line, str) and "\n" not in name + line:
                yield name.encode("latin-1", "replace"), line.encode("latin-1", "replace")


def _text(fields: dict[str, Any], name: str) -> str:
    value = fields.get(name)
    return value if isinstance(value, str) else ""
