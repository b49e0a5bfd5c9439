"""What stands on which channel, byte for byte. Sans-I/O.

A broadcast is msgpack ``[uid, packet, opts]`` on the namespace's channel, or on the room's if there is exactly one.
Requests and their answers are JSON, or msgpack where a packet is part of them; the first byte tells (``{`` is JSON).

Layer: realtime. Source: @socket.io/redis-adapter 8.3, @socket.io/redis-emitter 5.1.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum, unique
from typing import Any, Final, TypeAlias

from roomcast.realtime.adapters.redis.errors import MalformedMessage
from roomcast.realtime.adapters.redis.packing import pack, unpack
from roomcast.realtime.core.cluster import Broadcast, Command, Disconnect, Join, Leave, Selection
from roomcast.realtime.fanout.message import EncodedEvent
from roomcast.wire.errors import EncodeError, RemoteError
from roomcast.wire.limits import DEFAULT_LIMITS
from roomcast.wire.socketio import DEFAULT_NAMESPACE, RESERVED_EVENTS, PacketType
from roomcast.wire.strict_json import reader_for, write

#: Who broadcasts without being a server.
EMITTER_UID: Final = "emitter"

_GLOB: Final = re.compile(r"([*?\[\]\\])")
_JSON_START: Final = b"{"
_PACKET_TYPES: Final = frozenset({PacketType.EVENT, PacketType.BINARY_EVENT})
_BROADCAST_PARTS: Final = 3


@unique
class RequestType(IntEnum):
    """What servers ask each other; the value is what travels."""

    SOCKETS = 0
    ALL_ROOMS = 1
    JOIN = 2
    LEAVE = 3
    DISCONNECT = 4
    FETCH = 5
    SERVER_SIDE_EMIT = 6
    BROADCAST = 7
    CLIENT_COUNT = 8
    ACK = 9


_REQUEST_TYPES: Final = {member.value: member for member in RequestType}


@dataclass(frozen=True, slots=True)
class Channels:
    """The channels of one namespace.

    Attributes:
        namespace: Its name.
        broadcasts: Everyone's; a room's has ``<room>#`` behind it.
        pattern: Fits that channel and its rooms'.
        requests: What is asked of every server.
        responses: Answers to everyone.
        own_responses: Answers to this server alone.
    """

    namespace: str
    broadcasts: str
    pattern: str
    requests: str
    responses: str
    own_responses: str

    @classmethod
    def of(cls, key: str, namespace: str, uid: str) -> Channels:
        """The channels that a server subscribes to, each once."""
        broadcasts = f"{key}#{namespace}#"
        responses = f"{key}-response#{namespace}#"
        # A namespace can be a client's invention: its name must not become a pattern.
        pattern = _GLOB.sub(r"\\\1", broadcasts) + "*"
        return cls(namespace, broadcasts, pattern, f"{key}-request#{namespace}#", responses, f"{responses}{uid}#")


# -- out --------------------------------------------------------------------------------------------------------------


def encode_command(key: str, uid: str | None, command: Command) -> tuple[str, bytes] | None:
    """The channel and the bytes of a command; None if it concerns nobody.

    Args:
        key: Begins every channel.
        uid: Who sends it; None: an emitter.
        command: What is asked for.

    Raises:
        EncodeError: an argument cannot travel.
    """
    who = command.to if isinstance(command, Broadcast) else command.sockets
    if who.rooms is not None and not who.rooms:
        return None  # on the wire no room at all means everybody
    rooms = _unique(who.rooms or ())
    skip = _unique(who.skip)
    if isinstance(command, Broadcast):
        channel = f"{key}#{who.namespace}#"
        if len(rooms) == 1:
            channel += f"{rooms[0]}#"
        return channel, _encode_broadcast(uid, command, rooms, skip)
    request: dict[str, Any] = {} if uid is None else {"uid": uid}
    opts = {"rooms": rooms, "except": skip}
    match command:
        case Join(_, joined):
            request |= {"type": RequestType.JOIN.value, "opts": opts, "rooms": _unique(joined)}
        case Leave(_, left):
            request |= {"type": RequestType.LEAVE.value, "opts": opts, "rooms": _unique(left)}
        case Disconnect(_, close):
            request |= {"type": RequestType.DISCONNECT.value, "opts": opts, "close": close}
    return f"{key}-request#{who.namespace}#", encode_json(request)


def _encode_broadcast(uid: str | None, command: Broadcast, rooms: list[str], skip: list[str]) -> bytes:
    try:
        data = list(command.message.args)
    except ValueError as error:
        raise EncodeError(f"the event is no JSON array: {error}") from error
    packet = {"type": PacketType.EVENT.value, "data": data, "nsp": command.to.namespace}
    flags = {"volatile": True} if command.volatile else {}
    # The emitter has its own order, as anyone who compares bytes will notice.
    opts = (
        {"rooms": rooms, "flags": flags, "except": skip}
        if uid is None
        else {"rooms": rooms, "except": skip, "flags": flags}
    )
    return pack([EMITTER_UID if uid is None else uid, packet, opts])


def encode_json(value: Mapping[str, Any]) -> bytes:
    """As ``JSON.stringify`` writes it.

    Raises:
        EncodeError: a value is no JSON, or binary.
    """
    text, attachments = write(value)
    if attachments:
        raise EncodeError("requests and their answers carry no binary data")
    return text.encode()


def encode_ack(request_id: str, args: Sequence[Any]) -> bytes:
    """A client's acknowledgement of an acknowledged broadcast: its first argument, if it has one.

    Raises:
        EncodeError: it cannot travel.
    """
    answer: dict[str, Any] = {"type": RequestType.ACK.value, "requestId": request_id}
    if args:
        answer["packet"] = args[0]
    return pack(answer)


def _unique(names: Sequence[str]) -> list[str]:
    return list(dict.fromkeys(names))


# -- in ---------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class SocketsQuery:
    """Ids of the sockets in some rooms (none: all) are asked for."""

    request_id: str
    uid: str | None
    rooms: tuple[str, ...] | None


@dataclass(frozen=True, slots=True)
class RoomsQuery:
    """The names of all rooms are asked for."""

    request_id: str
    uid: str | None


@dataclass(frozen=True, slots=True)
class FetchQuery:
    """Descriptions of sockets are asked for."""

    request_id: str
    uid: str | None
    who: Selection


@dataclass(frozen=True, slots=True)
class ServerSideEmit:
    """An event for the other servers themselves.

    Attributes:
        request_id: None: no answer is expected.
        uid: Who sent it.
        args: Event name and arguments.
    """

    request_id: str | None
    uid: str | None
    args: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class AcknowledgedBroadcast:
    """An event whose recipients answer, each for itself.

    Attributes:
        request_id: What the answers name.
        uid: Who sent it.
        to: Who gets it.
        args: Event name and arguments.
        timeout_s: How long the other server waits.
    """

    request_id: str
    uid: str | None
    to: Selection
    args: tuple[Any, ...]
    timeout_s: float


@dataclass(frozen=True, slots=True)
class LegacyCommand:
    """A command for one socket, by a server before version 6 of the adapter, which waits for an answer."""

    request_id: str | None
    uid: str | None
    sid: str
    command: Command


@dataclass(frozen=True, slots=True)
class RemoteCommand:
    """A join, leave or disconnect; of an emitter if the uid is None."""

    uid: str | None
    command: Command


Query: TypeAlias = SocketsQuery | RoomsQuery | FetchQuery | ServerSideEmit | AcknowledgedBroadcast
Request: TypeAlias = RemoteCommand | LegacyCommand | Query


def room_of(channels: Channels, channel: str) -> str | None:
    """The room that a broadcast's channel names; None: all rooms are in the message."""
    return channel[len(channels.broadcasts) : -1] or None


