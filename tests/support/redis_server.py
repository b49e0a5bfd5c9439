"""Redis servers for tests, each on a free loopback port and in its own directory."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from support.ports import free_port
from support.programs import unavailable

START_LIMIT_S = 10.0


def find_redis_server() -> str | None:
    """Path of the program: ``REDIS_SERVER`` if set, else the one in the PATH."""
    return os.environ.get("REDIS_SERVER") or shutil.which("redis-server")


def require_redis_server() -> str:
    """The program's path; without it the test is skipped loudly, and fails under ``CI=true``."""
    reason = "redis-server is not installed: apt-get install redis-server, or set REDIS_SERVER to its path"
    return find_redis_server() or unavailable(reason)


@dataclass
class RedisServer:
    """One redis-server process that can be killed, restarted on its port, and paused.

    Attributes:
        directory: Its working directory and log.
        arguments: Beyond the defaults (no persistence).
        port: Where it listens.
        sentinel: Whether it is a sentinel; ``arguments`` then begin with its configuration file.
    """

    directory: Path
    arguments: tuple[str, ...] = ()
    port: int = field(default_factory=free_port)
    sentinel: bool = False
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it; returns once it answers."""
        self.directory.mkdir(parents=True, exist_ok=True)
        options = ("--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.directory))
        # Replication starts without waiting for more replicas.
        defaults = (
            "--save",
            "",
            "--appendonly",
            "no",
            "--enable-debug-command",
            "yes",
            "--repl-diskless-sync-delay",
            "0",
        )
        plain = () if self.sentinel else defaults
        command = [require_redis_server(), *self.arguments, *options, *plain]
        if self.sentinel:
            command.append("--sentinel")
        with (self.directory / "redis.log").open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log)
        deadline = time.monotonic() + START_LIMIT_S
        while True:
            if self.process.poll() is not None:
                raise RuntimeError((self.directory / "redis.log").read_text()[-2_000:])
            with contextlib.suppress(OSError):
                if self.command("PING") == b"+PONG":
                    return
            if time.monotonic() > deadline:
                raise RuntimeError("redis-server does not answer")
            time.sleep(0.01)  # there is no event for a port of another process

    def kill(self) -> None:
        """SIGKILL; returns when it has ended."""
        if self.process is not None:
            self.process.send_signal(signal.SIGCONT)
            self.process.kill()
            self.process.wait()
            self.process = None

    def restart(self) -> None:
        """Kill it and start it again on the same port; it is empty then."""
        self.kill()
        self.start()

    def pause(self) -> None:
        """SIGSTOP: connections stay open and nothing is answered."""
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT."""
        assert self.process is not None
        self.process.send_signal(signal.SIGCONT)

    def command(self, *words: str | bytes) -> bytes:
        """Send one command on a new connection and return the raw reply without its last line end."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=5) as connection:
            encoded = [word.encode() if isinstance(word, str) else word for word in words]
            head = b"*%d\r\n" % len(encoded)
            connection.sendall(head + b"".join(b"$%d\r\n%b\r\n" % (len(word), word) for word in encoded))
            return _read_reply(connection).rstrip(b"\r\n")


def _read_reply(connection: socket.socket) -> bytes:
    """One simple, bulk or flat array reply, raw."""
    with connection.makefile("rb") as reader:
        return _one_reply(reader)


def _one_reply(reader: BinaryIO) -> bytes:
    line = reader.readline()
    if line[:1] == b"$" and line[1:2] != b"-":
        return line + reader.read(int(line[1:]) + 2)
    if line[:1] == b"*":
        return line + b"".join(_one_reply(reader) for _ in range(int(line[1:])))
    return line


@contextlib.contextmanager
def running(server: RedisServer) -> Iterator[RedisServer]:
    """Start the server, and kill it at the end."""
    server.start()
    try:
        yield server
    finally:
        server.kill()


def environment(server: RedisServer, **more: str) -> dict[str, str]:
    """The environment of a `roomcast` process that uses this server, without AI answers."""
    return {"REDIS_HOST": "127.0.0.1", "REDIS_PORT": str(server.port), "ROOMCAST_RESPONDER": "none", **more}
