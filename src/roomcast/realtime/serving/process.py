"""Serves applications in one process, and shuts them down in order.

uvicorn is the HTTP server. This module adds what uvicorn does not do for connections of another protocol class: binding
all ports before any application starts, one signal handler for all sites, a drain that closes websockets in jittered
batches, and time limits for the shutdown.

Layer: realtime.serving. Source: uvicorn 0.54 ``Server.startup`` and ``Server.shutdown``.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import random
import signal
import socket
import threading
import time
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from email.utils import formatdate
from functools import partial
from math import ceil
from typing import Any, Final

from uvicorn.config import Config
from uvicorn.server import ServerState

from roomcast.backoff import jittered
from roomcast.realtime.core.engine import Engine
from roomcast.realtime.core.reasons import Reason
from roomcast.realtime.errors import AddressInUse, AddressUnavailable, StartupFailed
from roomcast.realtime.limits.timers import TimerWheel
from roomcast.realtime.options import ServeOptions
from roomcast.realtime.serving.application_websocket import application_websocket
from roomcast.realtime.serving.descriptors import ClientConnections, limit_engines
from roomcast.realtime.serving.first_read import FirstRead, Protocols
from roomcast.realtime.serving.http_protocol import bounded_http_protocol
from roomcast.realtime.transports.application import Application, InternalApplication
from roomcast.realtime.transports.encoded_websocket import websocket_protocol
from roomcast.realtime.transports.proxies import AddressSource, ASGIApp, ProxyHeaders, TrustedProxies

logger = logging.getLogger(__name__)

_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)
_DATE_INTERVAL_S: Final = 1.0
_HTTP_WHEEL_RESOLUTION_S: Final = 0.25

Address = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Site:
    """One application on one port.

    Attributes:
        app: An ASGI application. Websockets of a `Server.asgi` application use the fast path. An `InternalApplication`
            accepts only requests that other nodes forward.
        host: Name or address; ``localhost`` binds IPv4 and IPv6.
        port: 0: any free port, reported to ``ServeOptions.on_ready``.
        websockets: The `Server.asgi` application that receives the websockets, if ``app`` wraps it.
        shared: Other processes listen on the same port (``SO_REUSEPORT``).
    """

    app: ASGIApp | Application | InternalApplication
    host: str
    port: int
    websockets: Application | None = None
    shared: bool = False

    @property
    def engine(self) -> Engine | None:
        """The server of the websockets; None: the application receives them over ASGI."""
        if self.websockets is not None:
            return self.websockets.engine
        return self.app.engine if isinstance(self.app, Application | InternalApplication) else None


async def serve(
    sites: Sequence[Site], options: ServeOptions | None = None, *, stop: asyncio.Event | None = None
) -> signal.Signals | None:
    """Serve until SIGINT, SIGTERM or ``stop``, then drain. A second SIGINT ends the drain at once.

    Args:
        sites: The applications. One application on several addresses is several sites with one lifespan.
        options: Defaults if None.
        stop: Stops the process like SIGTERM when it is set.

    Returns:
        The signal that stopped the process; None: ``stop`` did.

    Raises:
        AddressInUse: another process listens on a port.
        AddressUnavailable: an address cannot be bound.
        StartupFailed: the lifespan startup of an application failed; the applications before it were shut down.
    """
    return await _Process(sites, ServeOptions() if options is None else options).run(stop or asyncio.Event())


class _RunningSite:
    """One site from its lifespan's startup to its shutdown.

    Args:
        site: The site.
        options: Limits and shutdown.
        wheel: The timer of request deadlines.
        connections: The connections of the process.
        first: An earlier site of the same application, which runs the lifespan; None: this one does.
    """

    def __init__(
        self,
        site: Site,
        options: ServeOptions,
        wheel: TimerWheel,
        connections: ClientConnections,
        first: _RunningSite | None,
    ) -> None:
        self.site = site
        self._first = first
        self.state = ServerState()
        connections.count_site(self.state)
        self._listeners: list[asyncio.Server] = []
        trusted = TrustedProxies(options.trusted_proxies, options.base_path)
        proxies: AddressSource = trusted
        app: ASGIApp = site.app
        if isinstance(app, InternalApplication):
            # The other node adds headers to a request head that may already have the maximum size.
            options = replace(
                options, head_limit_bytes=2 * options.head_limit_bytes, max_headers=options.max_headers + 8
            )
            proxies = app.authenticator
        elif trusted:
            app = ProxyHeaders(app, trusted)
        engine = site.engine
        engine_paths = None
        if engine is not None and isinstance(site.app, Application) and site.app.has_fallback:
            engine_paths = {engine.options.path, engine.options.path.rstrip("/")}
        http = bounded_http_protocol(options, wheel, connections, engine_paths, trusted)
        websocket = None if engine is None else websocket_protocol(engine, proxies)
        self._config = Config(
            app,
            http=http,
            ws=websocket or application_websocket(wheel, options.unread_deadline_s),
            log_config=None,
            ws_max_size=options.websocket_limit_bytes,
            ws_per_message_deflate=False,
            access_log=options.access_log,
            proxy_headers=False,
            server_header=False,
            timeout_keep_alive=options.keep_alive_s,
            lifespan="auto",
            interface="asgi3",
        )
        self._config.load()
        self.lifespan: Any = self._config.lifespan_class(self._config) if first is None else first.lifespan
        self._backlog = options.backlog
        self._protocols = Protocols(self._config, self.state, self.lifespan.state, http, websocket)

    async def start(self, sockets: Sequence[socket.socket]) -> None:
        """Run the lifespan startup, then accept connections."""
        if self._first is None:
            await self.lifespan.startup()
        if self.lifespan.should_exit:
            raise StartupFailed("an application failed to start; the log has its traceback")
        if self.site.engine is not None:
            # An application around that of the server may not pass on the lifespan.
            await self.site.engine.membership.join()
        self.tick()
        loop = asyncio.get_running_loop()
        protocol = partial(FirstRead, self._protocols)
        for bound in sockets:
            try:
                # uvloop ignores errors of listen().
                bound.listen(self._backlog)
                listener = await loop.create_server(protocol, sock=bound, backlog=self._backlog)
            except OSError as error:
                # Two processes can bind the same port as long as neither listens.
                raise AddressInUse(self.site.host, _address(bound)[1]) from error
            self._listeners.append(listener)

    def tick(self) -> None:
        """Update the headers of every response, which contain the time."""
        self.state.default_headers = [
            (b"date", formatdate(time.time(), usegmt=True).encode()),
            # A browser must not guess that a response with text of users is a script or a document.
            (b"x-content-type-options", b"nosniff"),
        ]

    def refuse(self) -> None:
        """Accept no more connections and sessions."""
        for listener in self._listeners:
            listener.close()
        if self.site.engine is not None:
            self.site.engine.accepting = False

    def finish_requests(self) -> None:
        """Close idle connections now, and the others after their requests."""
        for connection in list(self.state.connections):
            connection.shutdown()

    @property
    def busy(self) -> bool:
        """Whether a connection or a request is open."""
        return bool(self.state.connections or self.state.tasks)

    def abort(self) -> None:
        """Close the remaining connections and requests at once."""
        for task in list(self.state.tasks):
            task.cancel("the server has stopped")
        for connection in list(self.state.connections):
            transport = getattr(connection, "transport", None) or getattr(connection, "_transport", None)
            if transport is not None:
                transport.abort()

    async def end(self) -> None:
        """Run the lifespan shutdown."""
        if self._first is None:
            await self.lifespan.shutdown()
        if self.site.engine is not None:
            await self.site.engine.membership.leave()


class _Process:
    """The run of one `serve` call."""

    def __init__(self, sites: Sequence[Site], options: ServeOptions) -> None:
        self._sites = sites
        self._options = options
        self._forced = asyncio.Event()
        self._signal: signal.Signals | None = None

    async def run(self, stop: asyncio.Event) -> signal.Signals | None:
        loop = asyncio.get_running_loop()
        bound = _bind_all(self._sites)
        wheel = TimerWheel(loop, _HTTP_WHEEL_RESOLUTION_S)
        engines = dict.fromkeys(site.engine for site in self._sites if site.engine is not None)
        limits = limit_engines(list(engines))
        connections = ClientConnections(limits)
        options = self._options
        if limits is not None:
            options = replace(options, backlog=min(options.backlog, limits.burst))
        running: list[_RunningSite] = []
        with self._signals(stop):
            try:
                for site, sockets in zip(self._sites, bound, strict=True):
                    first = next((other for other in running if other.site.app is site.app), None)
                    entry = _RunningSite(site, options, wheel, connections, first)
                    running.append(entry)
                    await entry.start(sockets)
                if self._options.on_ready is not None:
                    self._options.on_ready([[_address(s) for s in sockets] for sockets in bound])
                await self._until(stop, running)
                await self._drain(running)
            finally:
                for entry in running:
                    entry.refuse()
                    entry.abort()
                for sockets in bound:
                    for listener in sockets:
                        listener.close()
                for engine in _engines(running):
                    await engine.abort()
                await self._unless_forced(_end_all(running), self._options.shutdown_limit_s, "the shutdown")
                wheel.stop()
        return self._signal

    async def _until(self, stop: asyncio.Event, running: Sequence[_RunningSite]) -> None:
        while not stop.is_set():
            try:
                await asyncio.wait_for(stop.wait(), _DATE_INTERVAL_S)
            except TimeoutError:
                for entry in running:
                    entry.tick()

    async def _drain(self, running: Sequence[_RunningSite]) -> None:
        options = self._options
        if options.on_unready is not None:
            options.on_unready()
        limit_s = options.drain_limit_s + (options.unready_s if self._signal is not signal.SIGINT else 0.0)
        await self._unless_forced(self._drain_steps(running), limit_s, "the drain")

    async def _unless_forced(self, step: Coroutine[Any, Any, None], limit_s: float, name: str) -> None:
        """Run a step of the shutdown, until its time limit or the second SIGINT."""
        work: asyncio.Task[Any] = asyncio.ensure_future(step)
        forced: asyncio.Task[Any] = asyncio.ensure_future(self._forced.wait())
        try:
            await asyncio.wait({work, forced}, timeout=limit_s, return_when=asyncio.FIRST_COMPLETED)
            if not work.done():
                logger.warning("%s did not finish within %.1f s", name, limit_s)
            elif (error := work.exception()) is not None:
                logger.error("%s failed", name, exc_info=error)
        finally:
            for task in (work, forced):
                task.cancel()
            await asyncio.gather(work, forced, return_exceptions=True)

    async def _drain_steps(self, running: Sequence[_RunningSite]) -> None:
        options = self._options
        if options.unready_s and self._signal is not signal.SIGINT:
            await asyncio.sleep(options.unready_s)
        for entry in running:
            entry.refuse()
        for engine in _engines(running):
            await drain_connections(engine, options)
        for entry in running:
            entry.finish_requests()
        for engine in _engines(running):
            while engine.tasks:
                await asyncio.wait(set(engine.tasks))
        while any(entry.busy for entry in running):  # noqa: ASYNC110 - uvicorn has no event for it
            await asyncio.sleep(0.01)

    @contextmanager
    def _signals(self, stop: asyncio.Event) -> Iterator[None]:
        if threading.current_thread() is not threading.main_thread():
            yield  # only the main thread can handle signals; the caller uses ``stop``
            return
        loop = asyncio.get_running_loop()
        before: dict[signal.Signals, Any] = {}

        def on_signal(number: signal.Signals) -> None:
            if stop.is_set() and number is signal.SIGINT:
                self._forced.set()
            if self._signal is None:
                self._signal = number
            stop.set()

        for number in _SIGNALS:
            before[number] = signal.getsignal(number)
            try:
                loop.add_signal_handler(number, on_signal, number)
            except NotImplementedError:  # loops on Windows
                signal.signal(number, lambda n, _: loop.call_soon_threadsafe(on_signal, signal.Signals(n)))
        try:
            yield
        finally:
            for number, handler in before.items():
                with suppress(NotImplementedError):
                    loop.remove_signal_handler(number)
                signal.signal(number, handler)


async def drain_connections(engine: Engine, options: ServeOptions) -> None:
    """Close all sessions and all forwarded requests in jittered batches, so that clients do not reconnect in step."""
    endings: list[Callable[[], object]] = []
    endings += (partial(connection.close, Reason.SHUTDOWN) for connection in engine.connections.values())
    endings += () if engine.forwarder is None else engine.forwarder.endings
    if not endings:
        return
    # Half of the time limit for this; the other half for handlers and requests.
    batches = max(1, int(options.drain_limit_s / 2 / options.drain_pause_s)) if options.drain_pause_s else 1
    size = max(options.drain_batch, ceil(len(endings) / batches))
    random.shuffle(endings)
    for start in range(0, len(endings), size):
        if start:
            await asyncio.sleep(jittered(options.drain_pause_s, 0.5, 1.5))
        for end in endings[start : start + size]:
            end()


async def _end_all(running: Sequence[_RunningSite]) -> None:
    for entry in reversed(running):
        await entry.end()


def loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """The loop factory of uvloop if it is installed, for ``asyncio.Runner(loop_factory=…)``; None: asyncio's loop."""
    try:
        import uvloop
    except ImportError:  # not available on Windows
        return None
    return uvloop.new_event_loop