def decode_broadcast(namespace: str, uid: str, data: bytes) -> Broadcast | None:
    """A broadcast of another server or an emitter.

    Args:
        namespace: Whose channel it came by.
        uid: Our own: what we sent comes back to us.
        data: The bytes.

    Returns:
        None if it is our own or another namespace's.

    Raises:
        MalformedMessage: it is none.
    """
    message = unpack(data)
    if not isinstance(message, list) or len(message) != _BROADCAST_PARTS:
        raise MalformedMessage("a broadcast is an array of uid, packet and options")
    sender, packet, opts = message
    if sender == uid:
        return None
    if not isinstance(packet, dict) or not isinstance(opts, dict):
        raise MalformedMessage("the packet and the options of a broadcast are objects")
    if packet.get("nsp", DEFAULT_NAMESPACE) != namespace:
        return None
    flags = opts.get("flags")
    volatile = isinstance(flags, dict) and flags.get("volatile") is True
    try:
        event = EncodedEvent.from_args(*_event_of(packet))
    except EncodeError as error:
        raise MalformedMessage("the event cannot be encoded") from error
    return Broadcast(_selection(namespace, opts), event, volatile)


def decode_request(namespace: str, data: bytes) -> Request | None:
    """A request of another server, an emitter, or ourselves.

    Returns:
        None if its type is not known: a newer server's.

    Raises:
        MalformedMessage: it is none.
    """
    request = _object(data)
    kind = request.get("type")
    kind = _REQUEST_TYPES.get(kind) if type(kind) is int else None
    uid = _optional_text(request, "uid")
    request_id = _optional_text(request, "requestId")
    match kind:
        case RequestType.JOIN | RequestType.LEAVE | RequestType.DISCONNECT:
            return _command(namespace, kind, request, uid, request_id)
        case RequestType.SERVER_SIDE_EMIT:
            return ServerSideEmit(request_id, uid, tuple(_list(request, "data")))
        case None | RequestType.CLIENT_COUNT | RequestType.ACK:
            return None
    if request_id is None:
        raise MalformedMessage("a question without requestId")
    return _question(namespace, kind, request, uid, request_id)


