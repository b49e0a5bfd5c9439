"""Writes prepared commands to Redis for benchmarks/redis_fanout.py, at a given rate or as fast as Redis accepts them.

For each round it reads one line of JSON, ``{"kind", "rooms", "each", "first", "message", "per_s"}``, prepares the
commands and prints ``loaded``. After an empty line it writes them, waits for all answers, and prints the seconds taken.
"""

from __future__ import annotations

import hashlib
import json
import socket
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import hiredis

from roomcast.chat.ports import LogEntry
from roomcast.eventlog.redis import scripts
from roomcast.eventlog.redis.codec import encode_record
from roomcast.eventlog.redis.keys import chat_keys
from roomcast.eventlog.redis.options import RedisLogOptions
from roomcast.realtime.adapters.redis.protocol import encode_command
from roomcast.realtime.core.cluster import Broadcast, Selection
from roomcast.realtime.fanout.message import EncodedEvent

EPOCH = "bench"
OPTIONS = RedisLogOptions()
#: Interval between writes at a given rate.
SLICE_S = 0.005


def appends(job: dict[str, Any]) -> Iterator[tuple[Any, ...]]:
    """What the relay sends: one append to the chat's log for each message; the script publishes it."""
    args = json.dumps(["new-msg", job["message"]], separators=(",", ":")).encode()
    bounds = (OPTIONS.max_entries, OPTIONS.max_bytes, 3_600_000)
    for number in range(job["each"]):
        seq = job["first"] + number
        record = encode_record(LogEntry(seq, args), OPTIONS.max_entry_bytes)
        for room in range(job["rooms"]):
            keys = chat_keys(OPTIONS.prefix, f"room-{room}")
            yield ("EVALSHA", scripts.APPEND.sha, 3, keys.meta, keys.entries, keys.channel, EPOCH, *bounds, seq, record)


def emits(job: dict[str, Any]) -> Iterator[tuple[Any, ...]]:
    """What Node's emitter sends: one publish for each message."""
    event = EncodedEvent.from_args("new-msg", job["message"])
    encoded = [
        encode_command("socket.io", None, Broadcast(Selection("/", (f"chat:room-{room}",)), event))
        for room in range(job["rooms"])
    ]
    for _ in range(job["each"]):
        for command in encoded:
            if command is not None:
                yield ("PUBLISH", *command)


def write(redis: socket.socket, commands: list[bytes], per_s: float) -> None:
    """Write at ``per_s`` commands a second; 0: all at once."""
    if not per_s:
        redis.sendall(b"".join(commands))
        return
    began = time.perf_counter()
    sent = 0
    while sent < len(commands):
        due = min(int((time.perf_counter() - began + SLICE_S) * per_s), len(commands))
        redis.sendall(b"".join(commands[sent:due]))
        sent = due
        time.sleep(max(0.0, began + sent / per_s - time.perf_counter()))


def main(port: int) -> None:
    """Run rounds until the input ends."""
    redis = socket.create_connection(("127.0.0.1", port))
    redis.sendall(hiredis.pack_command(("SCRIPT", "LOAD", scripts.APPEND.source)))  # type: ignore[arg-type]  # the stub is too narrow
    redis.recv(1_024)
    if hashlib.sha1(scripts.APPEND.source.encode(), usedforsecurity=False).hexdigest() != scripts.APPEND.sha:
        raise RuntimeError("the APPEND script's sha is not the SHA-1 of its source")
    for line in sys.stdin:
        job = json.loads(line)
        commands = list((appends if job["kind"] == "log" else emits)(job))
        packed = [hiredis.pack_command(command) for command in commands]
        print("loaded", flush=True)
        sys.stdin.readline()
        started = time.perf_counter()
        writer = threading.Thread(target=write, args=(redis, packed, job["per_s"]))
        writer.start()
        reader = hiredis.Reader()
        answered = 0
        while answered < len(commands):
            reader.feed(redis.recv(262_144))
            while (answer := reader.gets()) is not False:
                if isinstance(answer, hiredis.ReplyError) or (isinstance(answer, list) and answer[0] != 1):
                    raise RuntimeError(f"Redis: {answer}")
                answered += 1
        writer.join()
        print(time.perf_counter() - started, flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]))
