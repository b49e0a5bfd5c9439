from __future__ import annotations

import io
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from PIL import ExifTags, Image

from roomcast.chat.commands import MemberAction, NewChat, NewMemberChange
from roomcast.chat.errors import FilesUnavailable
from roomcast.chat.files import removal as removal_module
from roomcast.chat.files.options import FileCounters, FileOptions
from roomcast.chat.files.removal import POSTPONED_FOR, FileRemoval
from roomcast.contract.moderation import Review
from roomcast.files.contents import directory_contents
from support.api_client import bearer, open_api, problem
from support.backend import START, Backend, FixedClock
from support.waiting import until

ANN, BOB, EVE = bearer("ann"), bearer("bob"), bearer("eve")
BINARY = {"Content-Type": "application/octet-stream"}
OPTIONS = FileOptions(max_bytes=100_000, max_unsent_bytes=150_000)


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[tuple[httpx.AsyncClient, Backend]]:
    async with open_api(tmp_path, auth=True, files=OPTIONS) as (client, backend):
        await backend.store.chats.commit(NewChat("c", None, None, START, "ann", ("bob",)))
        yield client, backend


@pytest.fixture
def client(api: tuple[httpx.AsyncClient, Backend]) -> httpx.AsyncClient:
    return api[0]


def picture(width: int = 40, height: int = 30, kind: str = "png") -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (width, height), "red").save(file, kind)
    return file.getvalue()


async def upload(
    client: httpx.AsyncClient, content: bytes, name: str = "a.png", headers: dict[str, str] = ANN
) -> httpx.Response:
    return await client.post("/api/chats/c/files", params={"name": name}, content=content, headers=headers | BINARY)


async def link(client: httpx.AsyncClient, file_id: str, headers: dict[str, str] = BOB) -> str:
    found = (await client.get("/api/chats/c/files", params={"id": file_id}, headers=headers)).json()["links"]
    return str(found[0]["url"])


async def send(
    client: httpx.AsyncClient, *files: str, content: str = "", headers: dict[str, str] = ANN
) -> httpx.Response:
    body = {"chatId": "c", "role": "USER", "content": content, "files": list(files)}
    return await client.post("/api/chat/messages", json=body, headers=headers)


async def test_an_edit_may_remove_the_text_or_files_but_not_all(client: httpx.AsyncClient) -> None:
    one, two = [(await upload(client, b"text", name)).json()["id"] for name in ("a.txt", "b.txt")]
    message_id = (await send(client, one, two, content="caption")).json()["id"]
    address = f"/api/chats/c/messages/{message_id}"
    edited = await client.put(address, json={"content": "", "removeFiles": [one]}, headers=ANN)
    assert edited.status_code == 201
    assert [file["id"] for file in edited.json()["attachments"]] == [two]
    address = f"/api/chats/c/messages/{edited.json()['id']}"
    refused = problem(await client.put(address, json={"content": "", "removeFiles": [two]}, headers=ANN))
    assert (refused["status"], refused["code"]) == (422, "invalid")
    assert "delete it instead" in refused["detail"]


async def test_a_picture_is_uploaded_sent_and_shown(client: httpx.AsyncClient) -> None:
    content = picture()
    response = await upload(client, content, "../secret/\u202egnp.exe\n.png")
    assert response.status_code == 201
    file = response.json()
    assert file == {
        "id": file["id"],
        "name": "gnp.exe.png",
        "type": "image/png",
        "size": len(content),
        "width": 40,
        "height": 30,
    }
    message = await send(client, file["id"])
    assert message.status_code == 201
    assert message.json()["attachments"] == [file]
    url = await link(client, file["id"])
    found = await client.get(url)
    assert (found.status_code, found.content) == (200, content)
    assert found.headers["content-type"] == "image/png"
    assert found.headers["content-disposition"] == "inline; filename*=UTF-8''gnp.exe.png"
    assert found.headers["x-content-type-options"] == "nosniff"
    assert "sandbox" in found.headers["content-security-policy"]
    # The same link for a while, so that browsers cache.
    assert await link(client, file["id"]) == url


