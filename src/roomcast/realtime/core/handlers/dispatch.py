"""Calls handlers: finds them, sends their return value as the acknowledgement, and reports their exceptions.

A handler that raises closes neither the connection nor the process: the exception is logged with its traceback, the
observer is notified, and the client receives no acknowledgement.

Each call has a copy of the context: a context variable that a plain function sets is not set in the next handler.

Layer: realtime.core. Source: python-socketio 5 for the meaning of return values.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
from builtins import ConnectionRefusedError as BuiltinConnectionRefusedError
from collections.abc import Awaitable, Coroutine
from contextvars import copy_context
from types import CoroutineType
from typing import Any, Final

from roomcast.realtime.core.handlers.registry import NO_ACK, Registry, call
from roomcast.realtime.core.observer import Observer
from roomcast.realtime.core.reasons import Reason
from roomcast.realtime.core.socket import AckCallback, Phase, Socket
from roomcast.realtime.errors import ConnectionRefusedError  # noqa: A004 - see there

logger = logging.getLogger(__name__)

#: The message to a client that is refused without another one.
REJECTED: Final = "Connection rejected by server"

Unfinished = Coroutine[Any, Any, None] | None


class Dispatcher:
    """Calls the handlers of one server.

    Each method returns None if the handler is done, else the coroutine that finishes it.
    """

    def __init__(self, registry: Registry, observer: Observer) -> None:
        self._registry = registry
        self._observer = observer

    def handles(self, event: str, namespace: str) -> bool:
        """Whether the event has a handler in the namespace, or may have a listener."""
        return self._registry.find(event, namespace) is not None or self._registry.hooked

    def connect(self, socket: Socket) -> Unfinished:
        """Call the ``connect`` handler, and accept or reject the socket."""
        if socket.kicked or socket.phase is Phase.GONE:  # while its CONNECT packet waited
            socket.connection.reject(socket, REJECTED)
            return None
        found = self._registry.find("connect", socket.namespace)
        if found is None:
            socket.connection.accept(socket)
            return None
        if socket.connection.options.always_connect:
            socket.connection.accept(socket)
        environ = socket.connection.environ
        try:
            result = copy_context().run(call, found, "connect", socket.sid, environ, socket.auth or None)
        except Exception as error:  # noqa: BLE001 - a handler may raise anything; _report_failure logs it
            self._refuse(socket, error)
            return None
        if result is not None and inspect.isawaitable(result):
            return self._finish_connect(socket, result)
        environ.release()
        self._decide(socket, result)
        return None

    async def _finish_connect(self, socket: Socket, result: Awaitable[Any]) -> None:
        try:
            decision = await result
        except asyncio.CancelledError:
            self._reject(socket, "Server shutting down")
            raise
        except Exception as error:  # noqa: BLE001 - see connect
            self._refuse(socket, error)
        else:
            self._decide(socket, decision)
        finally:
            socket.connection.environ.release()

    def _decide(self, socket: Socket, decision: Any) -> None:
        if decision is False:
            self._reject(socket, REJECTED)
        elif not socket.connection.options.always_connect:
            socket.connection.accept(socket)

    def _reject(self, socket: Socket, message: str, data: Any = None) -> None:
        if socket.connection.options.always_connect:
            socket.disconnect()  # too late for CONNECT_ERROR
        else:
            socket.connection.reject(socket, message, data)

    def _refuse(self, socket: Socket, error: Exception) -> None:
        self._reject(socket, *self._refusal(socket, error))

    def _refusal(self, socket: Socket, error: Exception) -> tuple[str, Any]:
        """Message and data for a client whose handler or middleware has raised."""
        if isinstance(error, ConnectionRefusedError):
            return error.message, error.data
        if isinstance(error, BuiltinConnectionRefusedError):
            return "Connection refused by server", None
        self._report_failure(socket, "connect", error)
        # Details of an exception may be confidential: they go to the log only.
        return "Internal server error", None

    def event(self, socket: Socket, event: str, args: list[Any], ack_id: int | None) -> Unfinished:
        """Call the handler of an event, and acknowledge the event with its return value."""
        found = self._registry.find(event, socket.namespace)
        try:
            self._observer.event_received(socket, event, found is not None)
            if found is None:
                return None
            socket.ack_id = ack_id
            result = copy_context().run(found.function, *found.prefix, socket.sid, *args)
        except Exception as error:  # noqa: BLE001 - see connect
            self._report_failure(socket, event, error)
            return None
        if isinstance(result, CoroutineType) or inspect.isawaitable(result):
            return self._finish_event(socket, event, result, ack_id)
        if ack_id is not None:
            self._acknowledge(socket, event, ack_id, result)
        return None

    async def _finish_event(self, socket: Socket, event: str, result: Awaitable[Any], ack_id: int | None) -> None:
        try:
            value = await result
        except Exception as error:  # noqa: BLE001 - see connect
            self._report_failure(socket, event, error)
        else:
            if ack_id is not None:
                self._acknowledge(socket, event, ack_id, value)

    def _acknowledge(self, socket: Socket, event: str, ack_id: int, value: Any) -> None:
        if value is NO_ACK:
            return
        if not isinstance(value, tuple):
            value = () if value is None else (value,)
        try:
            socket.acknowledge(ack_id, value)
        except Exception as error:  # noqa: BLE001 - a handler may return anything, and encoding it may fail
            self._report_failure(socket, event, error)

    def disconnect(self, socket: Socket, reason: Reason) -> Unfinished:
        """Call the ``disconnect`` handler, then unregister the socket."""
        found = self._registry.find("disconnect", socket.namespace)
        if found is None:
            socket.unregister()
            return None
        try:
            result = copy_context().run(call, found, "disconnect", socket.sid, reason.value)
        except Exception as error:  # noqa: BLE001 - see connect
            self._report_failure(socket, "disconnect", error)
        else:
            if result is not None and inspect.isawaitable(result):
                return self._finish_disconnect(socket, result)
        socket.unregister()
        return None

    async def _finish_disconnect(self, socket: Socket, result: Awaitable[Any]) -> None:
        try:
            await result
        except Exception as error:  # noqa: BLE001 - see connect
            self._report_failure(socket, "disconnect", error)
        finally:
            socket.unregister()

    def acknowledged(
        self, socket: Socket, callback: AckCallback | asyncio.Future[list[Any]], args: list[Any]
    ) -> Unfinished:
        """Pass a client's acknowledgement to its callback or future."""
        if isinstance(callback, asyncio.Future):
            if not callback.done():
                callback.set_result(args)
            return None
        try:
            result = copy_context().run(callback, *args)
        except Exception as error:  # noqa: BLE001 - see connect
            self._report_failure(socket, "ack", error)
            return None
        return self._finish_event(socket, "ack", result, None) if inspect.isawaitable(result) else None

    def _report_failure(self, socket: Socket, event: str, error: Exception) -> None:
        # %r: the event name is peer input.
        facts = {"socket_id": socket.sid}
        logger.error("handler of %r in %r failed", event, socket.namespace, exc_info=error, extra=facts)
        self._observer.handler_failed(socket, event, error)