def _question(
    namespace: str, kind: RequestType, request: dict[str, Any], uid: str | None, request_id: str
) -> SocketsQuery | RoomsQuery | FetchQuery | AcknowledgedBroadcast:
    match kind:
        case RequestType.SOCKETS:
            return SocketsQuery(request_id, uid, _names(request.get("rooms")) or None)
        case RequestType.ALL_ROOMS:
            return RoomsQuery(request_id, uid)
        case RequestType.FETCH:
            return FetchQuery(request_id, uid, _selection(namespace, _opts(request)))
    opts = _opts(request)
    flags = opts.get("flags")
    timeout_ms = flags.get("timeout") if isinstance(flags, dict) else None
    if not isinstance(timeout_ms, int | float):
        timeout_ms = 0
    packet = request.get("packet")
    if not isinstance(packet, dict):
        raise MalformedMessage("an acknowledged broadcast without packet")
    args = tuple(_event_of(packet))
    return AcknowledgedBroadcast(request_id, uid, _selection(namespace, opts), args, timeout_ms / 1_000)


def _command(
    namespace: str, kind: RequestType, request: dict[str, Any], uid: str | None, request_id: str | None
) -> Request:
    legacy = "opts" not in request
    rooms: tuple[str, ...]
    if legacy:
        sid = _optional_text(request, "sid")
        if sid is None:
            raise MalformedMessage("a command that names neither options nor a socket")
        who = Selection(namespace, (sid,))
        rooms = () if kind is RequestType.DISCONNECT else (_name(request.get("room")),)
    else:
        sid = ""
        who = _selection(namespace, _opts(request))
        rooms = () if kind is RequestType.DISCONNECT else _names(request.get("rooms"))
    command: Command
    if kind is RequestType.JOIN:
        command = Join(who, rooms)
    elif kind is RequestType.LEAVE:
        command = Leave(who, rooms)
    else:
        command = Disconnect(who, close=request.get("close") is True)
    return LegacyCommand(request_id, uid, sid, command) if legacy else RemoteCommand(uid, command)


def _object(data: bytes) -> dict[str, Any]:
    if data[:1] == _JSON_START:
        try:
            value = reader_for(DEFAULT_LIMITS).read(data.decode())
        except (RemoteError, UnicodeDecodeError) as error:
            raise MalformedMessage("not JSON") from error
    else:
        value = unpack(data)
    if not isinstance(value, dict):
        raise MalformedMessage("a request is an object")
    return value


def _event_of(packet: dict[str, Any]) -> list[Any]:
    data = packet.get("data")
    kind = packet.get("type")
    if type(kind) is not int or kind not in _PACKET_TYPES or not isinstance(data, list) or not data:
        raise MalformedMessage("only events are broadcast")
    if type(data[0]) not in (str, int):
        raise MalformedMessage("an event's name is text or a number")
    if data[0] in RESERVED_EVENTS:
        # No server or emitter lets one out; a client would take it for its own connection's news.
        raise MalformedMessage("a reserved event name")
    return data


def _selection(namespace: str, opts: dict[str, Any]) -> Selection:
    return Selection(namespace, _names(opts.get("rooms")) or None, _names(opts.get("except")))


def _opts(request: dict[str, Any]) -> dict[str, Any]:
    opts = request.get("opts")
    if not isinstance(opts, dict):
        raise MalformedMessage("the options are an object")
    return opts


def _list(request: dict[str, Any], name: str) -> list[Any]:
    value = request.get(name)
    if not isinstance(value, list):
        raise MalformedMessage(f"{name} is an array")
    return value


def _optional_text(request: dict[str, Any], name: str) -> str | None:
    value = request.get(name)
    if value is not None and not isinstance(value, str):
        raise MalformedMessage(f"{name} is text")
    return value


def _names(value: Any) -> tuple[str, ...]:
    if value is None:
        return ()
    if not isinstance(value, list):
        raise MalformedMessage("rooms are an array")
    return tuple([_name(item) for item in value])


def _name(value: Any) -> str:
    if type(value) is str:
        return value
    # JavaScript lets anything be a room; numbers are used, and a channel shows them as text anyway.
    if type(value) is int or (type(value) is float and value == value):  # noqa: PLR0124 - not NaN
        return json.dumps(int(value) if value == int(value) else value)
    raise MalformedMessage("a room is named by text or a number")
