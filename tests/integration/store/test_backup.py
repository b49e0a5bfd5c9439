"""Backups that are taken under load, and what clients see after their restore."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sqlite3
import stat
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest

import roomcast
from roomcast.app.backups import back_up, restore
from roomcast.app.doctor.database import check_database
from roomcast.app.errors import AppError
from support.backend import fresh_database
from support.clients import ChatClient, get, send
from support.ports import free_port
from support.postgres_server import PostgresServer, require_postgres
from support.processes import ROOMCAST, Roomcast, clean_environment, run_roomcast
from support.waiting import until

ENV = {"ROOMCAST_RESPONDER": "none"}


def ignore(_left: int, _total: int) -> None:
    """No progress is shown."""


def parts(directory: Path) -> list[Path]:
    """Incomplete copies below ``directory``."""
    return list(directory.rglob("*.part"))


@contextlib.asynccontextmanager
async def load(api_url: str) -> AsyncIterator[list[dict[str, Any]]]:
    """Two senders until the end of the block; the acknowledged messages."""
    acknowledged: list[dict[str, Any]] = []
    ended = False

    async def sender(name: str) -> None:
        async with httpx.AsyncClient(base_url=api_url, verify=False) as http:  # noqa: S501 - loopback
            number = 0
            while not ended:
                number += 1
                body = {"chatId": "c1", "role": "USER", "content": f"{name} {number}"}
                answer = await http.post("/api/chat/messages", json=body)
                answer.raise_for_status()
                acknowledged.append(answer.json())

    async with asyncio.TaskGroup() as group:
        for name in "ab":
            group.create_task(sender(name))
        try:
            yield acknowledged
        finally:
            ended = True


async def back_up_under_load(server: Roomcast, *command: str, env: dict[str, str]) -> tuple[list[Any], dict[str, Any]]:
    """Back up while messages are sent; the messages acknowledged before it, and one that was sent after it."""
    async with load(server.api_url) as acknowledged:
        await until(lambda: len(acknowledged) > 50, limit_s=30)
        before = list(acknowledged)
        done = await asyncio.to_thread(run_roomcast, *command, env=env, timeout_s=60)
        assert (done.returncode, done.stderr) == (0, "")
        during = len(acknowledged)
        assert during > len(before)
        await until(lambda: len(acknowledged) > during, limit_s=30)
    return before, await send(server.api_url, "c1", "lost")


async def check_restored(server: Roomcast, before: list[dict[str, Any]], lost: dict[str, Any]) -> None:
    """Nothing of ``before`` is missing, a client that has ``lost`` is reset, another one continues."""
    after = await send(server.api_url, "c1", "written over")
    kept = before[0]
    async with ChatClient(server.gateway_url) as ahead, ChatClient(server.gateway_url) as behind:
        reset = await ahead.join("c1", since={"epoch": lost["epoch"], "seq": lost["seq"]})
        assert (reset["recovered"], reset["reset"]) == (False, True)
        assert ahead.messages() == []
        resumed = await behind.join("c1", since={"epoch": kept["epoch"], "seq": after["seq"] - 1})
        assert (resumed["recovered"], resumed["epoch"] != lost["epoch"]) == (True, True)
        assert [message["content"] for message in behind.messages()] == ["written over"]
    shown: dict[int, str] = {}
    oldest = after["seq"] + 1
    while oldest > 1:
        page = await get(f"{server.api_url}/api/chats/c1/messages", before=oldest, limit=100)
        shown |= {message["seq"]: message["content"] for message in page["messages"]}
        oldest = min(message["seq"] for message in page["messages"])
    assert sorted(shown) == list(range(1, after["seq"] + 1))
    assert {message["seq"]: message["content"] for message in before}.items() <= shown.items()
    assert "lost" not in shown.values()


async def test_a_backup_of_sqlite_under_load_is_complete_and_clients_reset_after_its_restore(tmp_path: Path) -> None:
    data, file = tmp_path / "data", tmp_path / "backup"
    with Roomcast.up(data, env=ENV) as server:
        before, lost = await back_up_under_load(server, "backup", str(file), "--data", str(data), env={})
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        refused = run_roomcast("restore", str(file), "--data", str(data), timeout_s=60)
        assert (refused.returncode, refused.stderr.count("\n")) == (1, 1)
        assert f"is in use by another roomcast (process {server.pid}); stop it" in refused.stderr
        # The last commits are in the write-ahead log only, which must not be applied to the restored file.
        server.kill()
        restored = run_roomcast("restore", str(file), "--data", str(data), timeout_s=60)
        assert (restored.returncode, restored.stderr) == (0, "")
        server.start()
        await check_restored(server, before, lost)
    replaced = Path(restored.stdout.strip().rpartition("the replaced database is ")[2])
    with closing(sqlite3.connect(replaced)) as database:
        assert database.execute("SELECT count(*) FROM messages WHERE content = 'lost'").fetchone() == (1,)
    assert not parts(tmp_path)


async def test_a_backup_of_postgresql_under_load_is_complete_and_clients_reset_after_its_restore(
    tmp_path: Path, postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(require_postgres()), prepend=":")
    file = tmp_path / "backup"
    first, second = ({"DATABASE_URL": postgres.url(postgres.create_database())} for _ in range(2))
    api, gateway = free_port(), free_port()
    command = ["up", "--api-port", str(api), "--gateway-port", str(gateway)]
    server = Roomcast(command, api_port=api, gateway_port=gateway, env=ENV | first)
    with server:
        before, lost = await back_up_under_load(server, "backup", str(file), env=first)
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        refused = run_roomcast("restore", str(file), env=first, timeout_s=60)
        assert (refused.returncode, refused.stderr.count("\n")) == (1, 1)
        assert "has tables; stop roomcast, create an empty database" in refused.stderr
        server.stop()
        restored = run_roomcast("restore", str(file), env=second, timeout_s=60)
        assert (restored.returncode, restored.stderr) == (0, "")
        server.env |= second
        server.start()
        await check_restored(server, before, lost)


def test_a_backup_replaces_no_file_unless_force_is_given(tmp_path: Path) -> None:
    fresh_database(tmp_path)
    database, file = tmp_path / "roomcast.db", tmp_path / "backup"
    file.write_text("an older backup")
    with pytest.raises(AppError, match="exists; name another file, or pass --force to replace it"):
        back_up(database, file, force=False, progress=ignore)
    assert file.read_text() == "an older backup"
    with pytest.raises(AppError, match="is the database itself"):
        back_up(database, database, force=True, progress=ignore)
    back_up(database, file, force=True, progress=ignore)
    assert file.read_bytes().startswith(b"SQLite format 3\0")


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("missing", "there is no file"),
        ("text", "is no readable database of roomcast"),
        ("other database", "is no readable database of roomcast"),
        ("newer", "schema '9999', which this version does not know; update roomcast"),
        ("damaged", "is damaged|cannot copy|malformed"),
    ],
)
def test_only_an_intact_database_of_roomcast_is_restored(tmp_path: Path, kind: str, reason: str) -> None:
    fresh_database(tmp_path)
    database, file = tmp_path / "roomcast.db", tmp_path / "backup"
    if kind == "text":
        file.write_text("no database" * 1000)
    elif kind == "other database":
        with closing(sqlite3.connect(file)) as connection:
            connection.execute("CREATE TABLE notes (text)")
    elif kind != "missing":
        back_up(database, file, force=False, progress=ignore)
        with closing(sqlite3.connect(file)) as connection, connection:
            if kind == "newer":
                connection.execute("UPDATE alembic_version SET version_num = '9999'")
            else:
                connection.execute("PRAGMA writable_schema = ON")
                connection.execute("UPDATE sqlite_master SET rootpage = 9999 WHERE name = 'messages'")
    present = database.read_bytes()
    with pytest.raises(AppError, match=reason):
        restore(file, database, progress=ignore)
    assert database.read_bytes() == present
    assert not parts(tmp_path)
    assert not list(tmp_path.glob("*.replaced-*"))


def test_a_backup_reports_its_progress(tmp_path: Path) -> None:
    fresh_database(tmp_path)
    seen: list[tuple[int, int]] = []
    back_up(
        tmp_path / "roomcast.db", tmp_path / "b", force=False, progress=lambda left, total: seen.append((left, total))
    )
    assert seen[-1][0] == 0
    assert seen[-1][1] > 1


def test_writes_during_a_backup_neither_restart_it_nor_wait_for_it(tmp_path: Path) -> None:
    fresh_database(tmp_path)
    database, file = tmp_path / "roomcast.db", tmp_path / "backup"
    left_pages: list[int] = []
    with closing(sqlite3.connect(database, timeout=0, isolation_level=None)) as writer:
        writer.execute("CREATE TABLE ballast (bytes)")
        writer.execute("INSERT INTO ballast VALUES (zeroblob(16000000))")

        def write(left: int, _total: int) -> None:
            left_pages.append(left)
            if len(left_pages) < 20:  # a copy that starts again ends, too
                writer.execute("INSERT INTO ballast VALUES ('later')")

        back_up(database, file, force=False, progress=write)
    assert len(left_pages) >= 4
    assert left_pages == sorted(set(left_pages), reverse=True)
    with closing(sqlite3.connect(file)) as copied:
        assert copied.execute("SELECT count(*) FROM ballast").fetchone() == (1,)


# A process that sends itself a signal before its system call ``at`` of the kind ``event``.
INTERRUPTED = """
import os, sys
event, at, number, *sys.argv[1:] = sys.argv[1:]
left = int(at)

