"""Channels and messages of Node's adapter and emitter, byte for byte. Sans-I/O.

A broadcast is msgpack ``[uid, packet, opts]`` on the channel of its namespace, or on the channel of its room if it is
for exactly one room. Requests and responses are JSON, or msgpack if they hold a packet; JSON begins with ``{``.

Layer: realtime. Source: @socket.io/redis-adapter 8.3, @socket.io/redis-emitter 5.1.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum, unique
from typing import Any, Final, TypeAlias

from roomcast.realtime.adapters.redis.errors import MalformedMessage
from roomcast.realtime.adapters.redis.messages.packing import pack, unpack
from roomcast.realtime.cluster.commands import (
    Broadcast,
    BroadcastWithAck,
    Command,
    Disconnect,
    FetchSockets,
    Join,
    Leave,
    Query,
    Selection,
    ServerEvent,
)
from roomcast.realtime.fanout.message import EncodedEvent
from roomcast.wire.errors import EncodeError, RemoteError
from roomcast.wire.limits import DEFAULT_LIMITS
from roomcast.wire.socketio import DEFAULT_NAMESPACE, RESERVED_EVENTS, PacketType
from roomcast.wire.strict_json import reader_for, write

#: The uid in broadcasts from an emitter.
EMITTER_UID: Final = "emitter"

GLOB: Final = re.compile(r"([*?\[\]\\])")
_JSON_START: Final = b"{"
_PACKET_TYPES: Final = frozenset({PacketType.EVENT, PacketType.BINARY_EVENT})
_BROADCAST_PARTS: Final = 3


@unique
class RequestType(IntEnum):
    """Types of requests and responses, with their values on the wire."""

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
class NamespaceChannels:
    """The channels of one namespace.

    Attributes:
        namespace: Name of the namespace.
        broadcasts: Channel for broadcasts to several rooms or to all sockets; the channel of a single room appends
            ``<room>#``.
        pattern: Pattern that matches ``broadcasts`` and the channels of the rooms.
        requests: Channel for requests to every server.
        responses: Channel for responses that every server receives.
        own_responses: Channel for responses that only this server receives.
    """

    namespace: str
    broadcasts: str
    pattern: str
    requests: str
    responses: str
    own_responses: str

    @classmethod
    def of(cls, key: str, namespace: str, uid: str) -> NamespaceChannels:
        """The channels of a namespace for the server with this uid."""
        broadcasts = f"{key}#{namespace}#"
        responses = f"{key}-response#{namespace}#"
        # Clients may choose namespace names: escape the characters that are special in a pattern.
        pattern = GLOB.sub(r"\\\1", broadcasts) + "*"
        return cls(namespace, broadcasts, pattern, f"{key}-request#{namespace}#", responses, f"{responses}{uid}#")

    def subscriptions(self) -> Mapping[str, Collection[str]]:
        """See `connection_pair.Channels`."""
        return {"PSUBSCRIBE": (self.pattern,), "SUBSCRIBE": (self.requests, self.responses, self.own_responses)}


# -- out --------------------------------------------------------------------------------------------------------------


def encode_command(key: str, uid: str | None, command: Command) -> tuple[str, bytes] | None:
    """The channel and the bytes of a command; None if the command selects no socket.

    Args:
        key: Prefix of every channel name.
        uid: Uid of the sending server; None: the sender is an emitter.
        command: The command.

    Raises:
        EncodeError: an argument cannot be encoded.
    """
    if isinstance(command, ServerEvent):
        event = {"uid": EMITTER_UID if uid is None else uid, "type": RequestType.SERVER_SIDE_EMIT.value}
        return f"{key}-request#{command.namespace}#", encode_json(event | {"data": list(command.args)})
    selection = command.to if isinstance(command, Broadcast) else command.sockets
    if selection.rooms is not None and not selection.rooms:
        return None  # on the wire an empty list of rooms means all sockets
    rooms = distinct(selection.rooms or ())
    skip = distinct(selection.skip)
    if isinstance(command, Broadcast):
        channel = f"{key}#{selection.namespace}#"
        if len(rooms) == 1:
            channel += f"{rooms[0]}#"
        return channel, _encode_broadcast(uid, command, rooms, skip)
    request: dict[str, Any] = {} if uid is None else {"uid": uid}
    opts = {"rooms": rooms, "except": skip}
    match command:
        case Join(_, joined):
            request |= {"type": RequestType.JOIN.value, "opts": opts, "rooms": distinct(joined)}
        case Leave(_, left):
            request |= {"type": RequestType.LEAVE.value, "opts": opts, "rooms": distinct(left)}
        case Disconnect(_, close):
            request |= {"type": RequestType.DISCONNECT.value, "opts": opts, "close": close}
    return f"{key}-request#{selection.namespace}#", encode_json(request)


def encode_query(key: str, uid: str, request_id: str, query: Query) -> tuple[str, bytes] | None:
    """The channel and the bytes of a query; None if it selects no socket.

    Raises:
        EncodeError: an argument cannot be encoded.
    """
    channel = f"{key}-request#{query.namespace}#"
    request: dict[str, Any] = {"uid": uid, "requestId": request_id}
    if isinstance(query, ServerEvent):
        event = {"type": RequestType.SERVER_SIDE_EMIT.value, "data": list(query.args)}
        return channel, encode_json(request | event)
    selection = query.to if isinstance(query, BroadcastWithAck) else query.sockets
    if selection.rooms is not None and not selection.rooms:
        return None  # as in `encode_command`
    opts: dict[str, Any] = {"rooms": distinct(selection.rooms or ()), "except": distinct(selection.skip)}
    if isinstance(query, FetchSockets):
        return channel, encode_json(request | {"type": RequestType.FETCH.value, "opts": opts})
    packet = {"type": PacketType.EVENT.value, "data": list(query.args), "nsp": query.namespace}
    opts["flags"] = {"timeout": int(query.timeout_s * 1_000)}
    return channel, pack(request | {"type": RequestType.BROADCAST.value, "packet": packet, "opts": opts})


def _encode_broadcast(uid: str | None, command: Broadcast, rooms: list[str], skip: list[str]) -> bytes:
    try:
        data = list(command.message.args)
    except ValueError as error:
        raise EncodeError(f"the event is not a JSON array: {error}") from error
    packet = {"type": PacketType.EVENT.value, "data": data, "nsp": command.to.namespace}
    flags = {"volatile": True} if command.volatile else {}
    # Node's emitter writes the keys in a different order from Node's adapter.
    opts = (
        {"rooms": rooms, "flags": flags, "except": skip}
        if uid is None
        else {"rooms": rooms, "except": skip, "flags": flags}
    )
    return pack([EMITTER_UID if uid is None else uid, packet, opts])


def encode_json(value: Mapping[str, Any]) -> bytes:
    """Encode as ``JSON.stringify`` does.

    Raises:
        EncodeError: a value is binary or not JSON.
    """
    text, attachments = write(value)
    if attachments:
        raise EncodeError("requests and responses cannot hold binary data")
    return text.encode()


def distinct(names: Sequence[str]) -> list[str]:
    """The names in their order, each once."""
    return list(dict.fromkeys(names))


# -- in ---------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class SocketsQuery:
    """A request for the ids of the sockets in ``rooms``, or of all sockets if ``rooms`` is None."""

    request_id: str
    uid: str | None
    rooms: tuple[str, ...] | None


@dataclass(frozen=True, slots=True)
class RoomsQuery:
    """A request for the names of all rooms."""

    request_id: str
    uid: str | None


@dataclass(frozen=True, slots=True)
class FetchQuery:
    """A request for descriptions of the selected sockets."""

    request_id: str
    uid: str | None
    selection: Selection


@dataclass(frozen=True, slots=True)
class ServerSideEmit:
    """An event for the other servers, not for clients.

    Attributes:
        request_id: Repeated in the response; None: no response is expected.
        uid: Uid of the sending server.
        args: Event name and arguments.
    """

    request_id: str | None
    uid: str | None
    args: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class AcknowledgedBroadcast:
    """An event that every recipient acknowledges.

    Attributes:
        request_id: Repeated in the responses.
        uid: Uid of the sending server.
        to: The recipients.
        args: Event name and arguments.
        timeout_s: How long the sender waits for acknowledgements.
    """

    request_id: str
    uid: str | None
    to: Selection
    args: tuple[Any, ...]
    timeout_s: float


@dataclass(frozen=True, slots=True)
class RemoteCommand:
    """A join, leave or disconnect; the sender is an emitter if ``uid`` is None."""

    uid: str | None
    command: Join | Leave | Disconnect


RemoteQuery: TypeAlias = SocketsQuery | RoomsQuery | FetchQuery | ServerSideEmit | AcknowledgedBroadcast
Request: TypeAlias = RemoteCommand | RemoteQuery


def server_pattern(key: str, namespace: str) -> str:
    """A pattern for `servers_of`: the channels of requests and responses of a namespace, and some others."""
    return GLOB.sub(r"\\\1", f"{key}-re") + "*" + GLOB.sub(r"\\\1", f"#{namespace}#") + "*"


def servers_of(key: str, namespace: str, channels: Collection[str]) -> frozenset[str]:
    """Uids of the servers that serve a namespace.

    Each server, and nothing else, subscribes to its own channel of responses. Subscribers of the other channels, such
    as monitors, are no servers.

    Args:
        key: Prefix of every channel name.
        namespace: The namespace.
        channels: The subscribed channels that match `server_pattern`.
    """
    head = f"{key}-response#{namespace}#"
    uids = {name[len(head) : -1] for name in channels if name.startswith(head) and name.endswith("#")}
    # The channels of the namespace "/#abcdef" begin like those of a server abcdef of "/", but one is for requests.
    other = f"{key}-request#{namespace}#"
    return frozenset(uid for uid in uids if uid and "#" not in uid and f"{other}{uid}#" not in channels)


def room_of(channels: NamespaceChannels, channel: str) -> str | None:
    """The room in the name of a broadcast's channel; None: the name holds no room, the message names the recipients."""
    return channel[len(channels.broadcasts) : -1] or None


