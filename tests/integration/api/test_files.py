"""Files of a real server: in a bucket of S3's protocol, and while the server stops."""

from __future__ import annotations

import asyncio
import io
import signal
from collections.abc import AsyncIterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest
from PIL import Image

from support.object_stores import SCHEMES, object_store_server
from support.ports import free_port
from support.processes import Roomcast, run_roomcast
from support.waiting import until

BINARY = {"Content-Type": "application/octet-stream"}


async def upload(client: httpx.AsyncClient, name: str, content: bytes | AsyncIterator[bytes]) -> httpx.Response:
    return await client.post("/api/chats/c/files", params={"name": name}, content=content, headers=BINARY)


async def link(client: httpx.AsyncClient, file_id: str) -> str:
    found = await client.get("/api/chats/c/files", params={"id": file_id})
    return str(found.json()["links"][0]["url"])


@pytest.mark.chaos  # its server is no dependency
@pytest.mark.parametrize("scheme", SCHEMES)
async def test_a_bucket_serves_files_itself_and_the_server_serves_images(scheme: str, tmp_path: Path) -> None:
    picture = io.BytesIO()
    Image.new("RGB", (900, 600), "red").save(picture, "png")
    long = bytes(range(256)) * 60_000  # several parts
    with ExitStack() as stack:
        env = stack.enter_context(object_store_server(scheme, tmp_path))
        files = {"ROOMCAST_FILES_URL": f"{scheme}://bucket/files"}
        with Roomcast.up(tmp_path / "data", env={**env, **files}) as server:
            async with httpx.AsyncClient(base_url=server.api_url, timeout=30) as client:
                file = (await upload(client, "a b.bin", long)).json()
                url = await link(client, file["id"])
                moved = await client.get(url)
                assert moved.status_code == 307
                target = moved.headers["location"]
                assert f"/bucket/files/tenant-/{file['id']}?" in target
                found = await client.get(target, headers={"Range": "bytes=0-3"})
                assert (found.status_code, found.content) == (206, long[:4])
                assert found.headers["content-disposition"] == "attachment; filename*=UTF-8''a%20b.bin"
                assert found.headers["content-type"] == "application/octet-stream"

                image = (await upload(client, "a.png", picture.getvalue())).json()
                shown = await link(client, image["id"])
                assert (await client.get(shown)).content == picture.getvalue()
                assert (await client.get(f"{shown}&thumbnail=true")).headers["content-type"] == "image/webp"

                assert (await client.delete(f"/api/chats/c/files/{file['id']}")).status_code == 204
                assert (await client.get(url)).status_code == 404

                async def gone() -> bool:
                    return (await client.get(target)).status_code == 404

                await until(gone)


def test_a_bucket_that_cannot_be_used_is_an_error_of_the_start(tmp_path: Path) -> None:
    port = str(free_port())
    command = ("up", "--one-port", "--api-port", port, "--data", str(tmp_path))
    ended = run_roomcast(*command, env={"ROOMCAST_FILES_URL": "az://bucket/path"}, timeout_s=50)
    assert ended.returncode == 2, ended.stderr
    assert "ROOMCAST_FILES_URL cannot be used: Generic MicrosoftAzure error: Account must be specified" in ended.stderr
    assert "Traceback" not in ended.stderr


async def test_a_server_that_stops_ends_its_uploads_and_leaves_none_of_them(tmp_path: Path) -> None:
    with Roomcast.up(tmp_path / "data") as server:
        async with httpx.AsyncClient(base_url=server.api_url, timeout=30) as client:
            began = asyncio.Event()

            async def slow() -> AsyncIterator[bytes]:
                for _ in range(1_000):
                    yield bytes(200_000)
                    began.set()
                    await asyncio.sleep(0.02)  # the speed of a client

            uploads = [asyncio.create_task(upload(client, "a.bin", slow())) for _ in range(4)]
            await began.wait()
            code, _ = await asyncio.to_thread(server.stop, signal.SIGTERM)
            ends = await asyncio.gather(*uploads, return_exceptions=True)
        assert code == 0
        # The error may be lost with the connection, which the client still writes to.
        assert all(isinstance(end, httpx.TransportError) or end.status_code == 503 for end in ends)
        assert "Traceback" not in server.output
    assert [path for path in (tmp_path / "data/files").rglob("*") if path.is_file()] == []
