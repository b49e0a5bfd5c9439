"""``AsyncServer``: the arguments and methods of python-socketio's server, over `roomcast.realtime.Server`.

Layer: realtime.compat. Source: python-socketio 5.18, ``AsyncServer`` and ``BaseServer``.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Collection, Coroutine, Mapping
from contextlib import AbstractAsyncContextManager
from functools import wraps
from types import MappingProxyType
from typing import Any, ClassVar, Literal, NoReturn

from roomcast.realtime.cluster.commands import Broadcast, Selection, room_names
from roomcast.realtime.compat.arguments import Arguments
from roomcast.realtime.compat.async_namespace import AsyncNamespace
from roomcast.realtime.compat.engineio_view import EngineIOView
from roomcast.realtime.compat.event_log import EventLog, logger_of
from roomcast.realtime.compat.exceptions import TimeoutError  # noqa: A004 - python-socketio's name
from roomcast.realtime.compat.json_module import JsonModule, JsonWriter
from roomcast.realtime.compat.managers import AsyncManager, Room
from roomcast.realtime.compat.origins import CompatOrigins, Origins
from roomcast.realtime.compat.packet_class import PacketClass
from roomcast.realtime.core.callbacks import emit_with_callback
from roomcast.realtime.core.environ import Environ
from roomcast.realtime.core.handlers.registry import RESERVED, Handler
from roomcast.realtime.core.reasons import Reason
from roomcast.realtime.core.socket import AckCallback, Socket
from roomcast.realtime.errors import AckLimitExceeded, AckTimeout, SocketGone
from roomcast.realtime.server import Server
from roomcast.realtime.transports.proxies import Receive, Scope, Send

_DEFAULT = "/"
# How long `AsyncServer.disconnect` waits for the handler: the default of `AsyncServer.call`.
_WAIT_LIMIT_S = 60.0
# That of the admin UI.
_STATS_INTERVAL_S = 2
# ``timeout=None`` of `AsyncServer.call`, in place of a number that no timer takes.
_NO_LIMIT_S = 86_400.0


class _Reasons:
    """Why a client disconnected: the second argument of ``disconnect`` handlers."""

    SERVER_DISCONNECT = Reason.SERVER_DISCONNECT.value
    CLIENT_DISCONNECT = Reason.CLIENT_DISCONNECT.value
    PING_TIMEOUT = Reason.PING_TIMEOUT.value
    TRANSPORT_CLOSE = Reason.TRANSPORT_CLOSE.value
    TRANSPORT_ERROR = Reason.TRANSPORT_ERROR.value


class AsyncServer:
    """A Socket.IO server with python-socketio's interface.

    Args:
        client_manager: The bus to other servers; None: a single server.
        logger: True: log INFO to stderr; or a logger.
        json: A module with ``dumps``, which writes what is sent.
        async_handlers: Whether the handlers of one client run at the same time.
        namespaces: Namespaces that are accepted besides those with handlers; ``*``: all.
        always_connect: Whether the CONNECT packet precedes the ``connect`` handler.
        serializer: ``default``, ``msgpack`` if all clients use that, or a packet class; see `packet_class`.
        async_mode: ``asgi``.
        ping_interval: Seconds between the last pong and the next ping; a pair adds its second value to the timeout.
        ping_timeout: Time limit for a pong, in seconds.
        max_http_buffer_size: Largest message from a client, in bytes.
        allow_upgrades: Whether a polling session may become a websocket.
        http_compression: Whether polling responses are compressed.
        compression_threshold: From which size, in bytes.
        cookie: The cookie with the session id.
        cors_allowed_origins: ``*``, one origin, several, or a function of the origin and, optionally, of an environ;
            None: the own origin; ``[]``: no checks, and no CORS headers.
        cors_credentials: Whether cross-origin polling may have cookies.
        monitor_clients: Whether inactive clients are disconnected.
        transports: ``polling``, ``websocket``, or both.
        engineio_logger: As ``logger``, for Engine.IO.

    Attributes:
        native: The server that does the work; it has what python-socketio lacks.
        manager: The client manager.
        eio: Settings and sessions of Engine.IO.
        logger: The logger.
        writer: Writes what is sent.
        packets: What the packet class changes.
        async_handlers: As given.
        always_connect: As given.
        namespaces: As given, ``["/"]`` by default.
        async_mode: ``asgi``.

    Raises:
        ValueError: an argument is wrong, or cannot be honoured.
    """

    reason: ClassVar = _Reasons
    reserved_events: ClassVar = sorted(RESERVED)

    def __init__(
        self,
        client_manager: AsyncManager | None = None,
        logger: bool | Any = False,
        json: JsonModule | None = None,
        async_handlers: bool = True,
        namespaces: Collection[str] | None = None,
        *,
        always_connect: bool = False,
        serializer: Any = "default",
        async_mode: str | None = None,
        ping_interval: float | tuple[float, float] = 25,
        ping_timeout: float = 20,
        max_http_buffer_size: float = 1_000_000,
        allow_upgrades: bool = True,
        http_compression: bool = True,
        compression_threshold: int = 1024,
        cookie: str | Mapping[str, Any] | None = None,
        cors_allowed_origins: Origins = None,
        cors_credentials: bool = True,
        monitor_clients: bool | None = True,
        transports: str | Collection[str] | None = None,
        engineio_logger: bool | Any = False,
    ) -> None:
        arguments = Arguments(
            async_handlers=async_handlers,
            always_connect=always_connect,
            namespaces=namespaces,
            async_mode=async_mode,
            ping_interval=ping_interval,
            ping_timeout=ping_timeout,
            max_http_buffer_size=max_http_buffer_size,
            allow_upgrades=allow_upgrades,
            http_compression=http_compression,
            compression_threshold=compression_threshold,
            cookie=cookie,
            cors_allowed_origins=cors_allowed_origins,
            cors_credentials=cors_credentials,
            monitor_clients=monitor_clients,
            transports=transports,
            serializer=serializer,
        )
        options = arguments.options()
        self.packets = PacketClass(serializer)
        self.logger = logger_of(logger, "socketio.server")
        if client_manager is not None and not isinstance(client_manager, AsyncManager):
            raise ValueError(
                f"client_manager: {type(client_manager).__name__} has no counterpart: use AsyncRedisManager"
            )
        self.manager = AsyncManager() if client_manager is None else client_manager
        self.manager.set_server(self)
        engineio_log = logger_of(engineio_logger, "engineio.server")
        observer = EventLog(self.logger, engineio_log) if logger or engineio_logger else None
        manager = self.manager
        self.native = Server(options, observer=observer, adapter=manager.adapter, directory=manager.directory)
        self.native.engine.origins = CompatOrigins(options, cors_allowed_origins)
        if not allow_upgrades:
            self.native.engine.upgrades = ()
        self.eio = EngineIOView(self.native, arguments, engineio_log)
        self.writer = JsonWriter(json, binary=self.packets.binary)
        self.async_handlers = async_handlers
        self.always_connect = always_connect
        self.namespaces: Collection[str] = namespaces or [_DEFAULT]
        self.async_mode = "asgi"
        self._handlers: dict[str, dict[str, Handler]] = {}
        self._namespace_handlers: dict[str, AsyncNamespace] = {}
        self._application = self.native.asgi()
        self._initialized = False
        self._leaving: dict[str, asyncio.Future[None]] = {}  # by sid: their ``disconnect`` handler runs

    def is_asyncio_based(self) -> bool:
        """True."""
        return True

    # -- handlers -----------------------------------------------------------------------------------------------------

    @property
    def handlers(self) -> Mapping[str, Mapping[str, Handler]]:
        """The handlers by namespace and event. For reading only: `on` registers."""
        return MappingProxyType({name: MappingProxyType(events) for name, events in self._handlers.items()})

    @property
    def namespace_handlers(self) -> Mapping[str, AsyncNamespace]:
        """The class-based namespaces. For reading only: `register_namespace` registers."""
        return MappingProxyType(self._namespace_handlers)

    def on(self, event: str, handler: Handler | None = None, namespace: str | None = None) -> Any:
        """Register a handler, or return a decorator that does; see `Server.on`."""

        def register(function: Handler) -> Handler:
            self._handlers.setdefault(namespace or _DEFAULT, {})[event] = function
            self.native.on(event, self.wrapped(event, function), namespace)
            return function

        return register if handler is None else register(handler)

    def event(self, *args: Any, **kwargs: Any) -> Any:
        """Register a function under its own name: ``@server.event`` or ``@server.event(namespace="/x")``."""
        if len(args) == 1 and not kwargs and callable(args[0]):
            return self.on(args[0].__name__, args[0])
        return lambda handler: self.on(handler.__name__, *args, **kwargs)(handler)

    def register_namespace(self, namespace_handler: AsyncNamespace) -> None:
        """Register the handlers of a namespace.

        Raises:
            ValueError: it is not an `AsyncNamespace`.
        """
        if not isinstance(namespace_handler, AsyncNamespace):
            raise ValueError("Not a namespace instance")  # noqa: TRY004 - python-socketio's exception
        self.native.register_namespace(namespace_handler)
        namespace_handler.bind_server(self)
        self._namespace_handlers[namespace_handler.namespace] = namespace_handler

    # -- sending ------------------------------------------------------------------------------------------------------

    async def emit(
        self,
        event: str,
        data: Any = None,
        to: Room | None = None,
        room: Room | None = None,
        skip_sid: str | Collection[str] | None = None,
        namespace: str | None = None,
        callback: AckCallback | None = None,
        ignore_queue: bool = False,
    ) -> None:
        """Emit an event.

        Args:
            event: Its name.
            data: Its argument; a tuple: several; None: none.
            to: A room or sid, or a list of them; None: the whole namespace.
            room: Another name for ``to``.
            skip_sid: Sids that are left out.
            namespace: ``/`` if None.
            callback: Called with the acknowledgement of each recipient, on whichever server; see `core.callbacks`.
            ignore_queue: Only to the clients of this server.

        Raises:
            EncodeError: the data cannot be encoded.
        """
        args = () if data is None else data if isinstance(data, tuple) else (data,)
        target = room if to is None else to
        rooms = None if target is None else [target] if _is_one(target) else list(target)
        if callback is None and not ignore_queue and not self.writer.custom:
            await self.native.emit(event, args, rooms, skip_sid=skip_sid, namespace=namespace)
            return
        skip = (skip_sid,) if isinstance(skip_sid, str) else tuple(skip_sid or ())
        engine = self.native.engine
        names = None if rooms is None else room_names(rooms, alone=engine.alone)
        command = Broadcast(Selection(namespace or _DEFAULT, names, skip), self.writer.event(event, args))
        if engine.emits_wait:
            await engine.make_room(command.to)
        if callback is not None:
            values = (event, *self.writer.plain(args))
            callback = self.packets.reading(callback) if self.packets.reads else callback
            try:
                emit_with_callback(engine, command, values, callback, everywhere=not ignore_queue)
            except AckLimitExceeded as error:
                self.logger.warning("the callback of %r is not called for a client: %s", event, error)
        elif ignore_queue:
            engine.apply_command(command)
        else:
            engine.apply_everywhere(command)

    async def send(
        self,
        data: Any,
        to: Room | None = None,
        room: Room | None = None,
        skip_sid: str | Collection[str] | None = None,
        namespace: str | None = None,
        callback: AckCallback | None = None,
        ignore_queue: bool = False,
    ) -> None:
        """Emit the event ``message``; see `emit`."""
        await self.emit("message", data, to, room, skip_sid, namespace, callback, ignore_queue)

    async def call(
        self,
        event: str,
        data: Any = None,
        to: str | None = None,
        sid: str | None = None,
        namespace: str | None = None,
        timeout: float | None = 60,  # noqa: ASYNC109 - python-socketio's signature
        ignore_queue: bool = False,
    ) -> Any:
        """Emit to one client, on whichever server it is connected, and wait for its acknowledgement.

        With ``ignore_queue``, only if it is on this server.

        Returns:
            Its argument; None if it has none, a tuple if it has several. Of a client of a Node server the first.

        Raises:
            TimeoutError: no acknowledgement within ``timeout`` seconds, or the client is gone.
            RuntimeError: ``async_handlers`` is False.
            ValueError: neither ``to`` nor ``sid`` was given.
        """
        target = to if to is not None else sid
        if target is None:
            raise ValueError("Cannot use call() to broadcast.")
        if not self.async_handlers:
            raise RuntimeError("Cannot use call() when async_handlers is False.")
        args = () if data is None else data if isinstance(data, tuple) else (data,)
        plain = tuple(self.writer.plain(args))
        limit_s = _NO_LIMIT_S if timeout is None else timeout
        try:
            if ignore_queue or self.native.engine.alone or self.find(target, namespace) is not None:
                answer = await self.native.call(event, plain, target, namespace=namespace, timeout=limit_s)
            else:
                answer = await self._call_elsewhere(event, plain, target, namespace, limit_s)
        except (AckTimeout, SocketGone) as error:
            raise TimeoutError(str(error)) from None
        return self.packets.read_ack(answer)

    async def _call_elsewhere(
        self, event: str, args: tuple[Any, ...], sid: str, namespace: str | None, limit_s: float
    ) -> Any:
        answers = await self.native.of(namespace or _DEFAULT).to(sid).timeout(limit_s).gather_acks(event, *args)
        if not answers:
            raise SocketGone(sid, namespace or _DEFAULT)
        answer = answers[0]
        return tuple(answer) if len(answer) > 1 else answer[0] if answer else None

    # -- rooms and sessions -------------------------------------------------------------------------------------------

    async def enter_room(self, sid: str, room: Room, namespace: str | None = None) -> None:
        """Add a client to a room, on whichever server it is connected.

        Raises:
            ValueError: the namespace has no client, or the room is another client's own.
            KeyError: the client is not on this server, and there is no other.
        """
        engine = self.native.engine
        hub = engine.used_hub(namespace or _DEFAULT)
        if hub is None and engine.adapter.alone:
            raise ValueError("sid is not connected to requested namespace")
        if sid != room and hub is not None and room in hub.sockets:
            raise ValueError("cannot enter a sid room")
        await self.native.enter_room(sid, room, namespace)

    async def leave_room(self, sid: str, room: Room, namespace: str | None = None) -> None:
        """Remove a client from a room, on whichever server it is connected. Harmless if it is gone."""
        if self.native.engine.adapter.alone and self.find(sid, namespace) is None:
            return
        await self.native.leave_room(sid, room, namespace)

    async def close_room(self, room: Room, namespace: str | None = None) -> None:
        """Remove all members from a room, on every server.

        Raises:
            ValueError: the room is a client's own.
        """
        if self.find(room, namespace) is not None:
            raise ValueError("cannot close a sid room")
        await self.native.close_room(room, namespace)

    def rooms(self, sid: str, namespace: str | None = None) -> list[Room]:
        """The rooms of a client, among them its own (its ``sid``); empty if there is no such client."""
        socket = self.find(sid, namespace)
        return [] if socket is None else [sid, *socket.rooms]

    async def get_session(self, sid: str, namespace: str | None = None) -> dict[str, Any]:
        """See `Server.get_session`; its error is a `KeyError`."""
        return await self.native.get_session(sid, namespace)

    async def save_session(self, sid: str, session: dict[str, Any], namespace: str | None = None) -> None:
        """See `Server.save_session`; its error is a `KeyError`."""
        await self.native.save_session(sid, session, namespace)

    def session(self, sid: str, namespace: str | None = None) -> AbstractAsyncContextManager[dict[str, Any]]:
        """See `Server.session`."""
        return self.native.session(sid, namespace)

    async def disconnect(self, sid: str, namespace: str | None = None, ignore_queue: bool = False) -> None:
        """Disconnect a client from a namespace, on whichever server it is connected. Harmless if it is gone.

        Returns after its ``disconnect`` handler, if it is on this server and ``async_handlers`` is True.

        Args:
            sid: The client.
            namespace: ``/`` if None.
            ignore_queue: Only if it is on this server.
        """
        socket = self.find(sid, namespace)
        if socket is None:
            if not ignore_queue:
                await self.native.disconnect(sid, namespace)
            return
        waits = socket.connected and self.async_handlers and sid not in self._leaving
        handled = self.native.engine.registry.find("disconnect", namespace or _DEFAULT) is not None
        if not (waits and handled):
            await self.native.disconnect(sid, namespace)
            return
        left = self._leaving[sid] = asyncio.get_running_loop().create_future()
        try:
            await self.native.disconnect(sid, namespace)
            await asyncio.wait({left}, timeout=_WAIT_LIMIT_S)
        finally:
            del self._leaving[sid]

    def wrapped(self, event: str, handler: Handler) -> Handler:
        """The handler as the native server calls it.

        `disconnect` waits for the end of a ``disconnect`` handler; the argument ``json`` writes what others return,
        and a packet class reads what they receive.
        """
        if event == "disconnect":
            return self._announced(handler)
        if self.packets.reads and event != "connect":
            handler = self.packets.reading(handler)
        return self.writer.answering(handler) if self.writer.custom and event != "connect" else handler

    def _announced(self, handler: Handler) -> Handler:

        @wraps(handler)
        def call(*args: Any) -> Any:
            try:
                result = handler(*args)
            except BaseException:
                self._left(args)
                raise
            if inspect.isawaitable(result):
                return self._finish_leaving(result, args)
            self._left(args)
            return result

        return call

    async def _finish_leaving(self, result: Awaitable[Any], args: tuple[Any, ...]) -> None:
        try:
            await result
        finally:
            self._left(args)

    def _left(self, args: tuple[Any, ...]) -> None:
        for value in args:  # the sid, after the namespace if the handler is for all
            left = self._leaving.get(value)
            if left is not None and not left.done():
                left.set_result(None)

    # -- clients ------------------------------------------------------------------------------------------------------

    @property
    def environ(self) -> Mapping[str, Environ]:
        """The requests that opened the Engine.IO sessions, by session id. For reading only."""
        connections = self.native.engine.connections
        return {eio_sid: connection.environ for eio_sid, connection in connections.items()}

    def get_environ(self, sid: str, namespace: str | None = None) -> Environ | None:
        """The request that opened a client's session; None if there is no such client."""
        return None if self.find(sid, namespace) is None else self.native.get_environ(sid, namespace)

    def transport(self, sid: str, namespace: str | None = None) -> str:
        """See `Server.transport`; its error is a `KeyError`."""
        return self.native.transport(sid, namespace)

    def find(self, sid: str, namespace: str | None = None) -> Socket | None:
        """The socket of a client of this server; None if there is none."""
        hub = self.native.engine.used_hub(namespace or _DEFAULT)
        return None if hub is None else hub.sockets.get(sid)

    # -- the process --------------------------------------------------------------------------------------------------

    async def handle_request(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request or websocket as one to the Engine.IO path, whatever its path is (ASGI)."""
        if not self._initialized:
            self._initialized = True
            self.manager.initialize()
        await self._application({**scope, "path": self.native.options.path, "root_path": ""}, receive, send)

    def start_background_task(
        self, target: Callable[..., Coroutine[Any, Any, Any]], *args: Any, **kwargs: Any
    ) -> asyncio.Task[Any]:
        """See `Server.start_background_task`."""
        return self.native.start_background_task(target, *args, **kwargs)

    async def sleep(self, seconds: float = 0) -> None:
        """Sleep."""
        await asyncio.sleep(seconds)

    async def shutdown(self) -> None:
        """Close every connection and stop all timers."""
        await self.native.shutdown()

    def attach(self, app: Any, socketio_path: str = "socket.io") -> NoReturn:
        """Not supported: it is for aiohttp, Sanic and Tornado.

        Raises:
            NotImplementedError: always.
        """
        raise NotImplementedError("attach() is for aiohttp, Sanic and Tornado: serve ASGIApp(server) with uvicorn")

    def instrument(
        self,
        auth: Any = None,
        mode: Literal["development", "production"] = "development",
        read_only: bool = False,
        server_id: str | None = None,
        namespace: str = "/admin",
        server_stats_interval: float = 2,
    ) -> None:
        """Add the namespace for Socket.IO's admin UI; see `roomcast.realtime.admin`.

        Args:
            auth: ``{"username": …, "password": …}``.
            mode: ``development`` also shows sockets, rooms and events.
            read_only: Whether the UI can only read.
            server_id: The name of this server in the UI.
            namespace: The namespace.
            server_stats_interval: 2 seconds.

        Raises:
            ValueError: an argument cannot be honoured.
        """
        from roomcast.realtime.admin import AdminOptions, hash_password, instrument

        if not isinstance(auth, Mapping) or auth.keys() != {"username", "password"}:
            raise ValueError("instrument: auth must be a dictionary of username and password; no other form is there")
        if server_stats_interval != _STATS_INTERVAL_S:
            raise ValueError("instrument: server_stats_interval cannot be changed")
        options = AdminOptions(
            username=auth["username"],
            password_hash=hash_password(auth["password"]),
            namespace=namespace,
            mode=mode,
            read_only=read_only,
            server_id=server_id or "",
        )
        instrument(self.native, options)


def _is_one(room: Any) -> bool:
    """Whether this is one room, of any type, and not a collection of rooms."""
    return isinstance(room, str) or not hasattr(room, "__len__")
