from __future__ import annotations

import os
import platform
import random
import shutil
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from sqlalchemy import Connection

from roomcast.chat.errors import StoreBusy, StoreUnavailable
from roomcast.contract.cursor import Cursor
from roomcast.store.engine.database import Database, sqlite_url
from roomcast.store.engine.statements import driver_connection
from roomcast.store.errors import DatabaseUnreadable, DataInUse
from roomcast.store.migrating import migrate
from roomcast.store.opening import open_store
from roomcast.store.options import DatabaseOptions
from support.backend import database_options, new_message


async def cursor_after(directory: Path, sends: int) -> Cursor:
    """Opens the store, sends, closes it; returns the cursor of a client that has received everything."""
    async with open_store(database_options(directory)) as store:
        for _ in range(sends):
            seq = (await store.chats.commit(new_message())).event.seq
        return Cursor(epoch=store.chats.epoch, seq=seq)


async def holds(directory: Path, cursor: Cursor) -> bool:
    async with open_store(database_options(directory)) as store:
        return (await store.chats.access("c", None, cursor)).cursor_valid


async def test_an_acknowledged_write_waits_for_the_disk(tmp_path: Path) -> None:
    options = DatabaseOptions(url=sqlite_url(tmp_path / "a.db"))
    await migrate(options)
    database = await Database.open(options)

    def pragmas(connection: Connection) -> list[object]:
        names = ("synchronous", "journal_mode", "fullfsync", "foreign_keys", "busy_timeout")
        return [connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in names]

    assert await database.write(pragmas) == [2, "wal", 1, 1, 5000]  # 2 is FULL
    assert (await database.write(pragmas, durable=False))[0] == 1  # NORMAL
    assert (await database.write(pragmas))[0] == 2
    await database.close()


async def test_the_reading_connections_cannot_write(tmp_path: Path) -> None:
    options = database_options(tmp_path)
    await migrate(options)
    database = await Database.open(options)
    with pytest.raises(StoreUnavailable, match="readonly"):
        await database.read(lambda connection: connection.exec_driver_sql("DELETE FROM outbox"))
    await database.close()


async def test_each_start_begins_an_epoch_and_cursors_of_older_ones_hold(tmp_path: Path) -> None:
    first = await cursor_after(tmp_path, 2)
    second = await cursor_after(tmp_path, 1)
    assert first.epoch != second.epoch
    assert await holds(tmp_path, first)
    assert await holds(tmp_path, second)
    # An event of a later epoch cannot be what a client saw in the first one.
    assert not await holds(tmp_path, Cursor(epoch=first.epoch, seq=3))


async def test_a_cursor_does_not_hold_after_the_directory_was_deleted(tmp_path: Path) -> None:
    cursor = await cursor_after(tmp_path / "data", 2)
    shutil.rmtree(tmp_path / "data")
    await cursor_after(tmp_path / "data", 5)
    assert not await holds(tmp_path / "data", cursor)


def _delete(data: Path) -> None:
    shutil.rmtree(data)


def _delete_log(data: Path) -> None:
    (data / "roomcast.db-wal").unlink()


def _delete_index(data: Path) -> None:
    (data / "roomcast.db-shm").unlink()


def _replace_by_a_copy(data: Path) -> None:
    copy = data.with_name("copy")
    shutil.copytree(data, copy)
    shutil.rmtree(data)
    copy.rename(data)


@pytest.mark.parametrize("loss", [_delete, _delete_log, _delete_index, _replace_by_a_copy])
async def test_a_write_to_a_deleted_or_replaced_file_is_not_acknowledged(tmp_path: Path, loss) -> None:
    data = tmp_path / "data"
    async with open_store(database_options(data)) as store:
        await store.chats.commit(new_message())
        loss(data)
        for _ in range(2):
            with pytest.raises(StoreUnavailable, match="deleted or replaced while it was open: stop roomcast"):
                await store.chats.commit(new_message())


