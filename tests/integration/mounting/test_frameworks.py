"""A Socket.IO server in the applications of web frameworks."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from types import ModuleType
from typing import Any

import aiohttp
import pytest
import socketio
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.routing import Mount

from roomcast.realtime import ServeOptions, Server, ServerOptions, Site, serve
from roomcast.realtime.adapters.memory import MemoryAdapter, MemoryBus
from support.asgi_servers import ASGI_SERVERS


def in_starlette(server: Server) -> Any:
    return Starlette(routes=[Mount("/ws", server.asgi())])


def in_fastapi(server: Server) -> Any:
    app = FastAPI()

    @app.get("/hello")
    async def hello() -> str:
        await server.emit("hello")
        return "hello"

    app.mount("/ws", server.asgi())
    return app


def in_a_mounted_application(server: Server) -> Any:
    return Starlette(routes=[Mount("/outer", Starlette(routes=[Mount("/ws", server.asgi())]))])


def in_litestar(server: Server) -> Any:
    from litestar import Litestar, asgi

    return Litestar([asgi("/ws", is_mount=True, copy_scope=True)(server.asgi())])


def around_django(server: Server) -> Any:
    from django.conf import settings
    from django.core.asgi import get_asgi_application
    from django.http import HttpRequest, HttpResponse
    from django.urls import path

    async def hello(_request: HttpRequest) -> HttpResponse:
        await server.emit("hello")
        return HttpResponse("hello")

    urls = ModuleType("urls")
    urls.urlpatterns = [path("hello", hello)]  # type: ignore[attr-defined]  # Django's name
    if not settings.configured:
        settings.configure(SECRET_KEY="x", ALLOWED_HOSTS=["*"])
    settings.ROOT_URLCONF = urls
    return server.asgi(get_asgi_application())


@contextlib.asynccontextmanager
async def client_of(port: int, path: str) -> AsyncIterator[socketio.AsyncSimpleClient]:
    async with socketio.AsyncSimpleClient() as client:
        await client.connect(f"http://127.0.0.1:{port}", socketio_path=path)
        yield client


@pytest.mark.parametrize(
    ("application", "path", "hello"),
    [
        (in_starlette, "/ws/socket.io", None),
        (in_fastapi, "/ws/socket.io", "/hello"),
        (in_a_mounted_application, "/outer/ws/socket.io", None),
        (in_litestar, "/ws/socket.io", None),
        (around_django, "/socket.io", "/hello"),
    ],
)
async def test_clients_of_a_mounted_server_reach_the_whole_cluster(
    application: Callable[[Server], Any], path: str, hello: str | None
) -> None:
    bus = MemoryBus()
    server, other = Server(adapter=MemoryAdapter(bus)), Server(adapter=MemoryAdapter(bus))
    run = ASGI_SERVERS["uvicorn websockets-sansio"]
    async with (
        run(application(server)) as port,
        run(other.asgi()) as other_port,
        client_of(port, path) as client,
        client_of(other_port, "/socket.io") as other_client,
    ):
        await server.emit("news", 1)
        assert await client.receive(5) == ["news", 1]
        assert await other_client.receive(5) == ["news", 1]
        if hello is not None:
            async with aiohttp.ClientSession() as http, http.get(f"http://127.0.0.1:{port}{hello}") as answer:
                assert answer.status == 200
                assert "hello" in await answer.text()
            assert await other_client.receive(5) == ["hello"]


async def test_a_route_that_emits_before_the_first_client_reaches_the_cluster() -> None:
    bus = MemoryBus()
    server, other = Server(adapter=MemoryAdapter(bus)), Server(adapter=MemoryAdapter(bus))
    run = ASGI_SERVERS["uvicorn websockets-sansio"]
    async with (
        run(in_fastapi(server)) as port,
        run(other.asgi()) as other_port,
        client_of(other_port, "/socket.io") as other_client,
        aiohttp.ClientSession() as http,
        http.get(f"http://127.0.0.1:{port}/hello"),
    ):
        assert await other_client.receive(5) == ["hello"]
    await server.shutdown()
    assert bus.adapters == []


@pytest.mark.parametrize("path", ["/socket.io/", "/ws/socket.io/"])
async def test_the_option_path_may_contain_the_path_of_the_mount(path: str) -> None:
    server = Server(ServerOptions(path=path))
    async with (
        ASGI_SERVERS["uvicorn websockets-sansio"](in_starlette(server)) as port,
        client_of(port, "/ws/socket.io") as client,
    ):
        await server.emit("news")
        assert await client.receive(5) == ["news"]


async def test_an_application_around_the_server_keeps_the_fast_path_of_serve() -> None:
    bus = MemoryBus()
    server = Server(ServerOptions(path="/ws/socket.io/"), adapter=MemoryAdapter(bus))
    application = server.asgi()
    app = Starlette(routes=[Mount("/ws", application)])
    stop = asyncio.Event()
    ready = asyncio.get_running_loop().create_future()
    site = Site(app, "127.0.0.1", 0, websockets=application)
    task = asyncio.create_task(serve([site], ServeOptions(on_ready=ready.set_result), stop=stop))
    port = (await ready)[0][0][1]
    assert len(bus.adapters) == 1
    async with client_of(port, "/ws/socket.io") as client:
        assert type(next(iter(server.engine.connections.values())).transport).__name__ == "BoundWebSocketProtocol"
        await server.emit("news")
        assert await client.receive(5) == ["news"]
    stop.set()
    await task
    assert bus.adapters == []