@pytest.mark.parametrize(
    ("asked", "status", "content"),
    [
        ("bytes=0-3", 206, b"0123"),
        ("bytes=8-", 206, b"89"),
        ("bytes=-2", 206, b"89"),
        ("bytes=4-99", 206, b"456789"),
        ("bytes=0-9", 200, b"0123456789"),
        ("bytes=0-1,4-5", 200, b"0123456789"),
        ("bytes=10-", 416, None),
        ("bytes=-0", 416, None),
        ("bytes=5-4", 416, None),
    ],
)
async def test_a_part_of_a_file_is_read(
    client: httpx.AsyncClient, asked: str, status: int, content: bytes | None
) -> None:
    file = (await upload(client, b"0123456789", "a.txt")).json()
    found = await client.get(await link(client, file["id"], ANN), headers={"Range": asked})
    assert found.status_code == status
    assert content is None or found.content == content
    if status != 200:
        assert found.headers["content-range"].endswith("/10")


@pytest.mark.parametrize(
    ("content", "name", "kind"),
    [
        (b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>", "a.png", "image/svg+xml"),
        (b"<?xml version='1.0'?><svg/>", "a.svg", "image/svg+xml"),
        (b"  <!DOCTYPE html><script>alert(1)</script>", "a.jpg", "text/html"),
        (b"hello", "a.png", "text/plain"),
        (b"\0\1\2", "a.png", "application/octet-stream"),
        (b"%PDF-1.7", "a.gif", "application/pdf"),
        (b"", "a.png", "text/plain"),
    ],
)
async def test_only_pictures_are_shown_whatever_a_file_is_called(
    client: httpx.AsyncClient, content: bytes, name: str, kind: str
) -> None:
    file = (await upload(client, content, name)).json()
    assert (file["type"], file["width"]) == (kind, None)
    found = await client.get(await link(client, file["id"], ANN))
    assert found.status_code == 200
    assert found.content == content
    assert found.headers["content-disposition"].startswith("attachment;")


async def test_a_stranger_gets_nothing(client: httpx.AsyncClient) -> None:
    file = (await upload(client, picture())).json()
    url = await link(client, file["id"], ANN)
    assert problem(await upload(client, b"a", headers=EVE))["code"] == "chat-not-found"
    asked = await client.get("/api/chats/c/files", params={"id": file["id"]}, headers=EVE)
    assert problem(asked)["code"] == "chat-not-found"
    # Not sent: other members do not see it either.
    asked = await client.get("/api/chats/c/files", params={"id": file["id"]}, headers=BOB)
    assert asked.json()["links"] == []
    for wrong in (url[:-1] + ("0" if url[-1] != "0" else "1"), url.replace("expires=", "expires=1")):
        refused = problem(await client.get(wrong))
        assert refused["code"] == "file-not-found"
        assert refused["detail"].endswith("a link is valid for some minutes: ask for a new one")
    assert problem(await send(client, file["id"], headers=BOB))["code"] == "file-not-found"
    assert (await client.get(url)).status_code == 200


async def test_the_links_of_a_removed_member_end_at_once(api: tuple[httpx.AsyncClient, Backend]) -> None:
    client, backend = api
    file = (await upload(client, picture())).json()
    await send(client, file["id"])
    url, of_ann = await link(client, file["id"], BOB), await link(client, file["id"], ANN)
    assert (await client.get(url)).status_code == 200
    await backend.store.chats.commit(NewMemberChange("c", "bob", MemberAction.REMOVE, None, START))
    asked = await client.get("/api/chats/c/files", params={"id": file["id"]}, headers=BOB)
    assert problem(asked)["code"] == "chat-not-found"
    for query in ("", "&thumbnail=true"):
        assert problem(await client.get(url + query))["code"] == "file-not-found"
        # Nor is the link of another user his by its name.
        assert problem(await client.get(of_ann.replace("user=ann", "user=bob") + query))["code"] == "file-not-found"
        assert (await client.get(of_ann + query)).status_code == 200


async def test_a_file_has_a_tag_and_a_client_that_has_it_receives_nothing(client: httpx.AsyncClient) -> None:
    file = (await upload(client, b"0123456789", "a.txt")).json()
    url = await link(client, file["id"], ANN)
    tag = (await client.get(url)).headers["etag"]
    known = await client.get(url, headers={"If-None-Match": tag})
    assert (known.status_code, known.content) == (304, b"")
    part = {"Range": "bytes=0-3"}
    assert (await client.get(url, headers={**part, "If-Range": tag})).status_code == 206
    assert (await client.get(url, headers={**part, "If-Range": '"other"'})).status_code == 200


async def test_a_deleted_message_and_chat_lose_their_objects(
    api: tuple[httpx.AsyncClient, Backend], tmp_path: Path
) -> None:
    client, backend = api
    first, second = [(await upload(client, picture())).json()["id"] for _ in range(2)]
    message = (await send(client, first)).json()["id"]
    await send(client, second)
    url = await link(client, second)
    assert (await client.delete(f"/api/chats/c/messages/{message}", headers=ANN)).status_code == 204
    store = backend.store
    removal = FileRemoval(store.files, directory_contents(tmp_path / "files"), FileCounters())
    assert await removal.sweep() == 1
    kept = {path.name for path in (tmp_path / "files").rglob("*") if path.is_file()}
    assert kept == {second, f"{second}.thumbnail"}
    assert (await client.delete("/api/chats/c", headers=ANN)).status_code == 204
    assert problem(await client.get(url))["code"] == "file-not-found"
    # Nothing is erased before the relay has published the deletion.
    await until(lambda: store.chats.erase_deleted(10))
    while await store.chats.erase_deleted(10):
        pass
    assert await removal.sweep() == 1
    assert [path for path in (tmp_path / "files").rglob("*") if path.is_file()] == []
    assert await removal.sweep() == 0


async def test_files_that_cannot_be_removed_keep_no_others_waiting(
    api: tuple[httpx.AsyncClient, Backend], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    client, backend = api
    monkeypatch.setattr(removal_module, "SWEEP_SIZE", 2)
    ids = [(await upload(client, picture())).json()["id"] for _ in range(4)]
    contents, clock = directory_contents(tmp_path / "files"), FixedClock()
    delete, locked = contents.delete, set(ids)

    async def refuse(key: str) -> None:
        if key.removesuffix(".thumbnail").endswith(tuple(locked)):
            raise FilesUnavailable("the object is locked")
        await delete(key)

    monkeypatch.setattr(contents, "delete", refuse)
    for file_id in ids[:2]:
        assert (await client.delete(f"/api/chats/c/files/{file_id}", headers=ANN)).status_code == 204
    removal = FileRemoval(backend.store.files, contents, FileCounters(), clock)
    assert await removal.sweep() == 0
    locked -= {ids[2], ids[3]}
    for file_id in ids[2:]:
        assert (await client.delete(f"/api/chats/c/files/{file_id}", headers=ANN)).status_code == 204
    assert await removal.sweep() == 2
    locked.clear()
    assert await removal.sweep() == 0
    clock.advance(POSTPONED_FOR.total_seconds())
    assert await removal.sweep() == 2
    assert [path for path in (tmp_path / "files").rglob("*") if path.is_file()] == []


async def test_the_moderation_hook_sees_the_files_and_can_read_them(tmp_path: Path) -> None:
    reviews: list[Review] = []

    async def review(asked: Review) -> object:
        reviews.append(asked)
        return {"action": "refuse"} if asked.files else None

    async with open_api(tmp_path, moderate=review) as (client, backend):
        await backend.store.chats.commit(NewChat("c", None, None, START))
        file = (await upload(client, b"rude", "a.txt", {})).json()
        assert problem(await send(client, file["id"], headers={}))["code"] == "message-refused"
        ((seen,),) = [asked.files for asked in reviews]
        assert (seen.id, seen.name, seen.type, seen.size) == (file["id"], "a.txt", "text/plain", 4)
        assert (await client.get(seen.url)).content == b"rude"


async def test_a_message_has_a_text_or_files(client: httpx.AsyncClient) -> None:
    found = problem(await send(client))
    assert (found["code"], found["errors"][0]["pointer"]) == ("invalid", "/content")
    files = [(await upload(client, b"a", "a.txt")).json()["id"] for _ in range(11)]
    assert problem(await send(client, *files))["code"] == "invalid"
    assert (await send(client, *files[:10])).status_code == 201
    assert problem(await send(client, files[0], content="again"))["code"] == "file-not-found"


async def test_what_is_too_large_is_refused_and_leaves_nothing(client: httpx.AsyncClient, tmp_path: Path) -> None:
    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield bytes(10_000)

    assert problem(await upload(client, bytes(100_001)))["code"] == "too-large"
    response = await client.post("/api/chats/c/files", params={"name": "a"}, content=endless(), headers=ANN | BINARY)
    assert problem(response)["code"] == "too-large"
    assert [path for path in (tmp_path / "files").rglob("*") if path.is_file()] == []
    assert (await upload(client, bytes(100_000))).status_code == 201
    assert problem(await upload(client, bytes(100_000)))["code"] == "file-limit"


async def test_an_upload_needs_the_type_that_no_form_sends(client: httpx.AsyncClient) -> None:
    for kind in ("text/plain", "multipart/form-data; boundary=a", "application/json"):
        response = await client.post(
            "/api/chats/c/files", params={"name": "a"}, content=b"a", headers=ANN | {"Content-Type": kind}
        )
        assert problem(response)["code"] == "unsupported-media-type"


async def test_an_empty_file_has_a_type_too(client: httpx.AsyncClient) -> None:
    url = "/api/chats/c/files?name=a"
    assert problem(await client.post(url, headers=ANN))["code"] == "unsupported-media-type"
    assert (await client.post(url, headers=ANN | BINARY)).json()["size"] == 0


async def test_a_wrong_method_is_named_before_a_type(client: httpx.AsyncClient) -> None:
    answer = await client.put("/api/chats/c/files?name=a", content=b"x", headers=ANN | BINARY)
    assert (answer.status_code, answer.headers["allow"]) == (405, "GET, HEAD, POST")


async def test_a_discarded_file_is_gone(client: httpx.AsyncClient) -> None:
    file = (await upload(client, b"a", "a.txt")).json()
    url = await link(client, file["id"], ANN)
    path = f"/api/chats/c/files/{file['id']}"
    assert problem(await client.delete(path, headers=BOB))["code"] == "file-not-found"
    assert (await client.delete(path, headers=ANN)).status_code == 204
    assert problem(await client.get(url))["code"] == "file-not-found"
    assert problem(await send(client, file["id"]))["code"] == "file-not-found"


async def test_a_server_says_which_files_it_accepts(tmp_path: Path) -> None:
    options = FileOptions(max_bytes=5, types=("image/*", "application/pdf"))
    async with open_api(tmp_path, files=options) as (client, backend):
        await backend.store.chats.commit(NewChat("c", None, None, START))
        assert (await client.get("/api/config")).json()["files"] == {
            "maxBytes": 5,
            "types": ["image/*", "application/pdf"],
        }
        found = problem(await upload(client, b"text", "a.pdf", {}))
        assert (found["code"], found["status"]) == ("file-type", 415)
        assert (await upload(client, b"%PDF-", "a", {})).json()["type"] == "application/pdf"


async def test_a_thumbnail_is_small_turned_and_without_metadata(client: httpx.AsyncClient) -> None:
    file = io.BytesIO()
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    exif[ExifTags.Base.Artist] = "Ann"
    Image.new("RGB", (1600, 800), "red").save(file, "jpeg", exif=exif, quality=30)
    uploaded = (await upload(client, file.getvalue(), "a.jpg")).json()
    assert (uploaded["width"], uploaded["height"]) == (800, 1600)
    url = await link(client, uploaded["id"], ANN)
    found = await client.get(f"{url}&thumbnail=true")
    assert found.headers["content-type"] == "image/webp"
    assert "sandbox" in found.headers["content-security-policy"]
    with Image.open(io.BytesIO(found.content)) as small:
        assert small.size == (320, 640)
        assert not small.getexif()
    assert (await client.get(url)).content == file.getvalue()
    assert (await client.delete(f"/api/chats/c/files/{uploaded['id']}", headers=ANN)).status_code == 204
    assert (await client.get(f"{url}&thumbnail=true")).status_code == 404


async def test_an_image_that_cannot_be_decoded_is_shown_itself(client: httpx.AsyncClient) -> None:
    cut = picture(400, 300, "jpeg")[:700]
    file = (await upload(client, cut, "a.jpg")).json()
    found = await client.get(f"{await link(client, file['id'], ANN)}&thumbnail=true")
    assert (found.headers["content-type"], found.content) == ("image/jpeg", cut)
