"""PostgreSQL through psycopg: any number of processes on one database, and none that waits for a dead one.

A transaction of the writing connection is READ COMMITTED: what it reads behind the lock on a chat's row is what the
last holder of that lock committed. The reading connections are in autocommit, since every read is one statement.

Nothing here tests a connection before it is used, which would cost each statement a second one: a transaction that
finds its connection dead is begun again on a new one.

Layer: store. Source: PostgreSQL 15, "Transaction Isolation", "Explicit Locking", libpq "Connection Strings"; psycopg 3.
"""

from __future__ import annotations

import os
import socket
from typing import Any, Final

from psycopg import OperationalError
from sqlalchemy import URL, Connection, Engine, create_engine, event, text
from sqlalchemy.exc import DBAPIError

from roomcast.store.backing import display_url
from roomcast.store.errors import DatabaseUnreadable, ServerTooOld
from roomcast.store.lineage import begin_epoch, read_epochs
from roomcast.store.options import READERS, DatabaseOptions
from roomcast.store.pipelined import PipelinedStatements
from roomcast.store.statements import Statements

#: The first version with everything that is used here and still maintained.
MIN_VERSION: Final = 15
#: Any number will do, as long as nobody else locks it: "roomcast" in ASCII.
_SCHEMA_LOCK: Final = int.from_bytes(b"roomcast", "big")
#: Rolled back whole, and different the next time: a serialization failure, a deadlock, and a row that another process
#: wrote between our look and our write (a chat that both create).
_REPEATABLE: Final = frozenset({"40001", "40P01", "23505"})
#: What a dead peer may hold: three probes after a silence, and as long for what was sent and not confirmed.
_KEEPALIVE: Final = {"keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 3, "tcp_user_timeout": 20_000}


class PostgresBacking:
    """A database on a PostgreSQL server; see `backing.Backing`."""

    def __init__(self, url: URL, options: DatabaseOptions) -> None:
        self.shared = True
        self.statements: Statements = PipelinedStatements()
        self.place = display_url(url)
        self._url = url.set(drivername="postgresql+psycopg")
        self._options = options

    def engine(self, *, writes: bool) -> Engine:
        """See `Backing`."""
        options = self._options
        engine = create_engine(
            self._url,
            isolation_level="READ COMMITTED" if writes else "AUTOCOMMIT",
            pool_size=1 if writes else READERS,
            max_overflow=0,
            pool_timeout=options.read_timeout_s,
            connect_args=self._connect_args(writes=writes),
            use_native_hstore=False,
            # What people wrote does not belong in the log of an error.
            hide_parameters=True,
        )
        event.listen(engine, "connect", self._check)
        if writes:
            event.listen(engine, "begin", _begin)
        return engine

    def acquire(self) -> None:
        """See `Backing`. A server has room for all."""

    def release(self) -> None:
        """See `Backing`."""

    def lock_schema(self, connection: Connection, /) -> None:
        """See `Backing`."""
        # Whoever comes second waits for the first one's whole migration.
        connection.execute(text("SET LOCAL statement_timeout = 0"))
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _SCHEMA_LOCK})

    def keep_lineage(self, connection: Connection, /, *, new_epoch: bool) -> None:
        """See `Backing`. Every process writes in the new epoch from its next transaction on."""
        if not new_epoch and read_epochs(connection):
            return
        # Every write reads this table first, which locks it until its end. This waits for all that are under way, and
        # those that come later see the new row: a chat's events never go back to an earlier epoch.
        connection.execute(text("LOCK TABLE epochs IN ACCESS EXCLUSIVE MODE"))
        begin_epoch(connection)

    def start(self, _connection: Connection, /) -> None:
        """See `Backing`. Processes come and go: that changes nothing."""

    def may_repeat(self, error: DBAPIError, /) -> bool:
        """See `Backing`."""
        return getattr(error.orig, "sqlstate", None) in _REPEATABLE

    def abort(self, connection: Connection) -> None:
        """See `Backing`. The socket is shut down: a server that hangs does not answer a request to cancel either."""
        try:
            descriptor = os.dup(connection.connection.driver_connection.fileno())  # type: ignore[union-attr]  # psycopg's
        except (OperationalError, OSError):
            return  # It is closed already.
        with socket.socket(fileno=descriptor) as half:
            try:
                half.shutdown(socket.SHUT_RDWR)
            except OSError:
                return  # The peer was faster.

    def _connect_args(self, *, writes: bool) -> dict[str, Any]:
        options = self._options
        settings = {
            "statement_timeout": f"{round(options.statement_timeout_s * 1000)}",
            # A process that is stopped in mid-transaction holds the rows that it has locked no longer than this; those
            # who wait for them have not given up by then.
            "idle_in_transaction_session_timeout": f"{round(options.statement_timeout_s * 500)}",
            "default_transaction_read_only": "off" if writes else "on",
            "synchronous_commit": "on" if options.synchronous == "FULL" else "off",
            # A plan that is kept from the time when a table was empty reads the whole of it ever after: making one for
            # each execution costs less than it saves (docs/decisions/0005).
            "plan_cache_mode": "force_custom_plan",
            # What is looked for is recent and in memory; the default is that of a turning disk.
            "random_page_cost": "1.1",
            # It compiles for longer than any statement of ours runs.
            "jit": "off",
        }
        given = self._url.query.get("options", "")
        own = " ".join(f"-c {name}={value}" for name, value in settings.items())
        return {
            **_KEEPALIVE,
            "connect_timeout": max(2, round(options.connect_timeout_s)),
            "application_name": "roomcast",
            # After a failover of several hosts: the one that takes writes, for the readers too, who would miss what
            # was just acknowledged on a standby that lags.
            "target_session_attrs": "primary",
            **{key: value for key, value in self._url.query.items() if key != "options"},
            "options": f"{own} {given}".strip(),
        }

    def _check(self, connection: Any, _record: Any) -> None:
        version = connection.info.server_version // 10_000
        if version < MIN_VERSION:
            raise ServerTooOld(self.place, version, MIN_VERSION)
        encoding = connection.info.parameter_status("server_encoding")
        if encoding != "UTF8":
            raise DatabaseUnreadable(self.place, f"its encoding is {encoding}; create it with ENCODING 'UTF8'")


def _begin(connection: Connection) -> None:
    if not connection.get_execution_options().get("durable", True):
        connection.exec_driver_sql("SET LOCAL synchronous_commit = off")
