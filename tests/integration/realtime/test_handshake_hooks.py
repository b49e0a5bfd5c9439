"""``allow_request``, ``initial_headers``, ``cookie`` and compressed polling responses."""

from __future__ import annotations

import asyncio
import gzip
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from roomcast.realtime import (
    ConnectionRefusedError,  # noqa: A004 - python-socketio's name
    CookieOptions,
    Handshake,
    Server,
    ServerOptions,
)

HERE = Path(__file__).parent
NODE_SERVER = HERE.parent / "adapters/node/node_modules/socket.io/wrapper.mjs"


async def allow(handshake: Handshake) -> bool:
    await asyncio.sleep(0.001)
    token = handshake.headers.get("x-token")
    if token == "banned":
        raise ConnectionRefusedError("You are banned")
    return token == "t"


def emitting(server: Server) -> Server:
    @server.on("big")
    async def big(sid: str, size: int) -> None:
        await server.emit("text", "x" * size, to=sid)

    return server


@pytest.mark.node
async def test_the_responses_are_those_of_nodes_server(serving: Any) -> None:
    node = shutil.which("node")
    assert node is not None
    assert NODE_SERVER.exists(), "run: make .make/node-peers"
    options = ServerOptions(
        allow_request=allow, cookie=CookieOptions(), initial_headers=lambda handshake: [("X-First", "yes")]
    )
    async with serving(emitting(Server(options))) as running:
        process = await asyncio.create_subprocess_exec(
            node,
            str(HERE / "js/handshake.mjs"),
            str(NODE_SERVER),
            running.url,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, err = await process.communicate()
    assert process.returncode == 0, err.decode()
    seen = json.loads(out)
    assert seen["other"] == seen["node"]
    assert seen["node"][1][:2] == [403, '{"code":4,"message":"You are banned"}']
    assert seen["node"][2][2:] == ["io=SID; Path=/; HttpOnly; SameSite=Lax", None, "yes"]


def websocket(running: Any, token: str, **options: Any) -> connect:
    return running.websocket(additional_headers={"x-token": token}, **options)  # type: ignore[no-any-return]


@pytest.mark.parametrize("plain", [False, True], ids=["fast path", "plain ASGI"])
async def test_a_websocket_waits_for_the_decision_and_is_refused_or_opened(serving: Any, plain: bool) -> None:
    def headers(handshake: Handshake) -> list[tuple[str, str]]:
        return [("X-First", handshake.query["EIO"]), ("X-Split", "a\r\nb: c")]

    options = ServerOptions(allow_request=allow, initial_headers=headers)
    async with serving(Server(options), plain=plain) as running:
        async with websocket(running, "t") as accepted:
            assert accepted.response.headers["x-first"] == "4"
            assert "x-split" not in accepted.response.headers
            assert str(await accepted.recv()).startswith("0{")
            await accepted.send("40")
            assert str(await accepted.recv()).startswith("40")
        for token, message in (("banned", "You are banned"), ("other", "Forbidden")):
            with pytest.raises(InvalidStatus) as refused:
                await websocket(running, token)
            assert refused.value.response.status_code == 403
            if not plain:
                assert json.loads(refused.value.response.body or b"") == {"code": 4, "message": message}
        assert running.server.connections <= 1


@pytest.mark.parametrize("plain", [False, True], ids=["fast path", "plain ASGI"])
async def test_a_request_is_refused_if_the_function_fails_or_takes_too_long(
    serving: Any, plain: bool, caplog: pytest.LogCaptureFixture
) -> None:
    async def decide(handshake: Handshake) -> bool:
        if "slow" in handshake.headers.get("x-token", ""):
            await asyncio.Event().wait()
        raise LookupError("secret")

    options = ServerOptions(allow_request=decide, connect_timeout_s=0.1)
    async with serving(Server(options), plain=plain) as running:
        for token in ("slow", "failing"):
            with pytest.raises(InvalidStatus):
                await websocket(running, token)
            answer = await running.http("GET", "/socket.io/?EIO=4&transport=polling", headers={"x-token": token})
            assert (answer.status, answer.body) == (403, b'{"code":4,"message":"Forbidden"}')
        assert running.server.engine.admitting == 0
    assert "allow_request failed" in caplog.text


HEAD = (
    b"GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\n"
    b"sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


async def test_what_a_client_sends_before_the_decision_is_read_after_it(serving: Any, until: Any) -> None:
    decided = asyncio.Event()

    async def decide(handshake: Handshake) -> bool:
        await decided.wait()
        return True

    async with serving(Server(ServerOptions(allow_request=decide))) as running:
        reader, writer = await running.raw(HEAD)
        _, gone = await running.raw(HEAD)
        await until(lambda: running.server.engine.admitting == 2)
        writer.write(b"\x81\x82\x00\x00\x00\x0040")
        gone.close()
        await gone.wait_closed()
        decided.set()
        received = b""
        while b'40{"sid"' not in received:
            received += await reader.readexactly(1)
        assert received.startswith(b"HTTP/1.1 101")
        writer.close()


async def test_the_requests_that_wait_for_a_decision_count_as_sessions_without_a_namespace(
    serving: Any, until: Any
) -> None:
    decided = asyncio.Event()

    async def decide(handshake: Handshake) -> bool:
        await decided.wait()
        return True

    options = ServerOptions(allow_request=decide, max_connections=4)
    async with serving(Server(options)) as running:
        polls = [asyncio.create_task(running.http("GET", "/socket.io/?EIO=4&transport=polling")) for _ in range(2)]
        await until(lambda: running.server.engine.admitting == 2)
        assert (await running.http("GET", "/socket.io/?EIO=4&transport=polling")).status == 503
        decided.set()
        statuses = [(await poll).status for poll in polls]
    assert statuses == [200, 200]


@pytest.mark.parametrize("size", [2_000, 200_000])
@pytest.mark.parametrize("threshold", [1024, None])
async def test_a_polling_response_is_compressed_from_the_threshold_on(
    serving: Any, size: int, threshold: int | None
) -> None:
    server = emitting(Server(ServerOptions(http_compression_threshold_bytes=threshold)))
    async with serving(server) as running:
        sid = await running.poll_open()
        await running.post(sid, b"40")
        await running.poll(sid)
        await running.post(sid, b'42["big",%d]' % size)
        path = f"/socket.io/?EIO=4&transport=polling&sid={sid}"
        answer = await running.http("GET", path, headers={"accept-encoding": "br, gzip"})
    expected = b'42["text","%b"]' % (b"x" * size)
    if threshold is None:
        assert (answer.headers.get("content-encoding"), answer.body) == (None, expected)
    else:
        assert answer.headers["content-encoding"] == "gzip"
        assert gzip.decompress(answer.body) == expected
