"""PostgreSQL servers for tests, each on a free loopback port with a data directory of its own.

PostgreSQL refuses to run as root, so tests that run as root start it as ``postgres`` (or ``nobody``).
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import psycopg

from support.ports import free_port
from support.programs import unavailable

START_LIMIT_S = 20.0
#: Turns off what no test needs and slows down the start.
_SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "max_connections": "60",
    "shared_buffers": "32MB",
    "logging_collector": "off",
}
_numbers = itertools.count(1)


def find_postgres() -> Path | None:
    """The directory of the server's programs: from ``pg_config``, else the newest version that Debian installed."""
    found = []
    if config := shutil.which("pg_config"):
        found.append(Path(subprocess.check_output([config, "--bindir"], text=True).strip()))
    if program := shutil.which("postgres"):
        found.append(Path(program).resolve().parent)
    found += sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: path.parent.name, reverse=True)
    return next((path for path in found if (path / "initdb").exists() and (path / "postgres").exists()), None)


def require_postgres() -> Path:
    """The directory of the server's programs. Without it the test is skipped, or fails under ``CI=true``."""
    reason = "no PostgreSQL server found: apt-get install postgresql, or put pg_config on the PATH"
    return find_postgres() or unavailable(reason)


@functools.cache
def server_identity() -> dict[str, Any]:
    """Arguments for `subprocess` that select the server's user; empty unless the tests run as root."""
    if os.geteuid() != 0:
        return {}
    names = {entry.pw_name: entry for entry in pwd.getpwall()}
    entry = names.get("postgres") or names["nobody"]
    return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}


@dataclass
class PostgresServer:
    """One server, which can be killed, restarted on the same port, and paused.

    Attributes:
        directory: Its data and its Unix socket.
        durable: Whether a commit waits for the disk (``fsync``). A killed server loses nothing either way, since the
            kernel keeps its writes.
        port: Where it listens.
    """

    directory: Path
    durable: bool = False
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    def create(self) -> None:
        """Create the data directory."""
        programs = require_postgres()
        self.directory.chmod(0o700)
        if identity := server_identity():
            os.chown(self.directory, identity["user"], identity["group"])
        command = [programs / "initdb", "-D", self.directory, "-U", "roomcast", "-A", "trust"]
        command += ["--encoding=UTF8", "--locale=C", "--no-sync"]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd="/", **server_identity())

    def start(self) -> None:
        """Start the server and wait until it answers."""
        settings = _SETTINGS | {"port": str(self.port), "fsync": "on" if self.durable else "off"}
        settings["unix_socket_directories"] = str(self.directory)
        command = [str(require_postgres() / "postgres"), "-D", str(self.directory)]
        for name, value in settings.items():
            command += ["-c", f"{name}={value}"]
        with (self.directory / "server.log").open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, cwd="/", **server_identity())
        deadline = time.monotonic() + START_LIMIT_S
        while True:
            try:
                self.execute("SELECT 1")
            except psycopg.OperationalError as error:
                if self.process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError((self.directory / "server.log").read_text()[-2_000:]) from error
                time.sleep(0.01)  # no event says when another process listens
            else:
                return

    def kill(self) -> None:
        """Send SIGKILL to the server and all its processes, and wait until they have ended."""
        if self.process is None:
            return
        processes = self._processes()
        self.process.kill()
        self.process.wait()
        self.process = None
        for member in processes[1:]:
            # They end by themselves without the server, but later.
            with contextlib.suppress(psutil.NoSuchProcess):
                member.kill()
        # A new server cannot start before the old processes have released the shared memory.
        deadline = time.monotonic() + START_LIMIT_S
        while any(map(_is_running, processes[1:])) and time.monotonic() < deadline:
            time.sleep(0.005)  # no event says when a process ends that is not a child

    def pause(self) -> None:
        """Send SIGSTOP to all processes: connections stay open without an answer."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Send SIGCONT to all processes."""
        self._signal(signal.SIGCONT)

    def url(self, database: str = "postgres") -> str:
        """The URL of a database."""
        return f"postgresql://roomcast@127.0.0.1:{self.port}/{database}"

    def execute(self, statement: str, database: str = "postgres") -> list[tuple[Any, ...]]:
        """Run one statement on a new connection and return its rows, if it has any."""
        with psycopg.connect(self.url(database), autocommit=True, connect_timeout=5) as connection:
            cursor = connection.execute(statement)  # type: ignore[arg-type] # not a LiteralString
            return cursor.fetchall() if cursor.description else []

    def create_database(self, template: str = "template0") -> str:
        """Create a database from ``template``; returns its name."""
        name = f"test_{next(_numbers)}"
        self.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
        return name

    def _processes(self) -> list[psutil.Process]:
        """The server, then its child processes."""
        assert self.process is not None
        first = psutil.Process(self.process.pid)
        return [first, *first.children(recursive=True)]

    def _signal(self, number: signal.Signals) -> None:
        for member in self._processes():
            with contextlib.suppress(psutil.NoSuchProcess):
                member.send_signal(number)


def _is_running(process: psutil.Process) -> bool:
    try:
        # A zombie holds no resources.
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


@contextlib.contextmanager
def running(*, durable: bool = False) -> Iterator[PostgresServer]:
    """A new server, started; killed and removed at the end."""
    require_postgres()
    # Not below pytest's directories, which other users cannot enter.
    with tempfile.TemporaryDirectory(prefix="roomcast-pg-", ignore_cleanup_errors=True) as directory:
        server = PostgresServer(Path(directory), durable=durable)
        server.create()
        server.start()
        try:
            yield server
        finally:
            server.kill()
