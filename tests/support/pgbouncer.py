"""PgBouncer in front of a test's PostgreSQL server, in transaction mode and without support for prepared statements."""

from __future__ import annotations

import contextlib
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg

from support.ports import free_port
from support.postgres_server import PostgresServer, server_identity
from support.programs import find_program

START_LIMIT_S = 10.0
# Two connections of the server for all clients, so that the transactions of one client use both.
_CONFIG = """
[databases]
* = host=127.0.0.1 port={server_port} user=roomcast
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = 2
{settings}
"""


@contextlib.contextmanager
def pgbouncer(server: PostgresServer, *settings: str) -> Iterator[int]:
    """Run PgBouncer with these additional lines of its configuration; its port.

    Without the program the test is skipped, or fails under ``CI=true``.
    """
    program = find_program("pgbouncer")
    port = free_port()
    # Not below pytest's directories, which the server's user cannot enter.
    with tempfile.TemporaryDirectory(prefix="roomcast-pgbouncer-") as directory:
        config, log = Path(directory, "pgbouncer.ini"), Path(directory, "log")
        config.write_text(_CONFIG.format(server_port=server.port, port=port, settings="\n".join(settings)))
        Path(directory).chmod(0o755)
        with log.open("wb") as output:
            process = subprocess.Popen([program, str(config)], stderr=output, cwd="/", **server_identity())
        try:
            _wait_until_it_answers(process, port, log)
            yield port
        finally:
            process.kill()
            process.wait()


def _wait_until_it_answers(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + START_LIMIT_S
    url = f"postgresql://roomcast@127.0.0.1:{port}/postgres"
    while True:
        try:
            psycopg.connect(url, connect_timeout=5).close()
        except psycopg.OperationalError as error:
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(log.read_text()) from error
            time.sleep(0.02)  # no event says when another process listens
        else:
            return