def hook(name, _args):
    global left
    if name == event:
        left -= 1
        if left == 0:
            os.kill(os.getpid(), int(number))

sys.addaudithook(hook)
from roomcast.cli.commands import app
app()
"""


def run_interrupted(event: str, at: int, number: signal.Signals, *command: str) -> int:
    """Run a command of `roomcast` until the signal; its exit code."""
    script = [sys.executable, "-c", INTERRUPTED, event, str(at), str(int(number)), *command]
    # Python renames files when it writes bytecode. The signal may arrive when a connection is open but not assigned.
    source = str(Path(roomcast.__file__).parents[1])
    variables = {"PYTHONDONTWRITEBYTECODE": "1", "PYTHONPATH": source, "PYTHONWARNINGS": "ignore::ResourceWarning"}
    env = clean_environment(variables)
    done = subprocess.run(script, env=env, capture_output=True, text=True, timeout=30, check=False)
    assert done.stderr == ""
    return done.returncode


def write(database: Path, text: str) -> None:
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("CREATE TABLE IF NOT EXISTS notes (text)")
        connection.execute("INSERT INTO notes VALUES (?)", (text,))


def notes(database: Path) -> list[str]:
    with closing(sqlite3.connect(database)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        return [text for (text,) in connection.execute("SELECT text FROM notes")]


@pytest.mark.parametrize(
    ("event", "at", "number"),
    [
        ("sqlite3.connect/handle", 2, signal.SIGTERM),
        ("os.rename", 1, signal.SIGINT),
        ("os.rename", 1, signal.SIGHUP),
    ],
)
def test_a_backup_that_is_stopped_by_a_signal_leaves_no_file(
    tmp_path: Path, event: str, at: int, number: signal.Signals
) -> None:
    data = tmp_path / "data"
    data.mkdir()
    fresh_database(data)
    before = sorted(data.iterdir())
    # The second connection is that of the incomplete file, which is renamed at the end.
    stopped = run_interrupted(event, at, number, "backup", str(tmp_path / "b"), "--data", str(data))
    assert stopped == 128 + number
    assert (list(tmp_path.iterdir()), sorted(data.iterdir())) == ([data], before)


async def test_a_dump_of_postgresql_that_is_stopped_by_a_signal_leaves_no_file(
    tmp_path: Path, postgres: PostgresServer
) -> None:
    name = postgres.create_database()
    env = clean_environment({"DATABASE_URL": postgres.url(name), "PATH": f"{require_postgres()}:{os.environ['PATH']}"})
    assert run_roomcast("migrate", env=env).returncode == 0
    with psycopg.connect(postgres.url(name)) as locks:
        # pg_dump waits for this lock.
        locks.execute("LOCK TABLE events IN ACCESS EXCLUSIVE MODE")
        dumping = await asyncio.create_subprocess_exec(ROOMCAST, "backup", str(tmp_path / "b"), env=env)
        waiting = "SELECT 1 FROM pg_stat_activity WHERE application_name = 'pg_dump' AND wait_event_type = 'Lock'"
        try:
            await until(lambda: postgres.execute(waiting), limit_s=50)
            assert parts(tmp_path)
        finally:
            dumping.terminate()
            code = await dumping.wait()
        assert code == 128 + signal.SIGTERM
    assert not parts(tmp_path)


@pytest.mark.parametrize("crashed", [False, True])
def test_a_backup_without_a_server_leaves_the_directory_of_the_data_as_it_is(tmp_path: Path, crashed: bool) -> None:
    data = tmp_path / "data"
    data.mkdir()
    fresh_database(data)
    database = data / "roomcast.db"
    write(database, "kept")
    if crashed:
        copies = {}
        with closing(sqlite3.connect(database)) as connection:
            connection.execute("INSERT INTO notes VALUES ('in the log')")
            connection.commit()
            copies = {file: file.read_bytes() for file in data.iterdir()}
        for file, content in copies.items():
            file.write_bytes(content)
    files = {file: file.stat().st_size for file in data.iterdir()}
    assert len(files) == (3 if crashed else 1)
    back_up(database, tmp_path / "b", force=False, progress=ignore)
    assert {file: file.stat().st_size for file in data.iterdir()} == files
    assert notes(tmp_path / "b") == ["kept", "in the log"][: len(files)]
    assert [finding.status for finding in check_database(database)] == ["ok", "ok"]
    assert {file: file.stat().st_size for file in data.iterdir()} == files


def test_a_server_that_starts_during_a_backup_does_not_spoil_it(tmp_path: Path) -> None:
    fresh_database(tmp_path)
    database = tmp_path / "roomcast.db"
    write(database, "first")
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("CREATE TABLE ballast AS SELECT zeroblob(16000000)")
    left_pages: list[int] = []

    def start(left: int, _total: int) -> None:
        left_pages.append(left)
        if len(left_pages) == 1:
            write(database, "meanwhile")

    back_up(database, tmp_path / "b", force=False, progress=start)
    assert left_pages.count(0) == 2, "the file was copied again"
    assert notes(tmp_path / "b") == ["first", "meanwhile"]


@pytest.mark.parametrize(
    ("event", "at", "number"),
    [
        ("os.link", 1, signal.SIGKILL),
        ("os.rename", 1, signal.SIGKILL),
        ("os.rename", 1, signal.SIGTERM),
        # There is no second one: the exchange is one step.
        ("os.rename", 2, signal.SIGKILL),
    ],
)
def test_a_restore_that_is_interrupted_leaves_the_old_database_or_the_new_one(
    tmp_path: Path, event: str, at: int, number: signal.Signals
) -> None:
    fresh_database(tmp_path)
    database, file = tmp_path / "roomcast.db", tmp_path / "b"
    write(database, "both")
    back_up(database, file, force=False, progress=ignore)
    write(database, "old")
    code = run_interrupted(event, at, number, "restore", str(file), "--data", str(tmp_path))
    assert code in ({0} if at == 2 else {-number, 128 + number})
    assert notes(database) == (["both"] if at == 2 else ["both", "old"])
    assert number == signal.SIGKILL or not parts(tmp_path)
    for kept in tmp_path.glob("*.replaced-*"):
        kept.unlink()
    restore(file, database, progress=ignore)
    assert notes(database) == ["both"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_a_restore_by_root_keeps_the_owner_of_the_database(tmp_path: Path) -> None:
    fresh_database(tmp_path)
    database, file, new = tmp_path / "roomcast.db", tmp_path / "b", tmp_path / "new"
    back_up(database, file, force=False, progress=ignore)
    new.mkdir()
    for owned in (database, new):
        os.chown(owned, 1234, 1234)
    database.chmod(0o640)
    restore(file, database, progress=ignore)
    assert (database.stat().st_uid, stat.S_IMODE(database.stat().st_mode)) == (1234, 0o640)
    restore(file, new / "roomcast.db", progress=ignore)
    assert {file.stat().st_uid for file in new.iterdir()} == {1234}
