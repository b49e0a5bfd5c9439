"""The contract of files: their rows over every store, and their contents over every kind of store."""

from __future__ import annotations

import asyncio
import functools
import json
import os
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path

import httpx
import pytest
from sqlalchemy import update

from roomcast.chat.commands import (
    ChangeChat,
    ChangeMember,
    DeleteChat,
    DeleteMessage,
    DropFile,
    FinishFile,
    ForgetFile,
    MarkPublished,
    NewChat,
    PostponeFile,
    ReserveFile,
)
from roomcast.chat.errors import (
    ChatArchived,
    ChatNotFound,
    EmptyMessage,
    FileLimitReached,
    FileNotFound,
    FilesUnavailable,
    NotAMember,
    RightMissing,
)
from roomcast.chat.ports import ContentHeaders, FileContents
from roomcast.contract.events import Attachment, MemberRole
from roomcast.contract.text import MAX_SEQ
from roomcast.files import contents as contents_module
from roomcast.files.contents import ObjectContents, bucket_contents, directory_contents
from roomcast.store.engine.batch import CustomWrite
from roomcast.store.opening import Store, open_store
from roomcast.store.options import DatabaseOptions
from roomcast.store.tables import chats
from support.backend import START, new_message
from support.object_stores import SCHEMES, environment, object_store_server
from support.ports import free_port
from support.waiting import until

HEADERS = ContentHeaders("text/plain", "attachment")
TOMORROW = START + timedelta(days=1)
PICTURE = Attachment(id="f", name="a.png", type="image/png", size=9, width=4, height=3)


@pytest.fixture
async def store(database_options: DatabaseOptions) -> AsyncIterator[Store]:
    async with open_store(database_options) as opened:
        await opened.chats.commit(NewChat("c", None, None, START, "ann", ("bob",)))
        await opened.chats.commit(NewChat("d", None, None, START, "ann"))
        yield opened


def reserve(file_id: str = "f", size: int = 9, member: str = "ann") -> ReserveFile:
    return ReserveFile(file_id, "c", member, size, START, TOMORROW, 100, 200, member)


async def upload(store: Store, file_id: str = "f", member: str = "ann") -> Attachment:
    attachment = PICTURE.model_copy(update={"id": file_id})
    await store.files.commit(reserve(file_id, member=member))
    await store.files.commit(FinishFile("c", attachment, member))
    return attachment


async def test_a_message_has_its_files_in_its_event_and_when_it_is_read(store: Store) -> None:
    picture = await upload(store)
    committed = await store.chats.commit(new_message(content="", member="ann", user_id="ann", files=("f",)))
    wire = json.loads(committed.event.payload)
    assert wire["attachments"] == [
        {"id": "f", "name": "a.png", "type": "image/png", "size": 9, "width": 4, "height": 3}
    ]
    found, _ = await store.chats.messages("c", before=None, after=None, limit=10)
    assert found[-1].attachments == (picture,)
    chat = await store.chats.chat("c")
    assert chat is not None
    assert (chat.preview, chat.preview_file) == ("", "a.png")
    edited = await store.chats.commit(new_message(content="look", member="ann", user_id="ann", replaces=wire["id"]))
    assert json.loads(edited.event.payload)["attachments"] == wire["attachments"]
    chat = await store.chats.chat("c")
    assert chat is not None
    assert (chat.preview, chat.preview_file) == ("look", None)
    stored = await store.files.file("f")
    assert stored is not None
    assert (stored.attached, stored.user_id, stored.chat_id) == (True, "ann", "c")


async def test_a_message_without_files_has_no_such_field(store: Store) -> None:
    committed = await store.chats.commit(new_message())
    assert "attachments" not in json.loads(committed.event.payload)


@pytest.mark.parametrize(
    "refused",
    [
        {"member": "bob", "user_id": "bob", "files": ("f",)},
        {"chat_id": "d", "member": "ann", "user_id": "ann", "files": ("f",)},
        {"member": "ann", "user_id": "ann", "files": ("f", "f")},
        {"member": "ann", "user_id": "ann", "files": ("f", "other")},
        {"member": "ann", "user_id": "ann", "files": ("unfinished",)},
    ],
)
async def test_only_its_uploader_sends_a_file_in_its_chat(store: Store, refused: dict[str, object]) -> None:
    await upload(store)
    await store.files.commit(reserve("unfinished"))
    with pytest.raises(FileNotFound):
        await store.chats.commit(new_message(**refused))
    found, _ = await store.chats.messages("c", before=None, after=None, limit=10)
    assert found == []