def decode_broadcast(namespace: str, uid: str, data: bytes) -> Broadcast | None:
    """Decode a broadcast from another server or an emitter.

    Args:
        namespace: The namespace of the channel.
        uid: Uid of this server.
        data: The message.

    Returns:
        The broadcast; None if this server sent it, or if it is for another namespace.

    Raises:
        MalformedMessage: the message is not a broadcast.
    """
    message = unpack(data)
    if not isinstance(message, list) or len(message) != _BROADCAST_PARTS:
        raise MalformedMessage("a broadcast must be an array of uid, packet and options")
    sender, packet, opts = message
    if sender == uid:
        return None
    if not isinstance(packet, dict) or not isinstance(opts, dict):
        raise MalformedMessage("the packet and the options of a broadcast must be objects")
    return read_broadcast(namespace, packet, opts) if packet.get("nsp", DEFAULT_NAMESPACE) == namespace else None


def read_broadcast(namespace: str, packet: dict[str, Any], opts: dict[str, Any]) -> Broadcast:
    """A broadcast from its packet and options.

    Raises:
        MalformedMessage: they are not those of a broadcast.
    """
    flags = opts.get("flags")
    volatile = isinstance(flags, dict) and flags.get("volatile") is True
    try:
        event = EncodedEvent.from_args(*read_event(packet))
    except EncodeError as error:
        raise MalformedMessage("the event cannot be encoded") from error
    return Broadcast(_selection(namespace, opts), event, volatile)


