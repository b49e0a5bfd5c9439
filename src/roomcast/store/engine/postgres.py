"""PostgreSQL through psycopg, shared by any number of processes; a dead process does not block the others.

- The writing connection runs READ COMMITTED: a statement that follows the lock on a chat's row sees the commits of the
  previous holder of that lock. The reading connections are in autocommit, since every read is one statement.
- Connections are not tested before use, since a test would cost one more statement each time. A transaction whose
  connection turns out to be dead is retried on a new connection.
- A pooler such as PgBouncer may run each transaction on another connection of the server, where settings and prepared
  statements of the session are missing. So behind a pooler no statement is prepared, and each write transaction sets
  what it needs. A pooler is recognised by the process id, since it gives its clients another one than the server.

Layer: store. Source: PostgreSQL 15, "Transaction Isolation", "Explicit Locking", libpq "Connection Strings"; psycopg 3.
"""

from __future__ import annotations

import functools
import logging
import os
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

import psycopg
from psycopg.conninfo import conninfo_to_dict
from sqlalchemy import Connection, Engine, create_engine, event, text
from sqlalchemy.exc import DBAPIError

from roomcast.store.engine.backend import display_url
from roomcast.store.engine.pipelined import PipelinedStatements
from roomcast.store.engine.statements import Statements
from roomcast.store.errors import DatabaseUnreadable, ServerTooOld
from roomcast.store.lineage import begin_epoch, read_epochs
from roomcast.store.options import READERS, DatabaseOptions

logger = logging.getLogger(__name__)