async def send_many(directory: Path) -> None:
    """Fills most pages of the database file. Its write-ahead log is empty afterwards."""
    async with open_store(database_options(directory)) as store:
        for _ in range(50):
            await store.chats.commit(new_message(content="x" * 3_000))


def _overwrite(data: Path) -> None:
    file = data / "roomcast.db"
    with file.open("r+b") as pages:
        pages.seek(4096)
        pages.write(random.randbytes(file.stat().st_size - 4096))


def _truncate_log(data: Path) -> None:
    os.truncate(data / "roomcast.db-wal", 0)


@pytest.mark.parametrize("damage", [_overwrite, _truncate_log])
async def test_no_send_to_a_damaged_file_is_acknowledged_and_one_line_says_what_to_do(
    tmp_path: Path, damage: Callable[[Path], None], caplog: pytest.LogCaptureFixture
) -> None:
    await send_many(tmp_path)
    async with open_store(database_options(tmp_path)) as store:
        await store.chats.commit(new_message())
        assert store.failure is None
        caplog.clear()
        damage(tmp_path)
        for _ in range(3):
            with pytest.raises(StoreUnavailable, match="restore a backup"):
                await store.chats.commit(new_message())
        assert store.failure is not None
    assert [record.getMessage() for record in caplog.records] == [f"no write is accepted: {store.failure}"]


# Makes the kernel fail each fsync and fdatasync with EIO.
_FAIL_SYNC = """
import asyncio, ctypes, errno, pathlib, platform, struct, sys
from roomcast.chat.errors import StoreBusy, StoreUnavailable
from roomcast.store.engine.database import sqlite_url
from roomcast.store.opening import open_store
from roomcast.store.options import DatabaseOptions
from roomcast.store.engine.statements import driver_connection
from support.backend import new_message

PR_SET_NO_NEW_PRIVS, SECCOMP_SET_MODE_FILTER, ALL_THREADS = 38, 1, 1
LOAD, JUMP_IF_EQUAL, RETURN, FAIL, ALLOW = 0x20, 0x15, 0x06, 0x00050000, 0x7FFF0000

def fail_syncs():
    seccomp, fsync, fdatasync = {"x86_64": (317, 74, 75), "aarch64": (277, 82, 83)}[platform.machine()]
    steps = [(LOAD, 0, 0, 0), (JUMP_IF_EQUAL, 1, 0, fsync), (JUMP_IF_EQUAL, 0, 1, fdatasync),
             (RETURN, 0, 0, FAIL | errno.EIO), (RETURN, 0, 0, ALLOW)]
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *step) for step in steps))
    program = struct.pack("HxxxxxxP", len(steps), ctypes.addressof(code))
    libc = ctypes.CDLL(None)
    assert libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
    assert libc.syscall(seccomp, SECCOMP_SET_MODE_FILTER, ALL_THREADS, program) == 0

async def main():
    async with open_store(DatabaseOptions(url=sqlite_url(pathlib.Path(sys.argv[1], "a.db")))) as store:
        await store.chats.commit(new_message())
        fail_syncs()
        try:
            await store.chats.commit(new_message())
        except StoreUnavailable:
            print(store.failure)

asyncio.run(main())
"""


@pytest.mark.skipif(
    sys.platform != "linux" or platform.machine() not in {"x86_64", "aarch64"}, reason="needs seccomp filters"
)
def test_a_failed_sync_ends_the_writes(tmp_path: Path) -> None:
    command = [sys.executable, "-c", _FAIL_SYNC, str(tmp_path)]
    # The next sync may succeed although the kernel has dropped the writes before the failed one.
    done = subprocess.run(command, env=os.environ | {"PYTHONPATH": "tests"}, capture_output=True, text=True, check=True)
    assert "the disk failed (disk I/O error): check the disk" in done.stdout


async def test_a_cursor_does_not_hold_after_an_older_copy_was_restored_and_grew_past_it(tmp_path: Path) -> None:
    data, copy = tmp_path / "data", tmp_path / "copy"
    early = await cursor_after(data, 2)
    shutil.copytree(data, copy)
    late = await cursor_after(data, 3)
    shutil.rmtree(data)
    shutil.copytree(copy, data)
    assert not await holds(data, late)
    await cursor_after(data, 9)
    assert not await holds(data, late)
    assert await holds(data, early)


