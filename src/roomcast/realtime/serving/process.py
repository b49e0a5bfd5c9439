"""Serves applications in one process, and ends them in order.

uvicorn is the HTTP server; this module owns what it does not do for connections that are not its own: binding before
anything starts, one signal handler for all sites, websockets closed in jittered batches, one limit for all of it.

Layer: realtime. Source: uvicorn 0.54 ``Server.startup`` and ``Server.shutdown``.
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
from roomcast.realtime.core.timers import TimerWheel
from roomcast.realtime.errors import AddressInUse, AddressUnavailable, StartupFailed
from roomcast.realtime.options import ServeOptions
from roomcast.realtime.serving.http_protocol import bounded_http_protocol
from roomcast.realtime.transports.application import Application, InternalApplication
from roomcast.realtime.transports.proxies import AddressSource, ASGIApp, ProxyHeaders, TrustedProxies
from roomcast.realtime.transports.websocket import websocket_protocol

logger = logging.getLogger(__name__)

_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)
_DATE_INTERVAL_S: Final = 1.0
_HTTP_WHEEL_RESOLUTION_S: Final = 0.25

Address = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Site:
    """One application on one port.

    Attributes:
        app: An ASGI application. Websockets to a `Server.asgi` take the fast path.
        host: Name or address; ``localhost`` binds both of its families.
        port: 0: any free one; ``ServeOptions.on_ready`` tells which.
        websockets: The `Server.asgi` application that websockets belong to, if ``app`` is a wrapper around it.
        shared: Other processes listen on the same port, and the kernel spreads connections over all of them.

    An `InternalApplication` is for an internal address: it takes what other nodes send on, and nothing from clients.
    """

    app: ASGIApp | Application | InternalApplication
    host: str
    port: int
    websockets: Application | None = None
    shared: bool = False

    @property
    def engine(self) -> Engine | None:
        """What websockets belong to; None: the application gets them over ASGI."""
        if self.websockets is not None:
            return self.websockets.engine
        return self.app.engine if isinstance(self.app, Application | InternalApplication) else None


async def serve(
    sites: Sequence[Site], options: ServeOptions | None = None, *, stop: asyncio.Event | None = None
) -> signal.Signals | None:
    """Serve until SIGINT, SIGTERM or ``stop``, then drain.

    A second SIGINT ends the drain at once.

    Args:
        sites: What to serve; an application on several addresses is several sites with one lifespan. All ports are
            bound before any application starts.
        options: Defaults if None.
        stop: Ends it like SIGTERM once it is set.

    Returns:
        The signal that ended it; None if it was ``stop``.

    Raises:
        AddressInUse: another process has a port.
        AddressUnavailable: an address cannot be bound.
        StartupFailed: an application's lifespan startup failed; those before it were shut down.
    """
    return await _Process(sites, ServeOptions() if options is None else options).run(stop or asyncio.Event())


class _RunningSite:
    """One site from its lifespan's startup to its shutdown.

    Args:
        site: What it serves.
        options: See there.
        wheel: For the deadlines of requests.
        first: An earlier site of the same application: a lifespan runs once, on however many addresses it serves.
    """

    def __init__(self, site: Site, options: ServeOptions, wheel: TimerWheel, first: _RunningSite | None) -> None:
        self.site = site
        self._first = first
        self.state = ServerState()
        self._listeners: list[asyncio.Server] = []
        trusted = TrustedProxies(options.trusted_proxies)
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
        self._config = Config(
            app,
            http=bounded_http_protocol(options, wheel),
            ws="websockets-sansio" if engine is None else websocket_protocol(engine, proxies),
            log_config=None,
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

    async def start(self, sockets: Sequence[socket.socket]) -> None:
        """Run the lifespan's startup, then accept."""
        if self._first is None:
            await self.lifespan.startup()
        if self.lifespan.should_exit:
            raise StartupFailed("an application failed to start; its error is in the log above")
        self.tick()
        loop = asyncio.get_running_loop()

        def protocol() -> asyncio.Protocol:
            return self._config.http_protocol_class(  # type: ignore[call-arg]  # uvicorn's own convention
                config=self._config, server_state=self.state, app_state=self.lifespan.state, _loop=loop
            )

        for bound in sockets:
            try:
                # uvloop would pass over this error, and serve nobody.
                bound.listen(self._backlog)
                listener = await loop.create_server(protocol, sock=bound, backlog=self._backlog)
            except OSError as error:
                # Two processes may bind one port as long as neither listens.
                raise AddressInUse(self.site.host, _address(bound)[1]) from error
            self._listeners.append(listener)

    def tick(self) -> None:
        """Renew the Date header."""
        self.state.default_headers = [(b"date", formatdate(time.time(), usegmt=True).encode())]

    def refuse(self) -> None:
        """Accept no more connections, no more sessions."""
        for listener in self._listeners:
            listener.close()
        if self.site.engine is not None:
            self.site.engine.accepting = False

    def finish_requests(self) -> None:
        """Let requests in flight end, and idle connections now."""
        for connection in list(self.state.connections):
            connection.shutdown()

    @property
    def busy(self) -> bool:
        """Whether a connection or a request is left."""
        return bool(self.state.connections or self.state.tasks)

    def abort(self) -> None:
        """End what has not ended by itself."""
        for task in list(self.state.tasks):
            task.cancel("the server has ended")
        for connection in list(self.state.connections):
            transport = getattr(connection, "transport", None) or getattr(connection, "_transport", None)
            if transport is not None:
                transport.abort()

    async def end(self) -> None:
        """Run the lifespan's shutdown."""
        if self._first is None:
            await self.lifespan.shutdown()