def decode_request(namespace: str, data: bytes) -> Request | None:
    """Decode a request from another server, an emitter, or this server.

    Returns:
        The request; None if its type is unknown, for example because a newer server sent it.

    Raises:
        MalformedMessage: the message is not a request.
    """
    request = read_object(data)
    kind = request.get("type")
    kind = _REQUEST_TYPES.get(kind) if type(kind) is int else None
    uid = optional_text(request, "uid")
    request_id = optional_text(request, "requestId")
    match kind:
        case RequestType.JOIN | RequestType.LEAVE | RequestType.DISCONNECT:
            return RemoteCommand(uid, read_command(namespace, kind, request))
        case RequestType.SERVER_SIDE_EMIT:
            return ServerSideEmit(request_id, uid, tuple(read_list(request, "data")))
        case None | RequestType.CLIENT_COUNT | RequestType.ACK:
            return None
    if request_id is None:
        raise MalformedMessage("a query without requestId")
    return read_query(namespace, kind, request, uid, request_id)


def read_query(
    namespace: str, kind: RequestType, request: dict[str, Any], uid: str | None, request_id: str
) -> SocketsQuery | RoomsQuery | FetchQuery | AcknowledgedBroadcast:
    """A query from its fields.

    Raises:
        MalformedMessage: they are not those of such a query.
    """
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
        raise MalformedMessage("an acknowledged broadcast without a packet")
    args = tuple(read_event(packet))
    return AcknowledgedBroadcast(request_id, uid, _selection(namespace, opts), args, timeout_ms / 1_000)


