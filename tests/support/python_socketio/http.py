"""Cases of HTTP: origins, errors, paths, files, the lifespan."""

from __future__ import annotations

import asyncio
import json
import tempfile
from pathlib import Path
from typing import Any

from support.python_socketio.world import LIMIT_S, World

OPEN = "/socket.io/?EIO=4&transport=polling"


async def _get(world: World, path: str, method: str = "GET", body: bytes | None = None, **headers: str) -> Any:
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    async with world.http.request(method, world.base + path, headers=names, data=body) as answer:
        text = await answer.text()
        return answer.status, {name.lower(): value for name, value in answer.headers.items()}, text


async def _cors(world: World, origins: Any, candidates: list[str | None]) -> Any:
    world.server(cors_allowed_origins=origins)
    await world.host()
    seen = []
    for origin in candidates:
        origin_ = world.base if origin == "own" else origin
        headers = {} if origin_ is None else {"Origin": origin_}
        status, fields, _ = await _get(world, OPEN, **headers)
        allowed = fields.get("access-control-allow-origin")
        # A refusal is 400 there and 403 in Engine.IO's own server; `refusal_status` compares them.
        seen.append([origin, status == 200, {None: None, world.base: "own"}.get(allowed, allowed)])
    return seen


CANDIDATES = [None, "own", "http://a.example", "http://b.example", "null"]


def _origins(origins: Any) -> Any:
    async def case(world: World) -> Any:
        return await _cors(world, origins, CANDIDATES)

    return case


origins_default = _origins(None)
origins_any = _origins("*")
origins_any_in_a_list = _origins(["*"])
origins_unchecked = _origins([])
origins_one = _origins("http://a.example")
origins_several = _origins(["http://a.example", "http://b.example"])
origins_function = _origins(lambda origin: origin == "http://a.example")
origins_function_with_environ = _origins(lambda origin, environ: environ.get("HTTP_ORIGIN") == "http://b.example")


async def origins_behind_a_proxy(world: World) -> Any:
    world.server()
    await world.host()
    answers = [
        await _get(
            world, OPEN, Origin="https://chat.example", X_Forwarded_Host="chat.example", X_Forwarded_Proto="https"
        ),
        await _get(world, OPEN, Origin=world.base.replace("http", "https"), X_Forwarded_Proto="https"),
    ]
    return [status == 200 for status, _, _ in answers]


async def refusal_status(world: World) -> Any:
    world.server()
    await world.host()
    return (await _get(world, OPEN, Origin="http://a.example"))[0]


async def preflight(world: World) -> Any:
    world.server(cors_allowed_origins="http://a.example")
    await world.host()
    status, headers, _ = await _get(
        world,
        OPEN,
        "OPTIONS",
        Origin="http://a.example",
        Access_Control_Request_Headers="x-a",
        Access_Control_Request_Method="POST",
    )
    names = ("access-control-allow-origin", "access-control-allow-headers", "access-control-allow-credentials")
    return [status < 300, [headers.get(name) for name in names]]


async def credentials(world: World) -> Any:
    seen = []
    for allowed in (True, False):
        world.server(cors_allowed_origins="http://a.example", cors_credentials=allowed)
        await world.host()
        _, headers, _ = await _get(world, OPEN, Origin="http://a.example")
        seen.append(headers.get("access-control-allow-credentials"))
    return seen


async def open_packet(world: World) -> Any:
    world.server(ping_interval=7, ping_timeout=3, max_http_buffer_size=5000)
    await world.host()
    packet = json.loads((await _get(world, OPEN))[2][1:])
    return {name: value for name, value in packet.items() if name != "sid"}


async def http_errors(world: World) -> Any:
    world.server()
    await world.host()
    seen = []
    for method, path in (
        ("GET", OPEN + "&sid=unknown"),
        ("POST", OPEN),
        ("GET", "/socket.io/?EIO=3&transport=polling"),
        ("GET", "/socket.io/?EIO=4&transport=pigeon"),
        ("GET", "/socket.io/"),
        ("PUT", OPEN),
    ):
        seen.append([method, (await _get(world, path, method))[0]])
    return seen


async def transports(world: World) -> Any:
    world.server(transports=["websocket"])
    await world.host()
    status, _, _ = await _get(world, OPEN)
    return [status, (await world.connect()).got]


async def too_large_a_message(world: World) -> Any:
    world.server(max_http_buffer_size=1000)
    peer = await world.open()
    await peer.emit("say", "x" * 2000)
    await asyncio.wait_for(peer.ended.wait(), LIMIT_S)
    return [item[0] for item in peer.got]


