"""HTTP long-polling as the protocol documents describe it, one request at a time."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from roomcast.realtime import Server, ServerOptions

POLLING = "/socket.io/?EIO=4&transport=polling"


async def test_the_open_packet_has_exactly_the_documented_keys(until: Any, serving: Any) -> None:
    async with serving(Server()) as running:
        answer = await running.http("GET", POLLING)
    assert answer.status == 200
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    opened = json.loads(answer.body[1:])
    assert opened.pop("sid")
    assert opened == {"upgrades": ["websocket"], "pingInterval": 25000, "pingTimeout": 20000, "maxPayload": 1_000_000}


@pytest.mark.parametrize(
    ("method", "query", "status", "code"),
    [
        ("GET", "transport=polling", 400, 5),
        ("GET", "EIO=3&transport=polling", 400, 5),
        ("GET", "EIO=4", 400, 0),
        ("GET", "EIO=4&transport=carrier-pigeon", 400, 0),
        ("POST", "EIO=4&transport=polling", 400, 2),
        ("PUT", "EIO=4&transport=polling", 400, 2),
        ("GET", "EIO=4&transport=polling&sid=unknown", 400, 1),
        ("GET", "EIO=4&transport=websocket", 400, 3),
    ],
)
async def test_a_bad_request_gets_nodes_status_and_body(
    until: Any, serving: Any, method: str, query: str, status: int, code: int
) -> None:
    async with serving(Server()) as running:
        answer = await running.http(method, f"/socket.io/?{query}")
    assert answer.status == status
    assert json.loads(answer.body)["code"] == code
    assert answer.headers["content-type"] == "application/json"


async def test_a_second_poll_ends_the_session(until: Any, serving: Any) -> None:
    async with serving(Server()) as running:
        sid = await running.poll_open()
        first = asyncio.create_task(running.poll(sid))
        await until(lambda: any(c.session._poll_pending for c in running.server.engine.connections.values()))
        second = await running.poll(sid)
        assert (second.status, (await first).body) == (400, b"1")
        assert (await running.poll(sid)).status == 400


async def test_an_aborted_poll_ends_the_session(until: Any, serving: Any, recording: Any) -> None:
    async with serving(Server(observer=recording)) as running:
        sid = await running.poll_open()
        _, writer = await running.raw(f"GET {POLLING}&sid={sid} HTTP/1.1\r\nhost: x\r\n\r\n".encode())
        await until(lambda: any(c.session._poll_pending for c in running.server.engine.connections.values()))
        writer.close()
        await until(lambda: not running.server.connections)
        assert (await running.poll(sid)).status == 400
    assert [reason.value for _, reason in recording.of("connection_closed")] == ["transport error"]


async def test_a_closing_post_releases_the_poll_and_ends_the_session(until: Any, serving: Any) -> None:
    async with serving(Server()) as running:
        sid = await running.poll_open()
        poll = asyncio.create_task(running.poll(sid))
        await until(lambda: any(c.session._poll_pending for c in running.server.engine.connections.values()))
        assert (await running.post(sid, b"1")).body == b"ok"
        assert (await poll).body == b"6"
        assert (await running.poll(sid)).status == 400


async def test_emits_between_polls_are_returned_by_the_next_poll_in_order(until: Any, serving: Any) -> None:
    server = Server()

    @server.on("burst")
    def burst(sid: str, count: int) -> str:
        for number in range(count):
            server.socket(sid).emit("n", number, b"\x01" if number == 1 else None)
        return "done"

    async with serving(server) as running:
        sid = await running.poll_open()
        await running.post(sid, b'40\x1e427["burst",3]')
        packets = (await running.poll(sid)).body.split(b"\x1e")
        assert packets[0].startswith(b"40{")
        assert packets[1:] == [
            b'42["n",0,null]',
            b'451-["n",1,{"_placeholder":true,"num":0}]',
            b"bAQ==",
            b'42["n",2,null]',
            b'437["done"]',
        ]


@pytest.mark.parametrize("chunked", [False, True])
async def test_an_oversize_body_is_refused_while_it_is_read_and_session_and_connection_stay_open(
    serving: Any, chunked: bool
) -> None:
    async with serving(Server(ServerOptions(max_payload_bytes=1000))) as running:
        sid = await running.poll_open()
        head = f"POST {POLLING}&sid={sid} HTTP/1.1\r\nhost: x\r\n"
        if chunked:
            data = head.encode() + b"transfer-encoding: chunked\r\n\r\n" + (b"100\r\n" + b"4" * 256 + b"\r\n") * 8
            rest = b"0\r\n\r\n"
        else:
            data = head.encode() + b"content-length: 900000\r\n\r\n"
            rest = b"4" * 900_000
        reader, writer = await running.raw(data)
        assert (await asyncio.wait_for(reader.readuntil(b"\r\n\r\nContent Too Large"), 5)).startswith(b"HTTP/1.1 413 ")
        # A proxy sends the rest all the same.
        writer.write(rest + head.encode() + b"content-length: 2\r\n\r\n40")
        assert (await asyncio.wait_for(reader.readuntil(b"ok"), 5)).startswith(b"HTTP/1.1 200 ")
        writer.close()


@pytest.mark.parametrize(
    "body",
    [b"abc", b"4abc", b"42{}", b'42abc["x"]', b"4" + b"[" * 500, b'42["connect"]', b'4511-["x"]', b"\xff", b"b!!"],
)
async def test_a_malformed_post_ends_that_session_only(until: Any, serving: Any, recording: Any, body: bytes) -> None:
    async with serving(Server(observer=recording)) as running:
        other, sid = await running.poll_open(), await running.poll_open()
        await running.post(sid, b"40")
        await running.poll(sid)
        await running.post(sid, body)
        last = await running.poll(sid)
        assert last.status == 400 or last.body == b"1"
        assert (await running.poll(sid)).status == 400
        assert (await running.post(other, b"40")).body == b"ok"
        assert len(recording.of("peer_malformed")) == 1


async def test_a_client_that_does_not_poll_is_closed_at_its_outbox_limit(
    until: Any, serving: Any, recording: Any
) -> None:
    server = Server(ServerOptions(outbox_limit_bytes=10_000), observer=recording)
    async with serving(server) as running:
        sid = await running.poll_open()
        await running.post(sid, b"40")
        await running.poll(sid)
        for _ in range(20):
            await server.emit("x", "y" * 1000)
        await until(lambda: not running.server.connections)
        (slow,) = recording.of("peer_slow")
        assert slow[1] > 10_000
        assert (await running.poll(sid)).status == 400


async def test_a_session_without_a_pong_ends_after_interval_and_timeout(
    until: Any, serving: Any, recording: Any
) -> None:
    options = ServerOptions(ping_interval_s=0.05, ping_timeout_s=0.05)
    async with serving(Server(options, observer=recording)) as running:
        sid = await running.poll_open()
        assert (await running.poll(sid)).body == b"2"
        assert (await running.post(sid, b"3")).body == b"ok"
        assert (await running.poll(sid)).body == b"2"
        poll = await running.poll(sid)
        assert poll.status == 400 or poll.body == b"1"
    assert recording.of("connection_closed")[0][1].value == "ping timeout"


async def test_an_upgrade_neither_loses_nor_repeats_nor_reorders_messages(until: Any, serving: Any) -> None:
    server = Server()

    async with serving(server) as running:
        sid = await running.poll_open()
        await running.post(sid, b"40")
        assert (await running.poll(sid)).body.startswith(b"40")
        sent = iter(range(10_000))
        got: list[int] = []

        def emit(times: int) -> None:
            (socket,) = server.sockets()
            for _ in range(times):
                socket.emit("n", next(sent))

        def take(packets: list[str]) -> None:
            got.extend(json.loads(p[2:])[1] for p in packets if p.startswith("42"))

        emit(3)
        async with running.websocket(f"EIO=4&transport=websocket&sid={sid}") as websocket:
            emit(1)
            await websocket.send("2probe")
            emit(1)
            assert await websocket.recv() == "3probe"
            take((await running.poll(sid)).body.decode().split("\x1e"))
            emit(2)
            assert (await running.poll(sid)).body  # released soon while the upgrade is under way
            take(["42" + json.dumps(["n", n]) for n in (5, 6)])
            emit(2)
            await websocket.send("5")
            emit(2)
            await websocket.send('420["none"]')
            while len(got) < 11:
                take([str(await asyncio.wait_for(websocket.recv(), 5))])
            assert (await running.poll(sid)).status == 400
            assert (await running.post(sid, b"3")).status == 400
        assert got == list(range(11))


async def test_a_probe_that_is_not_followed_by_an_upgrade_leaves_the_session_on_polling(
    until: Any, serving: Any
) -> None:
    server = Server(ServerOptions(upgrade_timeout_s=0.05, ping_interval_s=5, ping_timeout_s=5))
    async with serving(server) as running:
        sid = await running.poll_open()
        async with running.websocket(f"EIO=4&transport=websocket&sid={sid}") as websocket:
            await websocket.send("2probe")
            assert await websocket.recv() == "3probe"
            await asyncio.wait_for(websocket.wait_closed(), 5)
        await running.post(sid, b"40")
        assert (await running.poll(sid)).body.startswith(b"40")


async def test_a_full_inbox_delays_the_response_to_a_post(until: Any, serving: Any) -> None:
    server = Server(ServerOptions(handler_concurrency=2, inbox_limit=2))
    gate = asyncio.Event()
    started: list[int] = []

    @server.on("work")
    async def work(sid: str, number: int) -> None:
        started.append(number)
        await gate.wait()

    async with serving(server) as running:
        sid = await running.poll_open()
        await running.post(sid, b"40")
        await running.poll(sid)
        body = b"\x1e".join(b'42["work",%d]' % number for number in range(6))
        post = asyncio.create_task(running.post(sid, body))
        done, _ = await asyncio.wait({post}, timeout=0.1)
        assert not done
        assert started == [0, 1]
        gate.set()
        assert (await post).body == b"ok"
        assert started == [0, 1, 2, 3, 4, 5]


async def test_a_post_of_events_ends_although_their_handlers_wait_for_acknowledgements(serving: Any) -> None:
    server = Server(ServerOptions(handler_concurrency=2, inbox_limit=3))

    @server.on("work")
    async def work(sid: str, number: int) -> Any:
        return await server.call("question", number, to=sid, timeout=5)

    async with serving(server) as running:
        sid = await running.poll_open()
        await running.post(sid, b"40")
        await running.poll(sid)
        body = b"\x1e".join(b'42%d["work",%d]' % (number, number) for number in range(40))
        assert (await asyncio.wait_for(running.post(sid, body), 5)).body == b"ok"
        answered: list[str] = []
        while len(answered) < 40:
            packets = (await asyncio.wait_for(running.poll(sid), 5)).body.decode().split("\x1e")
            answered += [packet for packet in packets if packet.startswith("43")]
            questions = [packet[2:].split('["question",') for packet in packets if packet.startswith("42")]
            if questions:
                await running.post(sid, "\x1e".join(f"43{ack}[{args}" for ack, args in questions).encode())
        assert sorted(answered) == sorted(f"43{number}[{number}]" for number in range(40))


async def test_a_preflight_names_methods_and_headers_for_an_allowed_origin_only(until: Any, serving: Any) -> None:
    server = Server(ServerOptions(cors_allowed_origins=("https://chat.example",)))
    async with serving(server) as running:
        asked = {"access-control-request-headers": "content-type", "access-control-request-method": "POST"}
        answer = await running.http("OPTIONS", POLLING, headers={"origin": "https://chat.example", **asked})
        assert answer.status == 204
        assert answer.headers["access-control-allow-origin"] == "https://chat.example"
        assert answer.headers["access-control-allow-credentials"] == "true"
        assert answer.headers["access-control-allow-headers"] == "content-type"
        assert answer.headers["vary"] == "origin"
        refused = await running.http("OPTIONS", POLLING, headers={"origin": "https://chat.example.evil", **asked})
        assert "access-control-allow-origin" not in refused.headers


async def test_other_paths_answer_404_or_belong_to_the_wrapped_application(until: Any, serving: Any) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            assert (await receive())["type"] == "lifespan.startup"
            await send({"type": "lifespan.startup.complete"})
            assert (await receive())["type"] == "lifespan.shutdown"
            await send({"type": "lifespan.shutdown.complete"})
            return
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"ok"})

    async with serving(Server()) as running:
        answer = await running.http("GET", "/health")
        assert (answer.status, answer.body) == (404, b"Not Found")
    async with serving(Server(), app) as running:
        assert (await running.http("GET", "/health")).body == b"ok"


async def test_unfinished_bodies_share_a_budget_and_the_oldest_is_refused(until: Any, serving: Any) -> None:
    server = Server(ServerOptions(unfinished_limit_bytes=1_000_000, connect_timeout_s=60, ping_interval_s=60))
    async with serving(server) as running:
        posts = []
        for _ in range(6):
            sid = await running.poll_open()
            head = f"POST {POLLING}&sid={sid} HTTP/1.1\r\nhost: x\r\ncontent-length: 200001\r\n\r\n"
            posts.append(await running.raw(head.encode() + b"4" + b"x" * 199_999))
            expected_bytes = 200_000 * min(len(posts), 5)
            await until(lambda size_bytes=expected_bytes: server.engine.unfinished.size_bytes == size_bytes)
        for reader, writer in posts:
            writer.write(b"x")
            answer = await reader.readuntil(b"\r\n")
            assert answer.startswith(b"HTTP/1.1 413 ") == (writer is posts[0][1])
            writer.close()
        assert server.engine.unfinished.size_bytes == 0