class _Process:
    """The life of `serve`."""

    def __init__(self, sites: Sequence[Site], options: ServeOptions) -> None:
        self._sites = sites
        self._options = options
        self._forced = asyncio.Event()
        self._signal: signal.Signals | None = None

    async def run(self, stop: asyncio.Event) -> signal.Signals | None:
        loop = asyncio.get_running_loop()
        bound = _bind_all(self._sites)
        wheel = TimerWheel(loop, _HTTP_WHEEL_RESOLUTION_S)
        running: list[_RunningSite] = []
        with self._signals(stop):
            try:
                for site, sockets in zip(self._sites, bound, strict=True):
                    first = next((other for other in running if other.site.app is site.app), None)
                    entry = _RunningSite(site, self._options, wheel, first)
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
        """Run a step of the end, until its limit or the second SIGINT."""
        work: asyncio.Task[Any] = asyncio.ensure_future(step)
        forced: asyncio.Task[Any] = asyncio.ensure_future(self._forced.wait())
        try:
            await asyncio.wait({work, forced}, timeout=limit_s, return_when=asyncio.FIRST_COMPLETED)
            if not work.done():
                logger.warning("%s was left unfinished after at most %.1f s", name, limit_s)
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
        while any(entry.busy for entry in running):  # noqa: ASYNC110 - uvicorn tells nobody when a connection is gone
            await asyncio.sleep(0.01)

    @contextmanager
    def _signals(self, stop: asyncio.Event) -> Iterator[None]:
        if threading.current_thread() is not threading.main_thread():
            yield  # only the main thread can; its owner uses ``stop``
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
    """Close every session, and what leads to one elsewhere, in jittered batches: clients shall not return in step."""
    endings: list[Callable[[], object]] = []
    endings += (partial(connection.close, Reason.SHUTDOWN) for connection in engine.connections.values())
    endings += () if engine.forwarder is None else engine.forwarder.endings
    if not endings:
        return
    # Half of the limit for this, the rest for handlers and requests.
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
    """The fastest event loop that is installed, for ``asyncio.Runner(loop_factory=…)``; None: asyncio's own."""
    try:
        import uvloop
    except ImportError:  # it does not exist for Windows
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
            bound.append(bind(site.host, site.port, shared=site.shared))  # noqa: PERF401 - what is bound so far has to be closed again
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
        port: 0: any free one.
        shared: Others that say so, too, may bind it.

    Raises:
        AddressInUse: another process has it.
        AddressUnavailable: it cannot be bound, or the name is unknown.
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
                # Its own family only: the other one has its own socket.
                listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            listener.bind((address[0], _port_of(sockets) or port, *address[2:]))
            listener.setblocking(False)
        except OSError as error:
            listener.close()
            if error.errno == errno.EADDRINUSE:
                for other in sockets:
                    other.close()
                raise AddressInUse(host, port) from error
            problem = error  # a family that this machine lacks, as long as another works
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