def read_command(namespace: str, kind: RequestType, request: dict[str, Any]) -> Join | Leave | Disconnect:
    """A command from its fields.

    Raises:
        MalformedMessage: they are not those of such a command.
    """
    selection = _selection(namespace, _opts(request))
    if kind is RequestType.DISCONNECT:
        return Disconnect(selection, close=request.get("close") is True)
    rooms = _names(request.get("rooms"))
    return Join(selection, rooms) if kind is RequestType.JOIN else Leave(selection, rooms)


def read_object(data: bytes) -> dict[str, Any]:
    """Decode a request or a response.

    Raises:
        MalformedMessage: it is neither JSON nor msgpack, or not an object.
    """
    if data[:1] == _JSON_START:
        try:
            value = reader_for(DEFAULT_LIMITS).read(data.decode())
        except (RemoteError, UnicodeDecodeError) as error:
            raise MalformedMessage("not JSON") from error
    else:
        value = unpack(data)
    if not isinstance(value, dict):
        raise MalformedMessage("a request must be an object")
    return value


def read_event(packet: dict[str, Any]) -> list[Any]:
    """Event name and arguments of a packet.

    Raises:
        MalformedMessage: it is no event that servers emit.
    """
    data = packet.get("data")
    kind = packet.get("type")
    if type(kind) is not int or kind not in _PACKET_TYPES or not isinstance(data, list) or not data:
        raise MalformedMessage("a broadcast packet must be an event with a name")
    if type(data[0]) not in (str, int):
        raise MalformedMessage("an event name must be text or a number")
    if data[0] in RESERVED_EVENTS:
        # Servers and emitters refuse to emit these names; clients use them for events of their own connection.
        raise MalformedMessage("a reserved event name")
    return data


def _selection(namespace: str, opts: dict[str, Any]) -> Selection:
    return Selection(namespace, _names(opts.get("rooms")) or None, _names(opts.get("except")))


def _opts(request: dict[str, Any]) -> dict[str, Any]:
    opts = request.get("opts")
    if not isinstance(opts, dict):
        raise MalformedMessage("the options must be an object")
    return opts


def read_list(request: dict[str, Any], name: str) -> list[Any]:
    """A field that must be an array.

    Raises:
        MalformedMessage: it is not.
    """
    value = request.get(name)
    if not isinstance(value, list):
        raise MalformedMessage(f"{name} must be an array")
    return value


def optional_text(request: dict[str, Any], name: str) -> str | None:
    """A field that must be text if it is there.

    Raises:
        MalformedMessage: it is not.
    """
    value = request.get(name)
    if value is not None and not isinstance(value, str):
        raise MalformedMessage(f"{name} must be text")
    return value


def _names(value: Any) -> tuple[str, ...]:
    if value is None:
        return ()
    if not isinstance(value, list):
        raise MalformedMessage("rooms must be an array")
    return tuple([_name(item) for item in value])


def _name(value: Any) -> str:
    if type(value) is str:
        return value
    # In JavaScript any value can be a room name. Numbers occur in practice; in channel names they are text.
    if type(value) is int or (type(value) is float and value == value):  # noqa: PLR0124 - not NaN
        return json.dumps(int(value) if value == int(value) else value)
    raise MalformedMessage("a room name must be text or a number")