async def test_a_file_is_sent_once_and_a_repeat_of_its_message_is_answered(store: Store) -> None:
    await upload(store)
    first, repeat, other = await asyncio.gather(
        *(
            store.chats.commit(new_message(client_msg_id=key, member="ann", user_id="ann", files=("f",)))
            for key in ("k", "k", "other")
        ),
        return_exceptions=True,
    )
    assert not isinstance(first, BaseException)
    assert not isinstance(repeat, BaseException)
    assert (first.created, repeat.created, repeat.event) == (True, False, first.event)
    assert isinstance(other, FileNotFound)


async def test_uploads_that_are_not_sent_have_a_limit_per_user(store: Store) -> None:
    outcomes = await asyncio.gather(
        *(store.files.commit(reserve(f"f{number}", 40)) for number in range(4)), return_exceptions=True
    )
    assert [type(outcome) for outcome in outcomes] == [type(None), type(None), FileLimitReached, FileLimitReached]
    await store.files.commit(reserve("g", 100, "bob"))
    await store.files.commit(FinishFile("c", PICTURE.model_copy(update={"id": "f0", "size": 40}), "ann"))
    await store.chats.commit(new_message(member="ann", user_id="ann", files=("f0",)))
    await store.files.commit(reserve("f5", 60))


async def test_a_stranger_uploads_nothing(store: Store) -> None:
    with pytest.raises(NotAMember):
        await store.files.commit(reserve(member="eve"))
    with pytest.raises(NotAMember):
        await store.files.commit(FinishFile("c", PICTURE, "eve"))


async def test_a_file_is_removed_when_it_is_due_unless_a_message_has_it(store: Store) -> None:
    await upload(store)
    await upload(store, "sent")
    await store.chats.commit(new_message(member="ann", user_id="ann", files=("sent",)))
    assert await store.files.due_files(START, 10) == []
    assert not await store.files.commit(DropFile("c", "f", START))
    assert await store.files.due_files(TOMORROW, 10) == [("c", "f")]
    assert await store.files.commit(DropFile("c", "f", TOMORROW))
    assert not await store.files.commit(DropFile("c", "sent", TOMORROW))
    # From here on no clock, however slow, lets a message have it.
    with pytest.raises(FileNotFound):
        await store.chats.commit(new_message(member="ann", user_id="ann", files=("f",)))
    assert await store.files.file("f") is None
    await store.files.commit(ForgetFile("c", "f"))
    await store.files.commit(ForgetFile("c", "sent"))
    assert await store.files.due_files(TOMORROW, 10) == []
    assert await store.files.file("sent") is not None


async def test_only_its_uploader_discards_a_file_and_only_before_it_is_sent(store: Store) -> None:
    await upload(store)
    with pytest.raises(FileNotFound):
        await store.files.commit(DropFile("c", "f", TOMORROW, "bob"))
    assert await store.files.commit(DropFile("c", "f", TOMORROW, "ann"))
    await upload(store, "sent")
    await store.chats.commit(new_message(member="ann", user_id="ann", files=("sent",)))
    with pytest.raises(FileNotFound):
        await store.files.commit(DropFile("c", "sent", TOMORROW, "ann"))


async def test_the_files_of_a_deleted_message_are_due_at_once_and_leave_its_events(store: Store) -> None:
    await upload(store)
    committed = await store.chats.commit(new_message(member="ann", user_id="ann", content="", files=("f",)))
    message_id = json.loads(committed.event.payload)["id"]
    await store.chats.commit(DeleteMessage("c", message_id, START, "ann"))
    assert await store.files.file("f") is None
    assert await store.files.files("c", ["f"]) == []
    assert await store.files.due_files(START, 10) == [("c", "f")]
    events, _ = await store.chats.events_after("c", 0, 100)
    assert not any(b"a.png" in event.payload for event in events)


async def test_links_are_only_for_files_of_the_chat(store: Store) -> None:
    await upload(store)
    assert [found.attachment.id for found in await store.files.files("c", ["f", "none"])] == ["f"]
    assert await store.files.files("d", ["f"]) == []


async def test_a_secret_is_made_once(store: Store) -> None:
    one, other = await asyncio.gather(store.files.secret("a"), store.files.secret("a"))
    assert one == other
    assert len(one) == 32
    assert await store.files.secret("a") == one
    assert await store.files.secret("b") != one