def _engines(running: Sequence[_RunningSite]) -> list[Engine]:
    found: list[Engine] = []
    for entry in running:
        engine = entry.site.engine
        if engine is not None and engine not in found:
            found.append(engine)
    return found


# -- sockets ----------------------------------------------------------------------------------------------------------


def _bind_all(sites: Sequence[Site]) -> list[list[socket.socket]]:
    bound: list[list[socket.socket]] = []
    try:
        for site in sites:
            bound.append(bind(site.host, site.port, shared=site.shared))  # noqa: PERF401 - on an error the sockets bound so far are closed
    except Exception:
        for sockets in bound:
            for listener in sockets:
                listener.close()
        raise
    return bound


def bind(host: str, port: int, *, shared: bool = False) -> list[socket.socket]:
    """Bind every address of ``host``, all to the same port.

    Args:
        host: Name or address.
        port: 0: any free port.
        shared: Other processes may bind it too (``SO_REUSEPORT``).

    Raises:
        AddressInUse: another process listens there.
        AddressUnavailable: the address cannot be bound, or the name cannot be resolved.
    """
    try:
        found = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        raise AddressUnavailable(host, port, error.strerror or str(error)) from error
    sockets: list[socket.socket] = []
    problem: OSError | None = None
    for family, kind, protocol, _, address in dict.fromkeys(found):
        listener = socket.socket(family, kind, protocol)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if shared:
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            if family is socket.AF_INET6:
                # IPv6 only: IPv4 has a socket of its own.
                listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            listener.bind((address[0], _port_of(sockets) or port, *address[2:]))
            listener.setblocking(False)
        except OSError as error:
            listener.close()
            if error.errno == errno.EADDRINUSE:
                for other in sockets:
                    other.close()
                raise AddressInUse(host, port) from error
            problem = error  # an error only if no address family works
        else:
            sockets.append(listener)
    if not sockets:
        raise AddressUnavailable(host, port, "no address" if problem is None else problem.strerror or str(problem))
    return sockets


def _port_of(sockets: Sequence[socket.socket]) -> int:
    return _address(sockets[0])[1] if sockets else 0


def _address(bound: socket.socket) -> Address:
    name = bound.getsockname()
    return str(name[0]), int(name[1])
