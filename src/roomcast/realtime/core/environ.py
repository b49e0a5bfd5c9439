"""The ``environ`` of ``connect`` handlers: the opening request under the names of PEP 3333, and its ASGI scope.

Layer: realtime.core. Source: python-engineio 4.15, ``async_drivers/asgi.py``; PEP 3333, "environ Variables"; ASGI 3.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, MutableMapping
from typing import Any, Final

from roomcast.realtime.options import DEFAULT_PORTS
from roomcast.realtime.requests.handshake import Handshake
from roomcast.wire.engineio_http import TransportName

_SCOPE: Final = "asgi.scope"
# What every ASGI server puts into a scope, and what can be made again from a handshake.
_SERVER_KEYS: Final = frozenset(
    {
        "type",
        "asgi",
        "http_version",
        "scheme",
        "method",
        "path",
        "raw_path",
        "root_path",
        "query_string",
        "headers",
        "client",
        "server",
        "subprotocols",
        "extensions",
        "state",
    }
)


class Environ(MutableMapping[str, Any]):
    """`environ_of` a handshake, for the life of its connection: what the application stores in it stays.

    Computed at the first access. What the application has not changed is dropped after the ``connect`` handler and
    computed again when it is needed, since a connection is open for hours.
    """

    __slots__ = ("_data", "_handshake", "_kept")

    def __init__(self, handshake: Handshake) -> None:
        self._handshake = handshake
        self._data: dict[str, Any] | None = None
        self._kept = False

    def _computed(self) -> dict[str, Any]:
        if self._data is None:
            self._data = environ_of(self._handshake)
        return self._data

    def release(self) -> None:
        """Drop what can be computed again."""
        if not self._kept:
            self._data = None

    def __getitem__(self, key: str) -> Any:
        """The value of a key."""
        if key == _SCOPE:
            self._kept = True  # a dictionary that the application may change
        return self._computed()[key]

    def __setitem__(self, key: str, value: Any) -> None:
        """Store a value for the life of the connection."""
        self._kept = True
        self._computed()[key] = value

    def __delitem__(self, key: str) -> None:
        """Remove a key for the life of the connection."""
        self._kept = True
        del self._computed()[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._computed())

    def __len__(self) -> int:
        return len(self._computed())

    def __repr__(self) -> str:
        """The names only: values may be confidential."""
        return f"Environ({sorted(self)})"

    def copy(self) -> dict[str, Any]:
        """A dictionary with the same entries."""
        return dict(self)

    __copy__ = copy

    def __or__(self, other: Mapping[str, Any]) -> dict[str, Any]:
        return {**self, **other}

    def __ror__(self, other: Mapping[str, Any]) -> dict[str, Any]:
        return {**other, **self}


def kept_scope(scope: MutableMapping[str, Any]) -> MutableMapping[str, Any] | None:
    """The scope if an application in front has put something into it; None if `environ_of` can make an equal one."""
    return scope if scope.get("state") or not _SERVER_KEYS.issuperset(scope) else None


def environ_of(handshake: Handshake) -> dict[str, Any]:
    """The handshake as a dictionary with python-socketio's keys, and `asgi.scope`.

    Without ``wsgi.input``, ``asgi.receive`` and ``asgi.send``, since the request has been answered. ``SERVER_NAME`` and
    ``SERVER_PORT`` are those of ``Host``.
    """
    host, port = _server(handshake)
    environ: dict[str, Any] = {
        "REQUEST_METHOD": "GET",
        "PATH_INFO": handshake.path,
        "RAW_URI": f"{handshake.path}?{handshake.query_string}",
        "QUERY_STRING": handshake.query_string,
        "SERVER_PROTOCOL": "HTTP/1.1",
        "SERVER_SOFTWARE": "roomcast",
        "SERVER_NAME": host,
        "SERVER_PORT": str(port),
        "REMOTE_ADDR": handshake.address or "",
        "REMOTE_PORT": "0",
        "SCRIPT_NAME": "",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "https" if handshake.secure else "http",
        "wsgi.errors": sys.stderr,
        "wsgi.async": True,
        "wsgi.multithread": False,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
        _SCOPE: _scope(handshake, host, port) if handshake.scope is None else handshake.scope,
    }
    for name, value in handshake.headers.items():
        key = name.upper().replace("-", "_")
        environ[sys.intern(key if key in {"CONTENT_TYPE", "CONTENT_LENGTH"} else f"HTTP_{key}")] = value
    return environ


def _server(handshake: Handshake) -> tuple[str, int]:
    """The name and port that the client has asked for."""
    default = DEFAULT_PORTS["https" if handshake.secure else "http"]
    host = handshake.headers.get("host", "")
    name, separator, port = host.rpartition(":")
    if separator and port.isascii() and port.isdigit():
        return name, int(port)
    return host, default


def _scope(handshake: Handshake, host: str, port: int) -> dict[str, Any]:
    websocket = handshake.transport is TransportName.WEBSOCKET
    scope: dict[str, Any] = {
        "type": "websocket" if websocket else "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "scheme": ("ws" if websocket else "http") + ("s" if handshake.secure else ""),
        "path": handshake.path,
        "raw_path": handshake.path.encode(),
        "root_path": "",
        "query_string": handshake.query_string.encode("latin-1"),
        "headers": handshake.headers.raw(),
        "client": None if handshake.address is None else (handshake.address, 0),
        "server": (host, port),
        "state": {},
    }
    if websocket:
        scope["subprotocols"] = []
    else:
        scope["method"] = "GET"
    return scope
