"""The checks of a public address: page, certificate, streams, long-polling, websocket, idle timeouts.

A connection is never silent for longer than the ping interval (25 s; streams of answers: 15 s), so that an idle timeout
above it, however close, is no fault: these checks wait for one ping.

Layer: app.
"""

from __future__ import annotations

import asyncio
import json
import ssl
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import Final

import httpx
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus
from websockets.typing import Origin

from roomcast.app.doctor.findings import Finding, fault, ok, warning
from roomcast.realtime.options import ServerOptions

_LIMIT_S: Final = 10.0
#: The server's first ping comes after its interval; a connection that lives until then outlives every other silence.
_IDLE_S: Final = ServerOptions().ping_interval_s + 2.0
_PATH: Final = "/socket.io/?EIO=4&transport="
_ORIGINS: Final = "add the origin of the page to ALLOWED_ORIGINS, and the host to ALLOWED_HOSTS if that is set"
_FORWARD: Final = "let the proxy pass /socket.io/ to the gateway's port (3001), with its query"
_IDLE: Final = (
    "raise the proxy's idle timeouts above 60 s (nginx: proxy_read_timeout; HAProxy: timeout tunnel, timeout server)"
)
#: Certificates are usually renewed a month before their end.
_EXPIRES_S: Final = 14 * 86_400
#: A stream with a pause of 1 s that arrives within this time was held back.
_HELD_S: Final = 0.25
_JOIN: Final = "40"
_REFUSED: Final = "44"
_NOT_JOINED: Final = "not tried: the gateway closes connections soon without a token of its secret (ROOMCAST_SECRET)"


@dataclass(frozen=True, slots=True)
class _Client:
    """What all requests have in common.

    Attributes:
        join: The packet that joins the main namespace.
    """

    http: httpx.AsyncClient
    tls: ssl.SSLContext
    origin: str | None
    join: str


async def check_public_url(
    url: str, origin: str | None, *, token: str | None = None, idle_s: float = _IDLE_S
) -> AsyncIterator[Finding]:
    """Try the public address as a browser does. The last check waits until the server's first ping.

    Args:
        url: ``http(s)://host[:port][/path]`` of the page, which names its gateway, or of the gateway.
        origin: The ``Origin`` of the requests; None: that of the page, if ``url`` is one; else none.
        token: An access token, for the checks of streams and of idle connections; None: authentication is off, or the
            secret is unknown.
        idle_s: How long the last check waits at most.
    """
    url = url.rstrip("/")
    # The authorities of the machine, and those of browsers: an image may have none.
    tls = httpx.create_ssl_context(trust_env=False)
    tls.load_default_certs()
    async with httpx.AsyncClient(timeout=_LIMIT_S, trust_env=False, verify=tls) as http:
        join = _JOIN if token is None else f"{_JOIN}{json.dumps({'token': token})}"
        client = _Client(http, tls, origin, join)
        certificate = await _certificate(url, tls)
        if certificate is not None:
            yield certificate
            if certificate.status == "fault":
                return
        gateway = await _gateway(url, http)
        if gateway is not None:
            client = replace(client, origin=origin or str(httpx.URL(url).copy_with(raw_path=b"")).rstrip("/"))
            yield ok("page", f"{url} names the gateway {gateway}")
            if url.startswith("https:") and gateway.startswith("http:"):
                yield fault("page", f"browsers refuse {gateway} on a page with TLS", "set GATEWAY_URL to https://…")
                return
            yield await _stream(url, token, http)
            if httpx.URL(gateway).netloc != httpx.URL(url).netloc:
                certificate = await _certificate(gateway, tls)
                if certificate is not None and certificate.status != "ok":
                    yield certificate
        async for finding in _check_gateway(gateway or url, client, idle_s):
            yield finding


async def _check_gateway(url: str, client: _Client, idle_s: float) -> AsyncIterator[Finding]:
    polling, session = await _polling(url, client)
    yield polling
    if polling.status == "fault":
        return
    # Both wait, together.
    held = asyncio.create_task(_held_poll(session, client, idle_s))
    try:
        async for finding in _websocket(url, client, idle_s):
            yield finding
        yield await held
    finally:
        held.cancel()


async def _certificate(url: str, tls: ssl.SSLContext) -> Finding | None:
    address = httpx.URL(url)
    if address.scheme != "https":
        return None
    try:
        async with asyncio.timeout(_LIMIT_S):
            _, writer = await asyncio.open_connection(address.host, address.port or 443, ssl=tls)
    except ssl.SSLCertVerificationError as error:
        text = f"browsers refuse the certificate of {address.host}: {error.verify_message}"
        return fault("certificate", text, "renew it, with all its names, and let the proxy send the whole chain")
    except (OSError, TimeoutError) as error:
        return fault("certificate", f"{url} does not answer: {error!r}", "start the proxy, or correct --url")
    end = str(writer.get_extra_info("peercert")["notAfter"])
    writer.close()
    if ssl.cert_time_to_seconds(end) - time.time() < _EXPIRES_S:
        return warning("certificate", f"that of {address.host} expires on {end}", "renew it, and reload the proxy")
    return ok("certificate", f"valid until {end}")