async def a_cookie(world: World) -> Any:
    world.server(cookie={"name": "io", "Path": "/", "HttpOnly": True, "SameSite": "Lax"})
    await world.host()
    _, headers, text = await _get(world, OPEN)
    return headers.get("set-cookie", "").replace(json.loads(text[1:])["sid"], "<sid>")


async def a_cookie_by_name(world: World) -> Any:
    world.server(cookie="io")
    await world.host()
    _, headers, text = await _get(world, OPEN)
    parts = headers.get("set-cookie", "").replace(json.loads(text[1:])["sid"], "<sid>").split("; ")
    return sorted(part.lower() for part in parts)


async def compression(world: World) -> Any:
    world.server(http_compression=True, compression_threshold=10)
    await world.host()
    _, headers, _ = await _get(world, OPEN, Accept_Encoding="gzip")
    return headers.get("content-encoding")


async def paths(world: World) -> Any:
    seen = []
    for path, requests in (
        ("socket.io", ["/socket.io/", "/socket.io", "/socket.io/x", "/socket.iox", "/"]),
        ("/ws/chat/", ["/ws/chat/", "/ws/chat", "/ws/"]),
        ("", ["/", "/x/y"]),
        (None, ["/", "/x/y"]),
    ):
        world.server()
        await world.host(world.lib.ASGIApp(world.sio, socketio_path=path))
        for request in requests:
            status, _, _ = await _get(world, f"{request}?EIO=4&transport=polling")
            seen.append([path, request, status])
    return seen


async def _other(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "lifespan":
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.complete"})
        return
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"other " + scope["path"].encode()})


async def another_application(world: World) -> Any:
    world.server()
    await world.host(world.lib.ASGIApp(world.sio, _other))
    return [(await _get(world, path))[2] for path in ("/", "/a/b")] + [(await _get(world, OPEN))[0]]


async def static_files(world: World) -> Any:
    world.server()
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        (root / "index.html").write_text("<p>index")
        (root / "static" / "deep").mkdir(parents=True)
        (root / "static" / "a.js").write_text("a()")
        (root / "static" / "deep" / "b.css").write_text("b {}")
        (root / "static" / "index.html").write_text("<p>static")
        (root / "secret.txt").write_text("secret")
        files = {
            "/": str(root / "index.html"),
            "/static": str(root / "static"),
            "/dir/": str(root / "static") + "/",
            "/typed": {"filename": str(root / "static" / "a.js"), "content_type": "text/x-typed"},
        }
        await world.host(world.lib.ASGIApp(world.sio, static_files=files))
        seen = []
        for path in (
            "/",
            "/static/a.js",
            "/static/deep/b.css",
            "/dir/",
            "/dir/a.js",
            "/typed",
            "/static/none",
            "/none",
            "/static/",
        ):
            status, headers, text = await _get(world, path)
            seen.append(
                [
                    path,
                    status,
                    headers["content-type"].split(";")[0].replace("text/javascript", "application/javascript"),
                    text,
                ]
            )
        return seen


async def mounted(world: World) -> Any:
    from starlette.applications import Starlette

    world.server()
    app = Starlette()
    app.mount("/ws", world.lib.ASGIApp(world.sio, socketio_path="/ws/socket.io"))
    await world.host(app)
    peer = await world.open(path="ws/socket.io")
    return [peer.got, await peer.ask("sync")]


async def mounted_with_an_empty_path(world: World) -> Any:
    from starlette.applications import Starlette

    world.server()
    app = Starlette()
    app.mount("/ws/socket.io", world.lib.ASGIApp(world.sio, socketio_path=""))
    await world.host(app)
    peer = await world.open(path="ws/socket.io")
    return [peer.got, await peer.ask("sync")]


async def mounted_with_the_default_path(world: World) -> Any:
    from starlette.applications import Starlette

    world.server()
    app = Starlette()
    app.mount("/ws", world.lib.ASGIApp(world.sio))
    await world.host(app)
    peer = await world.connect(path="ws/socket.io")
    return peer.got[-1][:1]


async def lifespan_hooks(world: World) -> Any:
    order: list[str] = []
    world.server()

    async def start() -> None:
        order.append("start")

    app = world.lib.ASGIApp(world.sio, on_startup=start, on_shutdown=lambda: order.append("stop"))
    await world.host(app)
    await world._hosting.aclose()
    return order
