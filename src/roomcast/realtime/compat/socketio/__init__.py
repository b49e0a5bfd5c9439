"""python-socketio's names.

An application moves by its import::

    import roomcast.realtime.compat.socketio as socketio

    sio = socketio.AsyncServer(async_mode="asgi")
    app = socketio.ASGIApp(sio)

A package that imports ``socketio`` itself moves by `install`, before it is imported. The modules have the names of
python-socketio's, and define nothing: they can be imported under both names. May import: compat.

| module | what |
|---|---|
| ``async_server``, ``async_namespace``, ``asgi`` | ``AsyncServer``, ``AsyncNamespace``, ``ASGIApp`` |
| ``async_manager``, ``async_redis_manager``, ``redis_manager`` | the client managers |
| ``async_client``, ``async_simple_client``, ``packet`` | clients and packet class of the installed python-socketio |
| ``exceptions`` | the exceptions |
"""

import sys
from typing import Any

from roomcast.realtime.compat import exceptions, python_client
from roomcast.realtime.compat.asgi import ASGIApp
from roomcast.realtime.compat.async_namespace import AsyncNamespace
from roomcast.realtime.compat.async_server import AsyncServer
from roomcast.realtime.compat.managers import AsyncManager, AsyncRedisManager
from roomcast.realtime.compat.redis_manager import RedisManager

__all__ = [
    "ASGIApp",
    "AsyncManager",
    "AsyncNamespace",
    "AsyncRedisManager",
    "AsyncServer",
    "RedisManager",
    "exceptions",
    "install",
]

_WITHOUT_COUNTERPART = {
    "Server": "the synchronous server: use AsyncServer",
    "Namespace": "the synchronous namespace: use AsyncNamespace",
    "WSGIApp": "WSGI: use ASGIApp",
    "Middleware": "WSGI: use ASGIApp",
    "Manager": "the synchronous manager: use AsyncManager",
    "PubSubManager": "managers for other brokers: use AsyncRedisManager",
    "KombuManager": "managers for other brokers: use AsyncRedisManager",
    "KafkaManager": "managers for other brokers: use AsyncRedisManager",
    "ZmqManager": "managers for other brokers: use AsyncRedisManager",
    "AsyncAioPikaManager": "managers for other brokers: use AsyncRedisManager",
    "get_tornado_handler": "Tornado: use ASGIApp",
}


def __getattr__(name: str) -> Any:
    """The clients of python-socketio.

    Raises:
        AttributeError: python-socketio has a name that has no counterpart; the text says what to use.
        ImportError: python-socketio is not installed.
    """
    if name in python_client.NAMES:
        return python_client.load(name)
    reason = _WITHOUT_COUNTERPART.get(name)
    raise AttributeError(
        f"module {__name__!r} has no attribute {name!r}" + (f": it has no counterpart of {reason}" if reason else "")
    )


def install() -> None:
    """Make ``import socketio`` mean this module in the whole process. Call it before anything imports ``socketio``."""
    for name in [name for name in sys.modules if name == "socketio" or name.startswith("socketio.")]:
        del sys.modules[name]
    sys.modules["socketio"] = sys.modules[__name__]