async def _gateway(url: str, http: httpx.AsyncClient) -> str | None:
    """The gateway that an API at ``url`` names to its pages; None: there is no API."""
    try:
        response = await http.get(f"{url}/api/config")
        gateway = response.json()["gateway"]
        named, port = gateway["url"], gateway["port"]
    except (httpx.HTTPError, httpx.InvalidURL, ValueError, KeyError, TypeError):
        return None
    if named is not None:
        return str(named).rstrip("/")
    return url if port is None else str(httpx.URL(url).copy_with(port=port)).rstrip("/")


async def _stream(url: str, token: str | None, http: httpx.AsyncClient) -> Finding:
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    try:
        async with http.stream("GET", f"{url}/api/ai/probe", headers=headers) as response:
            times = [time.monotonic() async for _ in response.aiter_raw()]
    except httpx.HTTPError as error:
        return fault("streams", f"a stream of {url}/api/ai/ breaks: {error!r}", "see the log of the proxy")
    if response.status_code != HTTPStatus.OK:
        cause = " without the secret of the API" if response.status_code == HTTPStatus.UNAUTHORIZED else ""
        return ok("streams", f"not tried: {url} answers {response.status_code}{cause}")
    if not times or times[-1] - times[0] < _HELD_S:
        text = "the proxy holds streams back: clients of /api/ai/ get answers at their end only"
        remedy = (
            "switch buffering and compression off for it (nginx: proxy_buffering off, no gzip of text/event-stream)"
        )
        return warning("streams", text, remedy)
    return ok("streams", "pass as they are written")


async def _polling(url: str, client: _Client) -> tuple[Finding, str | None]:
    """Open a session and join it to a namespace, by three requests; the URL of the session if the gateway lets it."""
    headers = {} if client.origin is None else {"Origin": client.origin}
    try:
        response = await client.http.get(f"{url}{_PATH}polling", headers=headers)
        if response.status_code == HTTPStatus.FORBIDDEN:
            return fault("polling", f"{url} refuses the origin or the host", _ORIGINS), None
        if response.status_code != HTTPStatus.OK or not response.text.startswith("0{"):
            text = f"{url}/socket.io/ answers {response.status_code} and is no gateway"
            return fault("polling", text, _FORWARD), None
        session = f"{url}{_PATH}polling&sid={json.loads(response.text[1:])['sid']}"
        answer = await client.http.post(session, headers=headers, content=client.join)
        if answer.status_code == HTTPStatus.OK:
            answer = await client.http.get(session, headers=headers)
        if answer.status_code != HTTPStatus.OK:
            text = f"a session ends with its second request: {answer.status_code}"
            remedy = "let the proxy pass POST and the query; give all gateways one Redis, so that they share sessions"
            return fault("polling", text, remedy), None
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        remedy = "start the gateway and the proxy, or correct --url"
        return fault("polling", f"{url} does not answer: {error!r}", remedy), None
    joined = not answer.text.startswith(_REFUSED)
    return ok("polling", f"{url} opens sessions, and keeps them over requests"), session if joined else None


async def _held_poll(session: str | None, client: _Client, idle_s: float) -> Finding:
    """Wait for a message as long-polling does. The answer is the server's ping, unless a proxy answers earlier."""
    if session is None:
        return ok("idle polling", _NOT_JOINED)
    headers = {} if client.origin is None else {"Origin": client.origin}
    began = time.monotonic()
    try:
        response = await client.http.get(session, headers=headers, timeout=httpx.Timeout(_LIMIT_S, read=idle_s))
        complaint = "" if response.status_code == HTTPStatus.OK else f"answered with {response.status_code}"
    except httpx.ReadTimeout:
        complaint = ""
    except httpx.HTTPError as error:
        complaint = f"broken ({error!r})"
    waited = time.monotonic() - began
    if complaint:
        return fault("idle polling", f"a request that waits is {complaint} after {waited:.1f} s", _IDLE)
    return ok("idle polling", f"a request waits for {waited:.0f} s")


async def _websocket(url: str, client: _Client, idle_s: float) -> AsyncIterator[Finding]:
    address = f"ws{url.removeprefix('http')}{_PATH}websocket"
    began = 0.0
    try:
        async with asyncio.timeout(_LIMIT_S + idle_s):
            page = None if client.origin is None else Origin(client.origin)
            tls = client.tls if address.startswith("wss") else None
            async with connect(
                address, origin=page, ssl=tls, open_timeout=_LIMIT_S, ping_interval=None, proxy=None
            ) as socket:
                await socket.recv()
                await socket.send(client.join)
                answer = str(await socket.recv())
                yield ok("websocket", "the upgrade passes")
                if answer.startswith(_REFUSED):
                    yield ok("idle timeout", _NOT_JOINED)
                    return
                began = time.monotonic()
                try:
                    async with asyncio.timeout(idle_s):
                        await socket.recv()
                except TimeoutError:
                    pass
                yield ok("idle timeout", f"a silent connection stays open for {time.monotonic() - began:.0f} s")
    except ConnectionClosed:
        text = f"the connection was closed after {time.monotonic() - began:.1f} s of silence"
        yield fault("idle timeout", text, _IDLE)
    except InvalidStatus as error:
        text = f"the upgrade is answered with {error.response.status_code}"
        remedy = (
            "let the proxy pass the upgrade (nginx: proxy_http_version 1.1, and the headers Upgrade and Connection)"
        )
        yield fault("websocket", text, remedy)
    except (OSError, InvalidHandshake, TimeoutError) as error:
        yield fault("websocket", f"the upgrade fails: {error!r}", "let the proxy pass websockets, and see its log")