async def test_an_edit_keeps_its_files_but_those_that_it_drops(store: Store) -> None:
    await upload(store)
    await upload(store, "g")
    sent = await store.chats.commit(new_message(member="ann", user_id="ann", files=("f", "g")))
    message_id = json.loads(sent.event.payload)["id"]
    edit = new_message(member="ann", user_id="ann", replaces=message_id, content="", drops=("f",))
    edited = await store.chats.commit(edit)
    assert [one["id"] for one in json.loads(edited.event.payload)["attachments"]] == ["g"]
    assert await store.files.file("f") is None
    assert await store.files.due_files(START, 10) == [("c", "f")]
    with pytest.raises(FileNotFound):
        await store.chats.commit(new_message(member="ann", user_id="ann", replaces=message_id, drops=("f",)))
    with pytest.raises(EmptyMessage):
        await store.chats.commit(
            new_message(member="ann", user_id="ann", replaces=message_id, content="", drops=("g",))
        )
    await store.chats.commit(DeleteMessage("c", message_id, START, "ann"))
    assert sorted(await store.files.due_files(START, 10)) == [("c", "f"), ("c", "g")]


async def test_an_edit_of_a_message_without_files_does_not_empty_it(store: Store) -> None:
    sent = await store.chats.commit(new_message(member="ann", user_id="ann"))
    message_id = json.loads(sent.event.payload)["id"]
    with pytest.raises(EmptyMessage):
        await store.chats.commit(new_message(member="ann", user_id="ann", replaces=message_id, content=""))


async def test_the_files_of_a_deleted_chat_are_removed_also_those_that_were_not_sent(store: Store) -> None:
    for file_id in ("f", "g", "h"):
        await upload(store, file_id)
    await store.files.commit(reserve("unfinished"))
    await store.chats.commit(new_message(member="ann", user_id="ann", files=("f", "g")))
    await store.chats.commit(DeleteChat("c", START))
    await store.chats.commit(MarkPublished({"c": MAX_SEQ}))
    while await store.chats.erase_deleted(2):
        pass
    due = await store.files.due_files(START, 10)
    assert sorted(due) == [("c", "f"), ("c", "g"), ("c", "h"), ("c", "unfinished")]
    for chat_id, file_id in due:
        assert await store.files.commit(DropFile(chat_id, file_id, START))
        await store.files.commit(ForgetFile(chat_id, file_id))
    assert await store.files.due_files(TOMORROW, 10) == []
    with pytest.raises(ChatNotFound):
        await store.files.commit(reserve("late"))


async def test_a_file_that_cannot_be_removed_is_due_again_later_and_can_not_be_sent(store: Store) -> None:
    await upload(store)
    await store.files.commit(PostponeFile("c", "f", TOMORROW))
    assert await store.files.file("f") is not None  # its removal has not begun
    assert await store.files.commit(DropFile("c", "f", TOMORROW))
    await store.files.commit(PostponeFile("c", "f", TOMORROW))
    assert await store.files.due_files(START, 10) == []
    assert await store.files.due_files(TOMORROW, 10) == [("c", "f")]
    assert await store.files.file("f") is None
    with pytest.raises(FileNotFound):
        await store.chats.commit(new_message(member="ann", user_id="ann", files=("f",)))


async def test_files_that_an_earlier_version_has_left_in_an_erased_chat_are_found(store: Store) -> None:
    for file_id in ("f", "g"):
        await upload(store, file_id)
        await store.chats.commit(new_message(member="ann", user_id="ann", files=(file_id,)))
    assert await store.files.drop_orphans(10) == 0
    erased = update(chats).where(chats.c.id == "c").values(state="erased")
    await store.chats.commit(CustomWrite(lambda connection: connection.execute(erased)))
    assert [await store.files.drop_orphans(1) for _ in range(3)] == [1, 1, 0]
    assert sorted(await store.files.due_files(START, 10)) == [("c", "f"), ("c", "g")]


async def test_a_service_removes_no_file_of_another_chat(store: Store) -> None:
    await upload(store)
    assert not await store.files.commit(DropFile("d", "f", TOMORROW))
    assert await store.files.file("f") is not None


async def test_all_files_of_a_user_have_a_limit_sent_or_not(store: Store) -> None:
    for file_id in ("f", "g"):
        await store.files.commit(reserve(file_id, 90))
        await store.files.commit(FinishFile("c", PICTURE.model_copy(update={"id": file_id, "size": 90}), "ann"))
        await store.chats.commit(new_message(member="ann", user_id="ann", files=(file_id,)))
    with pytest.raises(FileLimitReached):
        await store.files.commit(reserve("h", 21))
    await store.files.commit(reserve("h", 20))


async def test_only_users_that_may_send_upload(store: Store) -> None:
    await store.chats.commit(ChangeMember("c", "bob", START, role=MemberRole.READER))
    with pytest.raises(RightMissing):
        await store.files.commit(reserve(member="bob"))
    await store.chats.commit(ChangeChat("c", START, archived=True))
    with pytest.raises(ChatArchived):
        await store.files.commit(reserve())


