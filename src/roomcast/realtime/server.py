"""The server for applications: the names of python-socketio's ``AsyncServer``, and methods that do not wait.

Layer: realtime. Source: python-socketio 5.18 for the names, signatures and return values.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Coroutine, Hashable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, TypeVar, overload

from roomcast.realtime.adapters.memory import MemoryAdapter
from roomcast.realtime.cluster.commands import (
    Adapter,
    Broadcast,
    Command,
    Disconnect,
    Join,
    Leave,
    Rooms,
    Selection,
    room_names,
)
from roomcast.realtime.cluster.nodes import Directory, SessionForwarder
from roomcast.realtime.core.broadcasting import Broadcasting, NamespaceHost, NamespaceOperator
from roomcast.realtime.core.callbacks import emit_with_callback
from roomcast.realtime.core.engine import Engine
from roomcast.realtime.core.environ import Environ
from roomcast.realtime.core.handlers.registry import Handler, NamespaceHandlers
from roomcast.realtime.core.observer import GuardedObserver, Observer
from roomcast.realtime.core.socket import AckCallback, Phase, Socket
from roomcast.realtime.errors import AckTimeout, SocketGone
from roomcast.realtime.fanout.message import EncodedEvent
from roomcast.realtime.hooks import ServerHooks
from roomcast.realtime.options import ServerOptions
from roomcast.realtime.transports.application import Application
from roomcast.realtime.transports.proxies import ASGIApp

HandlerT = TypeVar("HandlerT", bound=Handler)

_DEFAULT = "/"


class Server(ServerHooks, Broadcasting):
    """A Socket.IO server.

    An application that used python-socketio's ``AsyncServer`` moves by changing the import and the options. A working
    example::

        server = Server(ServerOptions(cors_allowed_origins=("https://chat.example",)))

        @server.event
        async def connect(sid, environ, auth):
            await server.enter_room(sid, "lobby")

        @server.on("say")
        async def say(sid, text):
            await server.emit("said", {"from": sid, "text": text}, room="lobby", skip_sid=sid)
            return "ok"  # the acknowledgement

        asyncio.run(serve([Site(server.asgi(), "127.0.0.1", 3001)]))

    Handlers are functions or coroutine functions. ``connect(sid, environ[, auth])`` may return False or raise
    `ConnectionRefusedError`; ``disconnect(sid[, reason])``; any other event gets ``(sid, *args)``, and what it returns
    is the acknowledgement: a tuple is several arguments, None an empty one, `NO_ACK` none. ``*`` handles the events, or
    namespaces, that have no other handler. Handlers of one connection start in order of arrival (`core.inbox`).

    A server belongs to one event loop. What it emits in a loop tick is written at the end of the tick, in order.
    """

    def __init__(
        self,
        options: ServerOptions | None = None,
        *,
        observer: Observer | None = None,
        adapter: Adapter | None = None,
        directory: Directory | None = None,
    ) -> None:
        """Create a server.

        Args:
            options: Defaults if None.
            observer: Receives metrics and log events.
            adapter: Carries commands to the other servers of a cluster; None: a single server.
            directory: Finds the other servers by node id. None: a cluster needs sticky sessions for polling.
        """
        options = ServerOptions() if options is None else options
        guarded: Any = GuardedObserver(Observer() if observer is None else observer)
        forwarder: SessionForwarder | None = None
        if directory is not None:
            from roomcast.realtime.forwarding.forwarder import Forwarder  # it needs an HTTP client

            forwarder = Forwarder(directory, options, guarded)
        self._engine = Engine(
            options,
            guarded,
            MemoryAdapter() if adapter is None else adapter,
            "" if directory is None else directory.node_id,
            forwarder,
        )

    @property
    def engine(self) -> Engine:
        """The connections, for `serve` and for metrics."""
        return self._engine

    @property
    def options(self) -> ServerOptions:
        """Its options."""
        return self._engine.options

    @property
    def connections(self) -> int:
        """The number of open Engine.IO sessions."""
        return len(self._engine.connections)

    def asgi(self, fallback: ASGIApp | None = None) -> Application:
        """The ASGI application: Engine.IO on its path, ``fallback`` (or 404) elsewhere."""
        return Application(self._engine, fallback)

    def of(self, namespace: str) -> NamespaceOperator:
        """A namespace: its sockets on every server of the cluster, and its events between servers.

        Without it, the operators of the server concern the namespace ``/``.
        """
        return NamespaceOperator(self._engine, namespace)

    def _scope(self) -> tuple[NamespaceHost, str]:
        return self._engine, _DEFAULT

    # -- handlers -----------------------------------------------------------------------------------------------------

    @overload
    def on(self, event: str, handler: None = None, namespace: str | None = None) -> Callable[[HandlerT], HandlerT]: ...

    @overload
    def on(self, event: str, handler: HandlerT, namespace: str | None = None) -> HandlerT: ...

    def on(
        self, event: str, handler: HandlerT | None = None, namespace: str | None = None
    ) -> HandlerT | Callable[[HandlerT], HandlerT]:
        """Register a handler, directly or as a decorator.

        Args:
            event: The event's name; ``*``: every event without a handler (the name is then the first argument).
            handler: The handler; None: return a decorator.
            namespace: ``/`` if None; ``*``: every namespace without a handler (the name is then the first argument).
        """

        def register(function: HandlerT) -> HandlerT:
            self._engine.registry.add(namespace or _DEFAULT, event, function)
            return function

        return register if handler is None else register(handler)

    @overload
    def event(self, handler: HandlerT) -> HandlerT: ...

    @overload
    def event(self, handler: None = None, namespace: str | None = None) -> Callable[[HandlerT], HandlerT]: ...

    def event(
        self, handler: HandlerT | None = None, namespace: str | None = None
    ) -> HandlerT | Callable[[HandlerT], HandlerT]:
        """Register a function under its own name: ``@server.event`` or ``@server.event(namespace="/x")``."""

        def register(function: HandlerT) -> HandlerT:
            return self.on(function.__name__, function, namespace)

        return register if handler is None else register(handler)

    def register_namespace(self, namespace_handler: NamespaceHandlers) -> None:
        """Register the handlers of a `Namespace`.

        Raises:
            ValueError: it is not a `Namespace`.
        """
        if not isinstance(namespace_handler, NamespaceHandlers):
            raise ValueError("Not a namespace instance")  # noqa: TRY004 - python-socketio's exception
        namespace_handler.bind_server(self)
        self._engine.registry.add_namespace(namespace_handler)

    # -- methods that take effect in this loop turn -------------------------------------------------------------------

    def socket(self, sid: str, namespace: str | None = None) -> Socket:
        """The socket with this id: connected, or inside its ``connect`` or ``disconnect`` handler.

        Raises:
            SocketGone: there is no such socket on this server (a ``KeyError``).
        """
        socket = self._local_socket(sid, namespace)
        if socket is None:
            raise SocketGone(sid, namespace or _DEFAULT)
        return socket

    def sockets(self, room: str | None = None, namespace: str | None = None) -> list[Socket]:
        """The connected sockets in a room (None: in the namespace), in no order."""
        hub = self._engine.used_hub(namespace or _DEFAULT)
        return [] if hub is None else hub.members(room)

    def broadcast(
        self,
        room: str | Collection[str] | None,
        message: EncodedEvent,
        *,
        namespace: str | None = None,
        skip: Collection[str] = (),
        volatile: bool = False,
    ) -> None:
        """Emit an encoded event to the members of a room on this server, not on others of its cluster.

        Args:
            room: A room or a socket id, or several (a member of two receives it once); None: the whole namespace.
            message: The event; encoded and framed once.
            namespace: ``/`` if None.
            skip: Rooms and socket ids whose members are left out.
            volatile: The event may be dropped for a client with a write backlog.
        """
        hub = self._engine.used_hub(namespace or _DEFAULT)
        if hub is not None:
            rooms = None if room is None else room_names(room, alone=True)
            hub.broadcast(rooms, message.message(hub.namespace), skip, volatile=volatile)

    # -- python-socketio ----------------------------------------------------------------------------------------------

    async def emit(
        self,
        event: str,
        data: Any = None,
        to: Rooms | None = None,
        *,
        room: Rooms | None = None,
        skip_sid: str | Collection[str] | None = None,
        namespace: str | None = None,
        callback: AckCallback | None = None,
        volatile: bool = False,
    ) -> None:
        """Emit an event, on every server of the cluster.

        Takes effect at once, except that it first waits while a recipient on this server that reads has half of
        ``outbox_limit_bytes`` left to read, at most `core.backlogs.PATIENCE_S` seconds.

        Args:
            event: Its name.
            data: Its argument; a tuple: several; None: none. ``bytes`` anywhere in it are sent as binary attachments.
            to: A room or socket id, or several; None: the whole namespace. Rooms as in `enter_room`.
            room: Another name for ``to``.
            skip_sid: Socket ids that are left out.
            namespace: ``/`` if None.
            callback: Called with the acknowledgement of each recipient; see `core.callbacks`.
            volatile: The event may be dropped for a client with a write backlog.

        Raises:
            EncodeError: the data cannot be encoded.
            AckLimitExceeded: ``max_pending_acks`` is reached for a recipient, which is not asked to acknowledge. All
                recipients have the event.
            TypeError: a room is not a string, and there may be other servers.
        """
        target = room if to is None else to
        args = _args_of(data)
        rooms = None if target is None else self._names(target)
        skip = (skip_sid,) if isinstance(skip_sid, str) else tuple(skip_sid or ())
        selection = Selection(namespace or _DEFAULT, rooms, skip)
        broadcast = Broadcast(selection, EncodedEvent.from_args(event, *args), volatile)
        if self._engine.emits_wait and not volatile:
            await self._engine.make_room(selection)
        if callback is None:
            self._apply_everywhere(broadcast)
        else:
            emit_with_callback(self._engine, broadcast, (event, *args), callback)

    def _names(self, rooms: Rooms) -> tuple[str, ...]:
        return room_names(rooms, alone=self._engine.adapter.alone)

    def _apply_everywhere(self, command: Command) -> None:
        self._engine.apply_everywhere(command)

    async def send(
        self,
        data: Any,
        to: Rooms | None = None,
        *,
        room: Rooms | None = None,
        skip_sid: str | Collection[str] | None = None,
        namespace: str | None = None,
        callback: AckCallback | None = None,
    ) -> None:
        """Emit the event ``message``; see `emit`."""
        await self.emit("message", data, to, room=room, skip_sid=skip_sid, namespace=namespace, callback=callback)

    async def call(
        self,
        event: str,
        data: Any = None,
        to: str | None = None,
        *,
        sid: str | None = None,
        namespace: str | None = None,
        timeout: float = 60,  # noqa: ASYNC109 - python-socketio's signature
    ) -> Any:
        """Emit to one client and wait for its acknowledgement.

        A ``connect`` handler cannot await it for its own client, which receives nothing before the handler ends; a task
        that it starts can.

        Returns:
            Its argument; None if it has none, a tuple if it has several.

        Raises:
            AckTimeout: no acknowledgement within ``timeout`` seconds, or the client disconnected (a ``TimeoutError``).
            SocketGone: there is no such socket on this server.
            ValueError: neither ``to`` nor ``sid`` was given.
        """
        target = to if to is not None else sid
        if target is None:
            raise ValueError("Cannot use call() to broadcast.")
        socket = self.socket(target, namespace)
        answer: asyncio.Future[list[Any]] = asyncio.get_running_loop().create_future()
        ack_id = socket.emit(event, *_args_of(data), callback=answer)
        try:
            done, _ = await asyncio.wait({answer}, timeout=timeout)
            if not done or answer.cancelled():
                raise AckTimeout(f"no acknowledgement of {event!r} from {target!r}")
            args = answer.result()
        finally:
            if ack_id is not None:
                socket.forget_ack(ack_id)
        if not args:
            return None
        return args[0] if len(args) == 1 else tuple(args)

    async def enter_room(self, sid: str, room: Hashable, namespace: str | None = None) -> None:
        """Add a client to a room, on whichever server it is connected.

        Args:
            sid: The socket's id.
            room: The room: a string, or on a single server any hashable that is no collection.
            namespace: ``/`` if None.

        Raises:
            TypeError: the room is not a string, and there may be other servers.
            RoomLimitExceeded: ``max_rooms_per_socket`` is reached (raised for sockets of this server only).
            SocketGone: the socket is not on this server, and there is no other.
        """
        rooms = self._names(room)
        socket = self._local_or_remote(sid, namespace)
        if socket is None:
            self._apply_everywhere(Join(Selection(namespace or _DEFAULT, (sid,)), rooms))
        else:
            for name in rooms:
                socket.join(name)

    async def leave_room(self, sid: str, room: Hashable, namespace: str | None = None) -> None:
        """Remove a client from a room, on whichever server it is connected. Harmless if it is not a member, or gone."""
        rooms = self._names(room)
        socket = self._present_socket(sid, namespace)
        if socket is None:
            self._apply_everywhere(Leave(Selection(namespace or _DEFAULT, (sid,)), rooms))
        else:
            for name in rooms:
                socket.leave(name)

    async def close_room(self, room: Hashable, namespace: str | None = None) -> None:
        """Remove all members from a room, on every server of the cluster."""
        rooms = self._names(room)
        self._apply_everywhere(Leave(Selection(namespace or _DEFAULT, rooms), rooms))

    def rooms(self, sid: str, namespace: str | None = None) -> list[str]:
        """The rooms of a client, including its own (its ``sid``); none if there is no such socket on this server."""
        socket = self._local_socket(sid, namespace)
        return [] if socket is None else [sid, *sorted(socket.rooms, key=str)]

    async def get_session(self, sid: str, namespace: str | None = None) -> dict[str, Any]:
        """The application's dictionary for a client.

        Raises:
            SocketGone: there is no such socket on this server.
        """
        return self.socket(sid, namespace).session

    async def save_session(self, sid: str, session: dict[str, Any], namespace: str | None = None) -> None:
        """Replace the application's dictionary for a client.

        Raises:
            SocketGone: there is no such socket on this server.
        """
        self.socket(sid, namespace).session = session

    def session(self, sid: str, namespace: str | None = None) -> AbstractAsyncContextManager[dict[str, Any]]:
        """The application's dictionary for a client, saved at the end of the ``async with`` block."""

        @asynccontextmanager
        async def open_session() -> AsyncIterator[dict[str, Any]]:
            session = await self.get_session(sid, namespace)
            try:
                yield session
            finally:
                await self.save_session(sid, session, namespace)

        return open_session()

    async def disconnect(self, sid: str, namespace: str | None = None) -> None:
        """Disconnect a client from a namespace, on whichever server it is connected. Harmless if it is gone."""
        socket = self._present_socket(sid, namespace)
        if socket is None:
            self._apply_everywhere(Disconnect(Selection(namespace or _DEFAULT, (sid,))))
        else:
            socket.disconnect()

    def _local_or_remote(self, sid: str, namespace: str | None) -> Socket | None:
        """The socket; None if it may be on another server, or away and recovered later."""
        engine = self._engine
        known = engine.adapter.alone and engine.recovery is None
        return self.socket(sid, namespace) if known else self._present_socket(sid, namespace)

    def _present_socket(self, sid: str, namespace: str | None) -> Socket | None:
        """The socket; with recovery, None also while its ``disconnect`` handler runs: its client may return."""
        socket = self._local_socket(sid, namespace)
        away = socket is not None and socket.phase is Phase.GONE and self._engine.recovery is not None
        return None if away else socket

    def _local_socket(self, sid: str, namespace: str | None) -> Socket | None:
        hub = self._engine.used_hub(namespace or _DEFAULT)
        return None if hub is None else hub.sockets.get(sid)

    def get_environ(self, sid: str, namespace: str | None = None) -> Environ:
        """The ``environ`` that the ``connect`` handler received, with what the application has stored in it.

        Raises:
            SocketGone: there is no such socket on this server.
        """
        return self.socket(sid, namespace).connection.environ

    def transport(self, sid: str, namespace: str | None = None) -> str:
        """``polling`` or ``websocket``.

        Raises:
            SocketGone: there is no such socket on this server.
        """
        return self.socket(sid, namespace).connection.transport_name.value

    def start_background_task(
        self, target: Callable[..., Coroutine[Any, Any, Any]], *args: Any, **kwargs: Any
    ) -> asyncio.Task[Any]:
        """Run a coroutine function as a task that the server keeps alive."""
        task = asyncio.get_running_loop().create_task(target(*args, **kwargs))
        self._engine.tasks.add(task)
        task.add_done_callback(self._engine.tasks.discard)
        return task

    async def sleep(self, seconds: float = 0) -> None:
        """Sleep; for compatibility with python-socketio."""
        await asyncio.sleep(seconds)

    async def start(self) -> None:
        """Join the cluster now.

        Without this, a server joins in the lifespan of `asgi`, or, where a mounted application has none, at its first
        handshake or emit.
        """
        await self._engine.membership.join()

    async def shutdown(self) -> None:
        """Close every connection, stop all timers, and leave the cluster. `serve` does this after a drain."""
        await self._engine.shutdown()
        await self._engine.membership.leave()


def _args_of(data: Any) -> tuple[Any, ...]:
    if data is None:
        return ()
    return data if isinstance(data, tuple) else (data,)