async def test_a_second_process_fails_and_names_the_owner_of_the_data(tmp_path: Path) -> None:
    async with open_store(database_options(tmp_path)):
        with pytest.raises(DataInUse, match=r"in use by another roomcast \(process \d+\)"):
            await migrate(database_options(tmp_path))
    await migrate(database_options(tmp_path))


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
async def test_a_lock_file_that_cannot_be_written_is_reported_and_closed(tmp_path: Path) -> None:
    (tmp_path / "roomcast.db.lock").symlink_to("/dev/full")
    before = psutil.Process().num_fds()
    with pytest.raises(DatabaseUnreadable, match=r"cannot open the database .*roomcast\.db\.lock: "):
        await migrate(database_options(tmp_path))
    assert psutil.Process().num_fds() == before


async def test_a_file_system_without_a_write_ahead_log_is_rejected(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    # Without the log, a power failure may undo a commit that has returned.
    with pytest.raises(DatabaseUnreadable, match="write-ahead log"):
        await migrate(DatabaseOptions(url="sqlite:///file:a.db?vfs=unix-dotfile&uri=true"))


async def test_a_file_that_is_not_a_database_is_reported(tmp_path: Path) -> None:
    (tmp_path / "roomcast.db").write_bytes(b"no database at all" * 100)
    with pytest.raises(DatabaseUnreadable, match=r"file is not a database.*restore a backup"):
        await migrate(database_options(tmp_path))


async def test_a_directory_that_cannot_be_created_is_reported(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DatabaseUnreadable, match="cannot open the database"):
        await migrate(database_options(tmp_path / "file" / "below"))


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///:memory:", "sqlite+aiosqlite:///a.db", "mysql://host/db"])
async def test_only_database_files_are_supported(url: str) -> None:
    with pytest.raises(DatabaseUnreadable, match="sqlite:///path"):
        await migrate(DatabaseOptions(url=url))


async def test_a_database_that_another_program_locks_is_unavailable_not_broken(tmp_path: Path) -> None:
    options = DatabaseOptions(url=sqlite_url(tmp_path / "a.db"), synchronous="OFF", busy_timeout_s=0.05)
    async with open_store(options) as store:
        other = sqlite3.connect(tmp_path / "a.db", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreUnavailable, match="locked"):
            await store.chats.commit(new_message())
        other.execute("ROLLBACK")
        other.close()
        assert (await store.chats.commit(new_message())).event.seq == 1


async def test_a_full_disk_rejects_a_write_and_loses_nothing(tmp_path: Path) -> None:
    async with open_store(database_options(tmp_path)) as store:
        database = store.chats._database

        async def limit_pages(extra: int) -> None:
            def limit(connection: Connection) -> None:
                used = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
                connection.exec_driver_sql(f"PRAGMA max_page_count = {used + extra}")

            await database.write(limit)

        await limit_pages(20)
        acknowledged: list[int] = []

        async def fill() -> None:
            while True:
                committed = await store.chats.commit(new_message(content="x" * 5_000))
                acknowledged.append(committed.event.seq)

        with pytest.raises(StoreUnavailable, match="full"):
            await fill()
        assert acknowledged
        await limit_pages(100)
        acknowledged.append((await store.chats.commit(new_message())).event.seq)
        events, head = await store.chats.events_after("c", 0, 100)
        assert acknowledged == [event.seq for event in events] == list(range(1, head + 1))


async def test_a_read_that_meets_damage_ends_the_writes(tmp_path: Path) -> None:
    await send_many(tmp_path)
    file = tmp_path / "roomcast.db"
    damaged = bytearray(file.read_bytes())
    damaged[30 * 4096 :] = b"\xff" * (len(damaged) - 30 * 4096)
    async with open_store(database_options(tmp_path)) as store:
        times = file.stat().st_atime_ns, file.stat().st_mtime_ns
        file.write_bytes(damaged)
        os.utime(file, ns=times)  # so that the writing connection keeps its cached pages
        with pytest.raises(StoreUnavailable, match="damaged"):
            await store.chats.events_after("c", 0, 100)
        with pytest.raises(StoreBusy, match="restore a backup"):
            await store.chats.commit(new_message())


async def test_a_linked_database_is_used_by_one_process_whatever_its_name(tmp_path: Path) -> None:
    (tmp_path / "linked").mkdir()
    (tmp_path / "linked" / "roomcast.db").symlink_to(tmp_path / "roomcast.db")
    async with open_store(database_options(tmp_path / "linked")) as store:
        assert (await store.chats.commit(new_message())).event.seq == 1
        with pytest.raises(DataInUse):
            await migrate(database_options(tmp_path))


async def test_a_path_with_special_characters_is_a_path(tmp_path: Path) -> None:
    directory = tmp_path / "資料 100%?#&x"
    await cursor_after(directory, 1)
    assert (directory / "roomcast.db").is_file()


def test_sqlite_imports_neither_psycopg_nor_greenlet() -> None:
    code = """
import asyncio, sys, tempfile, pathlib
from roomcast.store.engine.database import sqlite_url
from roomcast.store.opening import open_store
from roomcast.store.options import DatabaseOptions
from roomcast.store.engine.statements import driver_connection
async def main():
    with tempfile.TemporaryDirectory() as directory:
        async with open_store(DatabaseOptions(url=sqlite_url(pathlib.Path(directory, 'a.db')))):
            assert not {'psycopg', 'greenlet', 'sqlalchemy.ext.asyncio'} & set(sys.modules)
asyncio.run(main())
"""
    subprocess.run([sys.executable, "-c", code], check=True)


async def test_only_the_owner_can_read_the_data(tmp_path: Path) -> None:
    data = tmp_path / "data"
    async with open_store(database_options(data)) as store:
        await store.chats.commit(new_message())
        assert {stat.S_IMODE(file.stat().st_mode) for file in data.iterdir()} == {0o600}
    assert stat.S_IMODE(data.stat().st_mode) == 0o700


async def test_the_files_of_an_earlier_release_become_private(tmp_path: Path) -> None:
    await cursor_after(tmp_path, 1)
    (tmp_path / "roomcast.db").chmod(0o644)
    await cursor_after(tmp_path, 1)
    assert stat.S_IMODE((tmp_path / "roomcast.db").stat().st_mode) == 0o600


async def test_files_beside_the_database_keep_their_permissions(tmp_path: Path) -> None:
    backups = tmp_path / "roomcast.db-backups"
    backups.mkdir(mode=0o755)
    await cursor_after(tmp_path, 1)
    assert stat.S_IMODE(backups.stat().st_mode) == 0o755


async def test_a_failed_transaction_is_rolled_back_with_all_its_statements(tmp_path: Path) -> None:
    options = database_options(tmp_path)
    await migrate(options)
    database = await Database.open(options)

    def through_sqlalchemy(connection: Connection) -> None:
        connection.exec_driver_sql("INSERT INTO outbox (chat_id, seq) VALUES ('a', 1)")

    def through_the_driver(connection: Connection) -> None:
        with driver_connection(connection) as raw:
            raw.execute("INSERT INTO outbox (chat_id, seq) VALUES ('b', 1)")

    def fail(connection: Connection) -> None:
        through_the_driver(connection)
        through_sqlalchemy(connection)
        raise ZeroDivisionError

    def marks(connection: Connection) -> list[str]:
        return [row.chat_id for row in connection.exec_driver_sql("SELECT chat_id FROM outbox ORDER BY chat_id")]

    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            await database.write(fail)
        assert await database.read(marks) == []
    await database.write(through_sqlalchemy)
    assert await database.read(marks) == ["a"]
    await database.write(through_the_driver)
    assert await database.read(marks) == ["a", "b"]
    assert database.connections == {"used": 0, "idle": 2, "waiting": 0}
    await database.close()