#: Their servers are no dependencies.
BUCKETS = [pytest.param(scheme, marks=pytest.mark.chaos) for scheme in SCHEMES]


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], dict[str, str]]]:
    """The environment of the clients of a server of the protocol, which is started at the first call."""
    with ExitStack() as stack:

        @functools.cache
        def start(scheme: str) -> dict[str, str]:
            return stack.enter_context(object_store_server(scheme, tmp_path_factory.mktemp(scheme)))

        yield start


@pytest.fixture
def bucket(
    servers: Callable[[str], dict[str, str]], monkeypatch: pytest.MonkeyPatch
) -> Callable[[str, str], ObjectContents]:
    """Opens a bucket of a scheme's server, by its name."""

    def opened(scheme: str, name: str) -> ObjectContents:
        for variable, value in servers(scheme).items():
            monkeypatch.setenv(variable, value)
        return bucket_contents(f"{scheme}://{name}/{uuid.uuid4()}")

    return opened


@pytest.fixture(params=["memory", "directory", "file-url", *BUCKETS])
async def contents(
    request: pytest.FixtureRequest, tmp_path: Path, bucket: Callable[[str, str], ObjectContents]
) -> AsyncIterator[ObjectContents]:
    if request.param == "memory":
        opened = bucket_contents("memory:///")
    elif request.param == "directory":
        opened = directory_contents(tmp_path / "files")
    elif request.param == "file-url":
        (tmp_path / "bucket").mkdir()
        opened = bucket_contents(f"file://{tmp_path / 'bucket'}")
    else:
        opened = bucket(request.param, "bucket")
    await opened.check()
    yield opened
    await opened.close()


async def stream(*chunks: bytes) -> AsyncIterator[bytes]:
    for chunk in chunks:
        yield chunk


async def read(contents: FileContents, key: str, start: int, end: int) -> bytes:
    return b"".join([chunk async for chunk in await contents.get(key, start, end)])


@pytest.mark.parametrize("sizes", [(1,), (3, 4), (6_000_000, 6_000_000, 1), (12_000_000,)])
async def test_a_content_is_read_as_it_was_stored(contents: FileContents, sizes: tuple[int, ...]) -> None:
    whole = b"".join(bytes([index]) * size for index, size in enumerate(sizes))
    await contents.put("key", stream(*(bytes([index]) * size for index, size in enumerate(sizes))), HEADERS)
    assert await read(contents, "key", 0, len(whole)) == whole
    assert await read(contents, "key", len(whole) - 1, len(whole)) == whole[-1:]


async def test_a_range_ends_at_the_latest_with_the_content(contents: FileContents) -> None:
    await contents.put("key", stream(b"abcdef"), HEADERS)
    assert await read(contents, "key", 2, 4) == b"cd"
    assert await read(contents, "key", 2, 1_000) == b"cdef"


async def test_a_content_of_many_parts_is_replaced_as_a_whole(contents: FileContents) -> None:
    whole = bytes(range(256)) * 100_000
    await contents.put("key", stream(b"abc"), HEADERS)
    await contents.put("key", stream(*(whole[at : at + 300_000] for at in range(0, len(whole), 300_000))), HEADERS)
    assert await read(contents, "key", 0, len(whole)) == whole
    assert await read(contents, "key", 11_000_000, 11_000_300) == whole[11_000_000:11_000_300]


@pytest.mark.chaos
@pytest.mark.parametrize("scheme", SCHEMES)
async def test_a_download_may_pause_for_longer_than_a_request_of_the_bucket_takes(
    bucket: Callable[[str, str], ObjectContents], scheme: str
) -> None:
    contents = bucket(scheme, "bucket")
    whole = bytes(range(256)) * 60_000
    await contents.put("key", stream(whole), HEADERS)
    download = await contents.get("key", 0, len(whole))
    received = await anext(download)
    await asyncio.sleep(32)  # of a client; obstore ends its requests after 30 s
    async for chunk in download:
        received += chunk
    assert received == whole


@pytest.mark.parametrize("scheme", BUCKETS)
async def test_a_bucket_signs_links_that_save_the_file(
    bucket: Callable[[str, str], ObjectContents], scheme: str
) -> None:
    contents = bucket(scheme, "bucket")
    await contents.put("a/key", stream(b"abcdef"), ContentHeaders("text/plain", "attachment; filename*=UTF-8''a%20b"))
    url = await contents.signed_url("a/key", 60)
    assert url is not None
    async with httpx.AsyncClient() as client:
        found = await client.get(url, headers={"Range": "bytes=1-2"})
        missing = await contents.signed_url("a/other", 60)
        assert (await client.get(missing or "")).status_code == 404
    assert (found.status_code, found.content) == (206, b"bc")
    assert found.headers["content-type"].startswith("text/plain")
    assert found.headers["content-disposition"] == "attachment; filename*=UTF-8''a%20b"


