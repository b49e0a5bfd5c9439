"""Messages of Node's ``ClusterAdapter``, which its sharded and its streams adapter exchange. Sans-I/O.

A message is an object ``{type, data, uid, nsp}``: JSON, or msgpack if its data may hold, and holds, binary. The fields
of ``data`` are those of the classic protocol's requests (`protocol`).

Layer: realtime. Source: socket.io-adapter 2.5, ``lib/cluster-adapter.ts``.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum, unique
from typing import Any, Final, TypeAlias

from roomcast.realtime.adapters.redis.errors import MalformedMessage
from roomcast.realtime.adapters.redis.messages.packing import pack
from roomcast.realtime.adapters.redis.messages.protocol import (
    GLOB,
    AcknowledgedBroadcast,
    FetchQuery,
    RemoteCommand,
    RequestType,
    RoomsQuery,
    ServerSideEmit,
    SocketsQuery,
    distinct,
    optional_text,
    read_broadcast,
    read_command,
    read_list,
    read_object,
    read_query,
)
from roomcast.realtime.adapters.redis.messages.responses import GONE, Response
from roomcast.realtime.cluster.commands import (
    Broadcast,
    BroadcastWithAck,
    Command,
    Disconnect,
    FetchSockets,
    Join,
    Leave,
    Offset,
    Query,
    Selection,
    ServerEvent,
)
from roomcast.wire.errors import EncodeError
from roomcast.wire.socketio import PacketType
from roomcast.wire.strict_json import write

_UID_BYTES: Final = 8


@unique
class MessageType(IntEnum):
    """Types of messages, with their values on the wire."""

    INITIAL_HEARTBEAT = 1
    HEARTBEAT = 2
    BROADCAST = 3
    SOCKETS_JOIN = 4
    SOCKETS_LEAVE = 5
    DISCONNECT_SOCKETS = 6
    FETCH_SOCKETS = 7
    FETCH_SOCKETS_RESPONSE = 8
    SERVER_SIDE_EMIT = 9
    SERVER_SIDE_EMIT_RESPONSE = 10
    BROADCAST_CLIENT_COUNT = 11
    BROADCAST_ACK = 12
    ADAPTER_CLOSE = 13
    # Not of Node, whose servers ignore them: the client of a session has returned to another server, and the answer
    # of the server that has its former connection.
    SESSION_CLAIM = 100
    SESSION_HELD = 101
    # A client has disconnected before it acknowledged.
    BROADCAST_GONE = 102


_TYPES: Final = {member.value: member for member in MessageType}
_COMMANDS: Final = {
    MessageType.SOCKETS_JOIN: RequestType.JOIN,
    MessageType.SOCKETS_LEAVE: RequestType.LEAVE,
    MessageType.DISCONNECT_SOCKETS: RequestType.DISCONNECT,
}
# Responses, with their types in the classic protocol.
_RESPONSES: Final = {
    MessageType.FETCH_SOCKETS_RESPONSE: RequestType.FETCH.value,
    MessageType.SERVER_SIDE_EMIT_RESPONSE: RequestType.SERVER_SIDE_EMIT.value,
    MessageType.BROADCAST_CLIENT_COUNT: RequestType.CLIENT_COUNT.value,
    MessageType.BROADCAST_ACK: RequestType.ACK.value,
    MessageType.BROADCAST_GONE: GONE,
}
_UID: Final = re.compile(f"[0-9a-f]{{{2 * _UID_BYTES}}}")

#: What another server asks for, and expects answers to.
ClusterQuery: TypeAlias = SocketsQuery | RoomsQuery | FetchQuery | ServerSideEmit | AcknowledgedBroadcast


def new_uid() -> str:
    """The uid of a server: 16 hexadecimal digits, as in Node."""
    return secrets.token_hex(_UID_BYTES)


@dataclass(frozen=True, slots=True)
class ClusterMessage:
    """A message.

    Attributes:
        type: Its type.
        data: Its content; not validated in a message that was received.
        uid: Uid of its server; ``emitter`` for processes without clients.
        namespace: Its namespace.
    """

    type: MessageType
    data: Mapping[str, Any]
    uid: str
    namespace: str

    def encode(self) -> bytes:
        """The message as JSON, or as msgpack if it holds binary.

        Raises:
            EncodeError: a value is neither JSON nor binary.
        """
        text, attachments = write(self.fields)
        return pack(self.fields) if attachments else text.encode()

    @property
    def fields(self) -> dict[str, Any]:
        """The message as an object."""
        return {"type": self.type.value, "data": self.data, "uid": self.uid, "nsp": self.namespace}

    @classmethod
    def decode(cls, data: bytes) -> ClusterMessage | None:
        """Decode a message; None if its type is unknown, for example because a newer server sent it.

        Raises:
            MalformedMessage: it is not a message.
        """
        message = read_object(data)
        return cls.of(message.get("type"), message.get("data"), message.get("uid"), message.get("nsp"))

    @classmethod
    def of(cls, kind: Any, data: Any, uid: Any, namespace: Any) -> ClusterMessage | None:
        """From decoded fields; see `decode`."""
        known = _TYPES.get(kind) if type(kind) is int else None
        if not isinstance(uid, str) or not isinstance(namespace, str):
            raise MalformedMessage("uid and nsp must be text")
        if data is not None and not isinstance(data, dict):
            raise MalformedMessage("the data must be an object")
        return None if known is None else cls(known, data or {}, uid, namespace)

    @property
    def is_response(self) -> bool:
        """Whether it answers a query."""
        return self.type in _RESPONSES

    def response(self) -> Response | None:
        """The same response in the classic protocol, with the name of its server; None if it names no query.

        Raises:
            MalformedMessage: the id of the query is not text.
        """
        request_id = self.request_id
        fields = {**self.data, "type": _RESPONSES[self.type]}
        if self.type is MessageType.SERVER_SIDE_EMIT_RESPONSE:
            fields["data"] = self.data.get("packet")
        return None if request_id is None else Response(request_id, self.uid, fields)

    @property
    def request_id(self) -> str | None:
        """Id of the query that it is, or answers.

        Raises:
            MalformedMessage: it is not text.
        """
        return optional_text(dict(self.data), "requestId")

    @property
    def after(self) -> Offset | None:
        """See `query_message`.

        Raises:
            MalformedMessage: it is not an offset.
        """
        after = self.data.get("after")
        if after is None:
            return None
        if not isinstance(after, list) or [type(part) for part in after] != [int, int]:
            raise MalformedMessage("after must be an offset")
        return after[0], after[1]

    def content(self) -> Broadcast | RemoteCommand | ClusterQuery | None:
        """What it asks for; None if it is a response or a heartbeat.

        Raises:
            MalformedMessage: its fields are not those of its type.
        """
        data = dict(self.data)
        kind = self.type
        request_id = self.request_id
        if kind in _COMMANDS:
            return RemoteCommand(self.uid, read_command(self.namespace, _COMMANDS[kind], data))
        if kind is MessageType.SERVER_SIDE_EMIT:
            return ServerSideEmit(request_id, self.uid, tuple(read_list(data, "packet")))
        if kind is MessageType.BROADCAST and request_id is None:
            packet, opts = data.get("packet"), data.get("opts")
            if not isinstance(packet, dict) or not isinstance(opts, dict):
                raise MalformedMessage("the packet and the options of a broadcast must be objects")
            return read_broadcast(self.namespace, packet, opts)
        if kind is MessageType.BROADCAST or kind is MessageType.FETCH_SOCKETS:
            if request_id is None:
                raise MalformedMessage("a query without requestId")
            classic = RequestType.BROADCAST if kind is MessageType.BROADCAST else RequestType.FETCH
            return read_query(self.namespace, classic, data, self.uid, request_id)
        return None


def message_of(uid: str, command: Command) -> ClusterMessage | None:
    """The message for a command of the server with this uid; None if the command selects no socket.

    Raises:
        EncodeError: the event is not a JSON array.
    """
    if isinstance(command, ServerEvent):
        return ClusterMessage(MessageType.SERVER_SIDE_EMIT, {"packet": list(command.args)}, uid, command.namespace)
    selection = command.to if isinstance(command, Broadcast) else command.sockets
    if selection.rooms is not None and not selection.rooms:
        return None  # on the wire an empty list of rooms means all sockets
    opts = _opts(selection)
    namespace = selection.namespace
    match command:
        case Broadcast():
            return ClusterMessage(MessageType.BROADCAST, _broadcast(command, opts), uid, namespace)
        case Join(_, rooms):
            data = {"opts": opts, "rooms": distinct(rooms)}
            return ClusterMessage(MessageType.SOCKETS_JOIN, data, uid, namespace)
        case Leave(_, rooms):
            data = {"opts": opts, "rooms": distinct(rooms)}
            return ClusterMessage(MessageType.SOCKETS_LEAVE, data, uid, namespace)
        case Disconnect(_, close):
            return ClusterMessage(MessageType.DISCONNECT_SOCKETS, {"opts": opts, "close": close}, uid, namespace)


def query_message(uid: str, request_id: str, query: Query, after: Offset | None = None) -> ClusterMessage | None:
    """The message for a query of the server with this uid; None if it selects no socket.

    Args:
        uid: The uid.
        request_id: Id of the query.
        query: The query.
        after: Offset of the entry of a stream that servers read before they answer. Node ignores it.
    """
    if isinstance(query, ServerEvent):
        data: dict[str, Any] = {"requestId": request_id, "packet": list(query.args)}
        return ClusterMessage(MessageType.SERVER_SIDE_EMIT, data, uid, query.namespace)
    selection = query.to if isinstance(query, BroadcastWithAck) else query.sockets
    if selection.rooms is not None and not selection.rooms:
        return None  # as in `message_of`
    opts = _opts(selection)
    extra = {} if after is None else {"after": list(after)}
    if isinstance(query, FetchSockets):
        data = {"opts": opts, "requestId": request_id, **extra}
        return ClusterMessage(MessageType.FETCH_SOCKETS, data, uid, query.namespace)
    opts["flags"] = {"timeout": int(query.timeout_s * 1_000)}
    packet = {"type": PacketType.EVENT.value, "data": list(query.args)}
    data = {"packet": packet, "requestId": request_id, "opts": opts, **extra}
    return ClusterMessage(MessageType.BROADCAST, data, uid, query.namespace)


def shared_channel(key: str, namespace: str) -> str:
    """The channel of a namespace."""
    return f"{key}#{namespace}#"


def own_channel(key: str, namespace: str, uid: str) -> str:
    """The channel for the answers to one server."""
    return f"{shared_channel(key, namespace)}{uid}#"


def own_channels(key: str, namespace: str) -> str:
    """A pattern for the channels of `own_channel`, and rooms with such names."""
    return GLOB.sub(r"\\\1", shared_channel(key, namespace)) + "?" * 2 * _UID_BYTES + "#"


def servers_of(key: str, namespace: str, channels: Collection[str]) -> frozenset[str]:
    """Uids of the servers with these channels, and rooms with such names."""
    head = shared_channel(key, namespace)
    names = (name[len(head) : -1] for name in channels if name.startswith(head))
    return frozenset(filter(_UID.fullmatch, names))


def _opts(selection: Selection) -> dict[str, Any]:
    return {"rooms": distinct(selection.rooms or ()), "except": distinct(selection.skip), "flags": {}}


def _broadcast(command: Broadcast, opts: dict[str, Any]) -> dict[str, Any]:
    try:
        args: Sequence[Any] = list(command.message.args)
    except ValueError as error:
        raise EncodeError(f"the event is not a JSON array: {error}") from error
    if command.volatile:
        opts["flags"] = {"volatile": True}
    return {"packet": {"type": PacketType.EVENT.value, "data": args}, "opts": opts}