#: The oldest maintained major version that has every feature used here.
MIN_VERSION: Final = 15
#: Key of the advisory lock: "roomcast" in ASCII.
_SCHEMA_LOCK: Final = int.from_bytes(b"roomcast", "big")
_INDEXES_ONLY: Final = {
    "plan_cache_mode": "force_generic_plan",
    "enable_seqscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
}
#: Serialization failure, deadlock, and unique violation (two processes create the same chat). PostgreSQL has rolled
#: back the transaction, and a retry sees what the other process committed.
_RETRYABLE: Final = frozenset({"40001", "40P01", "23505"})
#: How long each attempt to lock all tables may take. Other processes lock the tables that they read in another order;
#: PostgreSQL looks for deadlocks after a second, so the first attempts end before it finds one. A vacuum is cancelled
#: when it has blocked a lock for a second, and may take hours, so the last attempts are longer.
_LOCK_LIMITS_S: Final = (*[0.4] * 20, *[3.0] * 10)
_LOCK_PAUSE_S: Final = 0.2
#: Statement timeout, deadlock.
_NOT_LOCKED: Final = frozenset({"57014", "40P01"})
#: A dead peer is detected after 25 s without traffic, or when sent data is not acknowledged for 20 s.
_KEEPALIVE: Final = {"keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 3, "tcp_user_timeout": 20_000}


class PostgresBackend:
    """A database on a PostgreSQL server; implements `backend.Backend`."""

    def __init__(self, options: DatabaseOptions) -> None:
        self.shared = True
        self.statements: Statements = PipelinedStatements()
        self.location = f"in DATABASE_URL ({display_url(options.url)})"
        self._given = _parse(options.url)
        self._options = options
        # None until the first connection.
        self._pooled: bool | None = None

    def engine(self, *, writes: bool) -> Engine:
        """See `Backend`."""
        settings = self._settings(writes=writes)
        engine = create_engine(
            "postgresql+psycopg://",
            isolation_level="READ COMMITTED" if writes else "AUTOCOMMIT",
            pool_size=1 if writes else READERS,
            max_overflow=0,
            pool_timeout=self._options.read_timeout_s,
            creator=functools.partial(self._connect, self._parameters(settings)),
            use_native_hstore=False,
            # Keeps the users' texts out of error messages and logs.
            hide_parameters=True,
        )

        def begin(connection: Connection) -> None:
            # `pipelined` sends its own BEGIN, in autocommit.
            connection.connection.driver_connection.autocommit = False  # type: ignore[union-attr]  # psycopg's
            needed = dict(settings) if self._pooled else {}
            if not connection.get_execution_options().get("durable", True):
                needed["synchronous_commit"] = "off"
            if needed:
                connection.exec_driver_sql(";".join(f"SET LOCAL {name} = '{value}'" for name, value in needed.items()))

        # Before SQLAlchemy's own listener, which fails with some encodings.
        event.listen(engine, "connect", self._check_server, insert=True)
        if writes:
            event.listen(engine, "begin", begin)
        return engine

    @contextmanager
    def transaction(self, connection: Connection, /, *, durable: bool) -> Iterator[Connection]:
        """See `Backend`."""
        connection = connection.execution_options(durable=durable)
        with connection.begin():
            yield connection

    def acquire(self) -> None:
        """See `Backend`. Nothing to do: the database is shared."""

    def release(self) -> None:
        """See `Backend`."""

    def lock_schema(self, connection: Connection, /) -> None:
        """See `Backend`."""
        # A second process waits for the whole migration of the first one, however long it takes.
        connection.execute(text("SET LOCAL statement_timeout = 0"))
        for name in _INDEXES_ONLY.keys() - {"plan_cache_mode"}:  # a migration may read whole tables
            connection.execute(text(f"SET LOCAL {name} = on"))
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _SCHEMA_LOCK})

    def lock_tables(self, connection: Connection, names: Sequence[str], /) -> None:
        """See `Backend`. Between its attempts the other processes continue."""
        for limit_s in _LOCK_LIMITS_S:
            try:
                with connection.begin_nested():
                    connection.execute(text(f"SET LOCAL statement_timeout = {round(limit_s * 1000)}"))
                    connection.execute(text(f"LOCK TABLE {', '.join(names)} IN ACCESS EXCLUSIVE MODE"))
                    connection.execute(text("SET LOCAL statement_timeout = 0"))
            except DBAPIError as error:
                if getattr(error.orig, "sqlstate", None) not in _NOT_LOCKED:
                    raise
                logger.info("the migration waits for its tables", extra={"error": str(error.orig).strip()})
                time.sleep(_LOCK_PAUSE_S)
            else:
                return
        hint = "end the transactions that pg_stat_activity lists, such as those of pg_dump, and start again"
        raise DatabaseUnreadable(self.location, f"its tables are in use: {hint}")

    def ensure_epoch(self, connection: Connection, /, *, new_epoch: bool) -> None:
        """See `Backend`. Every process uses the new epoch from its next write transaction on."""
        if not new_epoch and read_epochs(connection):
            return
        # Later writes see the new row, since each write transaction first reads this table and thus holds a lock on it
        # until its end. So a chat's events never return to an earlier epoch.
        self.lock_tables(connection, ["epochs"])
        begin_epoch(connection)

    def record_start(self, _connection: Connection, /) -> None:
        """See `Backend`. Changes nothing: other processes may be running."""
        if self._pooled:
            logger.info("the database is behind a connection pooler: statements are not prepared")

    def is_retryable(self, error: DBAPIError, /) -> bool:
        """See `Backend`."""
        return getattr(error.orig, "sqlstate", None) in _RETRYABLE

    def damage(self, _error: DBAPIError, /) -> str | None:
        """See `Backend`. None: after a failed sync the server restarts, and other errors undo no other commit."""
        return None

    def missing_file(self) -> str | None:
        """See `Backend`. None: the server watches its files."""
        return None

    def probe(self, connection: Connection, /) -> None:
        """See `Backend`. A standby refuses it. A server whose disk is full stops by itself."""
        connection.exec_driver_sql("UPDATE epochs SET epoch = epoch WHERE false")

    def abort(self, connection: Connection) -> None:
        """See `Backend`. Shuts down the socket, since a server that hangs does not process a cancel request either."""
        try:
            descriptor = os.dup(connection.connection.driver_connection.fileno())  # type: ignore[union-attr]  # psycopg's
        except (psycopg.OperationalError, OSError):
            return  # The connection is closed already.
        with socket.socket(fileno=descriptor) as duplicate:
            try:
                duplicate.shutdown(socket.SHUT_RDWR)
            except OSError:
                return  # The server has closed the connection.

    def _settings(self, *, writes: bool) -> dict[str, str]:
        options = self._options
        return {
            "statement_timeout": f"{round(options.statement_timeout_s * 1000)}",
            # Limits how long a process that stops in the middle of a transaction keeps its row locks. Half the
            # statement timeout, so that the locks are released before statements that wait for them time out.
            "idle_in_transaction_session_timeout": f"{round(options.statement_timeout_s * 500)}",
            "default_transaction_read_only": "off" if writes else "on",
            "synchronous_commit": "on" if options.synchronous == "FULL" else "off",
            # A plan that was cached while a table was empty would always scan the whole table. So reads are planned at
            # each execution, which costs less than it saves; every statement of a write finds its rows through an
            # index, in any table, and one plan serves for good (docs/decisions/0005).
            **(_INDEXES_ONLY if writes else {"plan_cache_mode": "force_custom_plan"}),
            # Most reads are of recent rows, which are in memory; the default is meant for rotating disks.
            "random_page_cost": "1.1",
            # Compiling a statement would take longer than running it.
            "jit": "off",
        }

    def _parameters(self, settings: dict[str, str]) -> dict[str, Any]:
        own = " ".join(f"-c {name}={value}" for name, value in settings.items())
        return {
            **_KEEPALIVE,
            "connect_timeout": max(2, round(self._options.connect_timeout_s)),
            "application_name": "roomcast",
            # If the URL names several hosts, connect to the primary, for reads too: a standby that lags would not
            # return a message that was just acknowledged.
            "target_session_attrs": "primary",
            **self._given,
            "options": f"{own} {self._given.get('options', '')}".strip(),
            # Otherwise the environment may choose one in which the driver returns bytes.
            "client_encoding": "utf8",
        }

    def _connect(self, parameters: dict[str, Any]) -> psycopg.Connection[Any]:
        if not self._pooled:
            try:
                return psycopg.connect(**parameters)
            except psycopg.OperationalError as error:
                # PgBouncer; PostgreSQL itself accepts every parameter that libpq sends.
                if "unsupported startup parameter" not in str(error):
                    raise
            self._pooled = True
        return psycopg.connect(**parameters | {"options": self._given.get("options", ""), "prepare_threshold": None})

    def _check_server(self, connection: psycopg.Connection[Any], _record: Any) -> None:
        version = connection.info.server_version // 10_000
        if version < MIN_VERSION:
            raise ServerTooOld(self.location, version, MIN_VERSION)
        encoding = connection.info.parameter_status("server_encoding")
        if encoding != "UTF8":
            hint = "create a database with ENCODING 'UTF8' TEMPLATE template0, and name it in DATABASE_URL"
            raise DatabaseUnreadable(self.location, f"its encoding is {encoding}; {hint}")
        if self._pooled is None:
            answer = connection.pgconn.exec_(b"SELECT pg_backend_pid()").get_value(0, 0)
            self._pooled = answer != str(connection.info.backend_pid).encode()
        if self._pooled:
            connection.prepare_threshold = None


def _parse(url: str) -> dict[str, Any]:
    """The parameters in a URL as libpq accepts it, with ``postgresql+psycopg`` as another name of its scheme.

    Raises:
        DatabaseUnreadable: libpq rejects the URL.
    """
    _, _, address = url.partition("://")
    try:
        given = conninfo_to_dict(f"postgresql://{address}")
        ports = str(given.get("port") or "").split(",")
        usable = "@" not in str(given.get("host")) and all(port.isdecimal() for port in ports if port)
    except psycopg.ProgrammingError:
        usable = False
    if not usable:
        # The driver's message may contain a part of the password.
        hint = "use postgresql://user:password@host:port/name and percent-encode special characters"
        raise DatabaseUnreadable("in DATABASE_URL", f"not a URL of PostgreSQL; {hint}") from None
    return given
