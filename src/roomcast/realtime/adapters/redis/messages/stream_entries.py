"""Entries of the stream of Node's streams adapter, and sessions beside it. Sans-I/O.

An entry has the fields ``uid``, ``nsp``, ``type`` (a decimal number) and ``data``: JSON, or base64 of msgpack if it
holds binary. A session is base64 of msgpack.

Layer: realtime. Source: @socket.io/redis-streams-adapter 0.3.1.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from typing import Any

from roomcast.realtime.adapters.redis.errors import MalformedMessage
from roomcast.realtime.adapters.redis.messages.cluster_messages import ClusterMessage
from roomcast.realtime.adapters.redis.messages.packing import pack, unpack
from roomcast.realtime.adapters.redis.messages.protocol import read_object
from roomcast.realtime.cluster.commands import Offset
from roomcast.wire.strict_json import write


def encode_entry(message: ClusterMessage) -> tuple[str | bytes, ...]:
    """Fields and values of the entry for a message.

    Raises:
        EncodeError: a value is neither JSON nor binary.
    """
    text, attachments = write(message.data)
    data = base64.b64encode(pack(message.data)) if attachments else text.encode()
    return ("uid", message.uid, "nsp", message.namespace, "type", str(message.type.value), "data", data)


def decode_entry(fields: Sequence[bytes]) -> ClusterMessage | None:
    """The message of an entry; None if its type is unknown.

    Raises:
        MalformedMessage: it is not a message.
    """
    values = dict(zip(fields[::2], fields[1::2], strict=False))
    try:
        kind = int(values[b"type"])
        uid, namespace = values[b"uid"].decode(), values[b"nsp"].decode(errors="surrogatepass")
        data = values.get(b"data", b"{}")
        if not data.startswith(b"{"):
            data = base64.b64decode(data, validate=True)
    except (KeyError, ValueError, binascii.Error) as error:
        raise MalformedMessage("an entry needs a type, uid, nsp and data") from error
    return ClusterMessage.of(kind, read_object(data), uid, namespace)


def encode_session(session: dict[str, Any]) -> bytes:
    """A session as it is stored.

    Raises:
        EncodeError: a value is neither JSON nor binary.
    """
    return base64.b64encode(pack(session))


def decode_session(stored: bytes) -> dict[str, Any]:
    """A stored session.

    Raises:
        MalformedMessage: it is not one.
    """
    try:
        session = unpack(base64.b64decode(stored, validate=True))
    except (ValueError, binascii.Error) as error:
        raise MalformedMessage("a session must be base64") from error
    if not isinstance(session, dict):
        raise MalformedMessage("a session must be an object")
    return session


def parse_id(entry_id: bytes) -> Offset:
    """The id of an entry as an offset."""
    milliseconds, _, count = entry_id.partition(b"-")
    return int(milliseconds), int(count)


def format_id(offset: Offset) -> str:
    """An offset as the id of an entry."""
    return f"{offset[0]}-{offset[1]}"
