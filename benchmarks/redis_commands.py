"""The commands that write numbered messages to many rooms through Redis, in bytes for the load generator."""

from __future__ import annotations

import json
import socket
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import hiredis
from servers import Target

from roomcast.chat.ports import LogEntry
from roomcast.eventlog.redis import scripts
from roomcast.eventlog.redis.codec import encode_record
from roomcast.eventlog.redis.keys import chat_keys
from roomcast.eventlog.redis.options import RedisLogOptions
from roomcast.realtime.adapters.redis.messages.protocol import encode_command
from roomcast.realtime.cluster.commands import Broadcast, Selection
from roomcast.realtime.fanout.message import EncodedEvent

EPOCH = "bench"
OPTIONS = RedisLogOptions()
#: The first number of numbered messages, as in node/wire.mjs.
FIRST = 1_000_000


def message(number: int) -> dict[str, Any]:
    """A message whose argument array is about 200 bytes, as in node/load.mjs."""
    fixed = {"id": "0197f0c0-0000-7000-8000-000000000000", "role": "USER", "content": "x" * 94, "chatId": "bench"}
    return {"n": number, **fixed}


def appends(rooms: int, first: int, each: int) -> Iterator[tuple[Any, ...]]:
    """What the relay sends: one append to the chat's log for each message; the script publishes it."""
    bounds = (OPTIONS.max_entries, OPTIONS.max_bytes, 3_600_000)
    for number in range(first, first + each):
        seq = number - FIRST + 1
        args = json.dumps(["new-msg", message(number)], separators=(",", ":")).encode()
        record = encode_record(LogEntry(seq, args), OPTIONS.max_entry_bytes)
        for room in range(rooms):
            keys = chat_keys(OPTIONS.prefix, f"room-{room}")
            yield ("EVALSHA", scripts.APPEND.sha, 3, keys.meta, keys.entries, keys.channel, EPOCH, *bounds, seq, record)


def emits(rooms: int, first: int, each: int) -> Iterator[tuple[Any, ...]]:
    """What Node's emitter sends: one publish for each message."""
    for number in range(first, first + each):
        event = EncodedEvent.from_args("new-msg", message(number))
        for room in range(rooms):
            command = encode_command("socket.io", None, Broadcast(Selection("/", (f"chat:room-{room}",)), event))
            if command is not None:
                yield ("PUBLISH", *command)


def pack(commands: Iterator[tuple[Any, ...]]) -> bytes:
    """The bytes of the commands, in Redis's protocol."""
    return b"".join(hiredis.pack_command(command) for command in commands)


class Rooms:
    """The commands of the rounds that go through Redis. The numbers of a log continue from round to round."""

    def __init__(self, target: Target, job: dict[str, Any]) -> None:
        self._next = FIRST
        self._ours = target.log
        self._rooms, self._each = job["chats"], job["each"]
        self._redis = target.more.get("redis")
        if self._redis is not None and self._ours:
            # Creates the logs, so that the clients can join.
            commands = [("SCRIPT", "LOAD", scripts.APPEND.source), *appends(self._rooms, FIRST, 1)]
            reader, answered = hiredis.Reader(), 0
            with socket.create_connection(("127.0.0.1", self._redis)) as connection:
                connection.sendall(pack(iter(commands)))
                while answered < len(commands):
                    reader.feed(connection.recv(1 << 20))
                    while (answer := reader.gets()) is not False:
                        if isinstance(answer, hiredis.ReplyError):
                            raise answer
                        answered += 1
            self._next += 1

    def round(self, stack: ExitStack) -> dict[str, Any]:
        """Further arguments of the load generator."""
        first = self._next
        self._next += self._each
        if self._redis is None:
            return {"first": first}
        file = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "commands"
        file.write_bytes(pack((appends if self._ours else emits)(self._rooms, first, self._each)))
        return {"first": first, "commands": str(file)}