@pytest.mark.parametrize("sizes", [(3,), (6_000_000, 6_000_000)])
@pytest.mark.parametrize("scheme", BUCKETS)
async def test_a_bucket_that_does_not_exist_is_an_error_of_the_start_and_of_uploads(
    bucket: Callable[[str, str], ObjectContents], scheme: str, sizes: tuple[int, ...]
) -> None:
    contents = bucket(scheme, "missing")
    with pytest.raises(ValueError, match="a bucket that does not exist: create it"):
        await contents.check()
    with pytest.raises(FilesUnavailable, match="its bucket does not exist"):
        await contents.put("key", stream(*map(bytes, sizes)), HEADERS)
    await contents.delete("key")


@pytest.mark.parametrize("sizes", [(3,), (6_000_000, 6_000_000)])
@pytest.mark.parametrize("scheme", SCHEMES)
async def test_a_store_that_is_away_is_unavailable_and_does_not_prevent_the_start(
    scheme: str,
    sizes: tuple[int, ...],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    for variable, value in environment(scheme, f"http://127.0.0.1:{free_port()}", tmp_path).items():
        monkeypatch.setenv(variable, value)
    contents = bucket_contents(f"{scheme}://bucket")
    await contents.check()
    assert "the store of files does not answer; uploads fail until it does" in caplog.text
    with pytest.raises(FilesUnavailable, match="does not answer"):
        await contents.put("key", stream(*map(bytes, sizes)), HEADERS)
    with pytest.raises(FilesUnavailable, match="does not answer"):
        await contents.get("key", 0, 1)
    with pytest.raises(FilesUnavailable, match="does not answer"):
        await contents.delete("key")
    await contents.close()


async def test_the_check_of_a_slow_store_leaves_no_object(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contents_module, "_CHECK_LIMIT_S", 0.0)
    contents = directory_contents(tmp_path)
    await contents.check()
    assert contents.busy
    await until(lambda: not contents.busy)
    assert await asyncio.to_thread(lambda: list(tmp_path.iterdir())) == []
    await contents.close()


async def test_a_directory_that_refuses_files_is_an_error_of_the_start(tmp_path: Path) -> None:
    (tmp_path / "files").mkdir(mode=0o500)
    contents = bucket_contents(f"file://{tmp_path / 'files'}")
    user = os.geteuid()
    if user == 0:
        os.seteuid(65_534)  # root may write anywhere
    try:
        with pytest.raises(ValueError, match="a place that refuses files"):
            await contents.check()
    finally:
        os.seteuid(user)


async def test_an_empty_content_is_stored(contents: FileContents) -> None:
    await contents.put("key", stream(b""), HEADERS)
    await contents.delete("key")


@pytest.mark.parametrize("sizes", [(), (10,), (6_000_000, 6_000_000)])
async def test_a_content_that_breaks_off_is_not_stored(contents: FileContents, sizes: tuple[int, ...]) -> None:
    async def broken() -> AsyncIterator[bytes]:
        for size in sizes:
            yield bytes(size)
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        await contents.put("key", broken(), HEADERS)
    with pytest.raises(FileNotFoundError):
        await contents.get("key", 0, 1)


async def test_a_content_is_deleted_once_or_twice(contents: FileContents) -> None:
    await contents.put("key", stream(b"abc"), HEADERS)
    for _ in range(2):
        await contents.delete("key")
    with pytest.raises(FileNotFoundError):
        await contents.get("key", 0, 1)


async def test_an_operation_of_a_cancelled_caller_ends_before_the_store_closes(tmp_path: Path) -> None:
    contents = directory_contents(tmp_path / "files")
    began = asyncio.Event()

    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield bytes(6_000_000)
            began.set()

    uploads = [asyncio.create_task(contents.put(f"tenant-/{number}", endless(), HEADERS)) for number in range(4)]
    await began.wait()
    for upload in uploads:
        upload.cancel()
    ends = await asyncio.gather(*uploads, return_exceptions=True)
    assert [type(end) for end in ends] == [asyncio.CancelledError] * 4
    await contents.close()
    assert not contents.busy
    assert [path for path in (tmp_path / "files").rglob("*") if path.is_file()] == []
