"""The checks of the public address of a gateway: long-polling, the websocket, and how long a proxy keeps it open.

Layer: app.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from http import HTTPStatus
from typing import Final

import httpx
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus
from websockets.typing import Origin

from roomcast.app.doctor.findings import Finding, fault, ok
from roomcast.realtime.options import ServerOptions

_LIMIT_S: Final = 10.0
#: The server's first ping comes after its interval; a connection that lives until then outlives every other silence.
_IDLE_S: Final = ServerOptions().ping_interval_s + 2.0
_PATH: Final = "/socket.io/?EIO=4&transport="
_ORIGINS: Final = "add the origin of the page to ALLOWED_ORIGINS, and the host to ALLOWED_HOSTS if that is set"


async def check_public_url(url: str, origin: str | None, *, idle_s: float = _IDLE_S) -> AsyncIterator[Finding]:
    """Try the public address as a browser does. The last check waits until the server's first ping.

    Args:
        url: ``http(s)://host[:port][/path]`` of the gateway, usually of a proxy.
        origin: The ``Origin`` of the requests; None: none, as other programs than browsers.
        idle_s: How long the last check waits at most.
    """
    polling = await _polling(url.rstrip("/"), origin)
    yield polling
    if polling.status == "fault":
        return
    async for finding in _websocket(url.rstrip("/"), origin, idle_s):
        yield finding


async def _polling(url: str, origin: str | None) -> Finding:
    headers = {} if origin is None else {"Origin": origin}
    try:
        async with httpx.AsyncClient(timeout=_LIMIT_S, trust_env=False) as client:
            response = await client.get(f"{url}{_PATH}polling", headers=headers)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        return fault(
            "polling", f"{url} does not answer: {error!r}", "start the gateway and the proxy, or correct --url"
        )
    if response.status_code == HTTPStatus.FORBIDDEN:
        return fault("polling", f"{url} refuses the origin or the host", _ORIGINS)
    if response.status_code != HTTPStatus.OK or not response.text.startswith("0{"):
        remedy = "let the proxy pass /socket.io/ to the gateway's port (3001), with its query"
        return fault("polling", f"{url}/socket.io/ answers {response.status_code} and is no gateway", remedy)
    return ok("polling", f"{url} opens sessions")


async def _websocket(url: str, origin: str | None, idle_s: float) -> AsyncIterator[Finding]:
    address = f"ws{url.removeprefix('http')}{_PATH}websocket"
    began = 0.0
    try:
        async with asyncio.timeout(_LIMIT_S + idle_s):
            page = None if origin is None else Origin(origin)
            async with connect(address, origin=page, open_timeout=_LIMIT_S, ping_interval=None, proxy=None) as socket:
                await socket.recv()
                # An anonymous connection is closed earlier.
                await socket.send("40")
                await socket.recv()
                yield ok("websocket", "the upgrade passes")
                began = time.monotonic()
                try:
                    async with asyncio.timeout(idle_s):
                        await socket.recv()
                except TimeoutError:
                    pass
                yield ok("idle timeout", f"a silent connection stays open for {time.monotonic() - began:.0f} s")
    except ConnectionClosed:
        text = f"the connection was closed after {time.monotonic() - began:.1f} s of silence"
        remedy = "raise the proxy's idle timeout above 60 s (nginx: proxy_read_timeout; HAProxy: timeout tunnel)"
        yield fault("idle timeout", text, remedy)
    except InvalidStatus as error:
        text = f"the upgrade is answered with {error.response.status_code}"
        remedy = (
            "let the proxy pass the upgrade (nginx: proxy_http_version 1.1, and the headers Upgrade and Connection)"
        )
        yield fault("websocket", text, remedy)
    except (OSError, InvalidHandshake, TimeoutError) as error:
        yield fault("websocket", f"the upgrade fails: {error!r}", "let the proxy pass websockets, and see its log")
