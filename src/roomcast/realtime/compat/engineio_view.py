"""The attribute ``eio`` of a server: settings and sessions of Engine.IO.

Layer: realtime.compat. Source: python-engineio 4.15, ``AsyncServer``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from roomcast.realtime.compat.arguments import Arguments
from roomcast.realtime.core.connection import Connection
from roomcast.realtime.core.reasons import Reason
from roomcast.realtime.server import Server


class EngineIOView:
    """Engine.IO's side of a server.

    The intervals, timeouts and sizes may be set before the first client connects; other attributes are for reading.
    """

    __slots__ = ("_arguments", "_native", "logger")

    def __init__(self, native: Server, arguments: Arguments, logger: Any) -> None:
        self._native = native
        self._arguments = arguments
        self.logger = logger

    @property
    def async_mode(self) -> str:
        """``asgi``."""
        return "asgi"

    @property
    def ping_interval(self) -> float:
        """Seconds between the last pong and the next ping."""
        return self._native.options.ping_interval_s

    @ping_interval.setter
    def ping_interval(self, seconds: float) -> None:
        self._set(ping_interval_s=seconds)

    @property
    def ping_timeout(self) -> float:
        """Time limit for a pong, in seconds."""
        return self._native.options.ping_timeout_s

    @ping_timeout.setter
    def ping_timeout(self, seconds: float) -> None:
        self._set(ping_timeout_s=seconds)

    @property
    def max_http_buffer_size(self) -> int:
        """Largest message from a client, in bytes."""
        return self._native.options.max_payload_bytes

    @max_http_buffer_size.setter
    def max_http_buffer_size(self, size_bytes: int) -> None:
        self._set(max_payload_bytes=size_bytes)

    @property
    def transports(self) -> list[str]:
        """Names of the allowed transports."""
        return [name.value for name in self._native.options.transports]

    @property
    def allow_upgrades(self) -> bool:
        """As given."""
        return self._arguments.allow_upgrades

    @property
    def cors_allowed_origins(self) -> Any:
        """As given."""
        return self._arguments.cors_allowed_origins

    @property
    def cors_credentials(self) -> bool:
        """As given."""
        return self._arguments.cors_credentials

    @property
    def cookie(self) -> Any:
        """As given."""
        return self._arguments.cookie

    @property
    def sockets(self) -> Mapping[str, Connection]:
        """The open sessions by their id. For reading only."""
        return MappingProxyType(self._native.engine.connections)

    def transport(self, sid: str) -> str:
        """``polling`` or ``websocket``.

        Raises:
            KeyError: there is no such session.
        """
        return self._native.engine.connections[sid].transport_name.value

    async def disconnect(self, sid: str | None = None) -> None:
        """Close a session, or all."""
        connections = self._native.engine.connections
        for connection in list(connections.values()) if sid is None else [connections.get(sid)]:
            if connection is not None:
                connection.close(Reason.SERVER_DISCONNECT)

    def generate_id(self) -> str:
        """An id that cannot be guessed."""
        return self._native.engine.new_session_id()

    def start_background_task(
        self, target: Callable[..., Coroutine[Any, Any, Any]], *args: Any, **kwargs: Any
    ) -> asyncio.Task[Any]:
        """See `Server.start_background_task`."""
        return self._native.start_background_task(target, *args, **kwargs)

    async def sleep(self, seconds: float = 0) -> None:
        """Sleep."""
        await asyncio.sleep(seconds)

    def create_event(self) -> asyncio.Event:
        """An event of asyncio."""
        return asyncio.Event()

    def create_queue(self, maxsize: int = 0) -> asyncio.Queue[Any]:
        """A queue of asyncio."""
        return asyncio.Queue(maxsize)

    def _set(self, **changes: Any) -> None:
        engine = self._native.engine
        engine.options = replace(engine.options, **changes)
        engine.timeouts = engine.options.timeouts()
        engine.limits = engine.options.limits()
