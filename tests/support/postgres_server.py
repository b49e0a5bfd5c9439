"""Real PostgreSQL clusters for tests: on free loopback ports, in directories of their own, ended by their ids.

PostgreSQL refuses to run as root, so a test run of root's starts it as ``postgres`` (or ``nobody``).
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
import pytest

from support.ports import free_port

START_LIMIT_S = 20.0
#: What no test needs and every start pays for.
_SETTINGS = {
    "unix_socket_directories": "",
    "listen_addresses": "127.0.0.1",
    "max_connections": "60",
    "shared_buffers": "32MB",
    "logging_collector": "off",
}
_numbers = itertools.count(1)


def find_postgres() -> Path | None:
    """The directory of the server's programs: what ``pg_config`` says, else the newest of Debian's."""
    found = []
    if config := shutil.which("pg_config"):
        found.append(Path(subprocess.check_output([config, "--bindir"], text=True).strip()))
    if program := shutil.which("postgres"):
        found.append(Path(program).resolve().parent)
    found += sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: path.parent.name, reverse=True)
    return next((path for path in found if (path / "initdb").exists() and (path / "postgres").exists()), None)


def require_postgres() -> Path:
    """The programs' directory; without it the test is skipped loudly, and fails under ``CI=true``."""
    path = find_postgres()
    if path is None:
        reason = "no PostgreSQL server here: apt-get install postgresql, or put pg_config on the PATH"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    return path


@functools.cache
def _identity() -> dict[str, Any]:
    """Who the server runs as, for `subprocess`; nothing to say unless we are root."""
    if os.geteuid() != 0:
        return {}
    names = {entry.pw_name: entry for entry in pwd.getpwall()}
    entry = names.get("postgres") or names["nobody"]
    return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}


@dataclass
class PostgresServer:
    """One cluster, which can be killed, restarted on its port, and paused.

    Attributes:
        directory: Its data.
        durable: Whether a commit waits for the disk. A server that is killed needs that as little as one that is
            not: only the machine's power would take what the kernel holds.
        port: Where it listens.
    """

    directory: Path
    durable: bool = False
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    def create(self) -> None:
        """Make the cluster."""
        programs = require_postgres()
        self.directory.chmod(0o700)
        if identity := _identity():
            os.chown(self.directory, identity["user"], identity["group"])
        command = [programs / "initdb", "-D", self.directory, "-U", "roomcast", "-A", "trust"]
        command += ["--encoding=UTF8", "--locale=C", "--no-sync"]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd="/", **_identity())

    def start(self) -> None:
        """Start it; returns once it answers."""
        settings = _SETTINGS | {"port": str(self.port), "fsync": "on" if self.durable else "off"}
        command = [str(require_postgres() / "postgres"), "-D", str(self.directory)]
        for name, value in settings.items():
            command += ["-c", f"{name}={value}"]
        with (self.directory / "server.log").open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, cwd="/", **_identity())
        deadline = time.monotonic() + START_LIMIT_S
        while True:
            try:
                self.execute("SELECT 1")
            except psycopg.OperationalError as error:
                if self.process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError((self.directory / "server.log").read_text()[-2_000:]) from error
                time.sleep(0.01)  # nothing tells when another process listens
            else:
                return

    def kill(self) -> None:
        """SIGKILL the server and every process of it; returns when they are gone."""
        if self.process is None:
            return
        family = self._family()
        self.process.kill()
        self.process.wait()
        self.process = None
        for member in family[1:]:
            # They would notice by themselves that the server is gone, only later.
            with contextlib.suppress(psutil.NoSuchProcess):
                member.kill()
        # A new server refuses to start before the last one has let go of the shared memory.
        deadline = time.monotonic() + START_LIMIT_S
        while any(map(_runs, family[1:])) and time.monotonic() < deadline:
            time.sleep(0.005)  # nothing tells when a process ends that is not ours

    def pause(self) -> None:
        """SIGSTOP everything: connections stay, nothing is answered."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT."""
        self._signal(signal.SIGCONT)

    def url(self, database: str = "postgres") -> str:
        """The address of a database."""
        return f"postgresql://roomcast@127.0.0.1:{self.port}/{database}"

    def execute(self, statement: str, database: str = "postgres") -> list[tuple[Any, ...]]:
        """Run one statement on a connection of its own; its rows, if it has any."""
        with psycopg.connect(self.url(database), autocommit=True, connect_timeout=5) as connection:
            cursor = connection.execute(statement)  # type: ignore[arg-type] # a test's own text
            return cursor.fetchall() if cursor.description else []

    def create_database(self, template: str = "template0") -> str:
        """A new database, as ``template`` is; its name."""
        name = f"test_{next(_numbers)}"
        self.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
        return name

    def _family(self) -> list[psutil.Process]:
        """The server, and then every process of it."""
        assert self.process is not None
        first = psutil.Process(self.process.pid)
        return [first, *first.children(recursive=True)]

    def _signal(self, number: signal.Signals) -> None:
        for member in self._family():
            with contextlib.suppress(psutil.NoSuchProcess):
                member.send_signal(number)


def _runs(process: psutil.Process) -> bool:
    try:
        # One that nobody has buried yet holds nothing any more.
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


@contextlib.contextmanager
def running(*, durable: bool = False) -> Iterator[PostgresServer]:
    """A new cluster, started; killed and removed at the end."""
    require_postgres()
    # Not below pytest's own directories: those let nobody else in.
    with tempfile.TemporaryDirectory(prefix="roomcast-pg-", ignore_cleanup_errors=True) as directory:
        server = PostgresServer(Path(directory), durable=durable)
        server.create()
        server.start()
        try:
            yield server
        finally:
            server.kill()
