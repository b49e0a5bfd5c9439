"""The arguments of python-socketio's ``AsyncServer``, as options of `Server`.

An argument that cannot be honoured raises `ValueError`, or warns if its default is meant as well.

Layer: realtime.compat. Source: python-socketio 5.18, ``AsyncServer``; python-engineio 4.15, ``BaseServer``.
"""

from __future__ import annotations

import warnings
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Final, cast

from roomcast.realtime.compat.origins import Origins
from roomcast.realtime.options import CookieOptions, ServerOptions
from roomcast.wire.engineio_http import ALL_TRANSPORTS, TransportName

# python-socketio has no limit. Each of these handlers is a task; without a limit, a client could start a thousand in
# each second (``max_packets_per_s``).
_HANDLERS_AT_ONCE: Final = 256
# Attachments of one packet: python-socketio limits each message only.
_REASSEMBLY_FACTOR: Final = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Arguments:
    """The arguments that options express; see `AsyncServer`."""

    async_handlers: bool
    always_connect: bool
    namespaces: Collection[str] | None
    async_mode: str | None
    ping_interval: float | tuple[float, float]
    ping_timeout: float
    max_http_buffer_size: float
    allow_upgrades: bool
    http_compression: bool
    compression_threshold: int
    cookie: str | Mapping[str, Any] | None
    cors_allowed_origins: Origins
    cors_credentials: bool
    monitor_clients: bool | None
    transports: str | Collection[str] | None
    serializer: Any

    def options(self) -> ServerOptions:
        """The options of the server.

        Raises:
            ValueError: an argument is wrong, or cannot be honoured.
        """
        self._check()
        interval, grace = self.ping_interval if isinstance(self.ping_interval, tuple) else (self.ping_interval, 0)
        size_bytes = int(self.max_http_buffer_size)  # often written as 1e8
        return ServerOptions(
            transports=self._transports(),
            ping_interval_s=interval,
            ping_timeout_s=self.ping_timeout + grace,
            max_payload_bytes=size_bytes,
            max_reassembly_bytes=_REASSEMBLY_FACTOR * size_bytes,
            unfinished_limit_bytes=max(ServerOptions().unfinished_limit_bytes, _REASSEMBLY_FACTOR * size_bytes),
            namespaces=_names(self.namespaces),
            cors_credentials=self.cors_credentials,
            always_connect=self.always_connect,
            parser="msgpack" if self.serializer == "msgpack" else "json",
            cookie=_cookie(self.cookie),
            http_compression_threshold_bytes=self.compression_threshold if self.http_compression else None,
            handler_concurrency=self._concurrency(),
        )

    def _check(self) -> None:
        if self.async_mode not in {None, "asgi"}:
            raise ValueError(
                f"async_mode={self.async_mode!r}: only 'asgi' is there; serve ASGIApp(server) with uvicorn"
            )
        if not isinstance(self.serializer, type) and self.serializer not in {"default", "msgpack"}:
            raise ValueError(
                f"serializer={self.serializer!r}: only 'default', 'msgpack' and a subclass of Packet are there"
            )
        if self.monitor_clients is False:
            _warn("monitor_clients=False has no effect: clients without a pong are always disconnected")

    def _concurrency(self) -> int:
        return _HANDLERS_AT_ONCE if self.async_handlers else 1

    def _transports(self) -> tuple[TransportName, ...]:
        if self.transports is None:
            return ALL_TRANSPORTS
        named = {self.transports} if isinstance(self.transports, str) else set(self.transports)
        known = tuple(name for name in ALL_TRANSPORTS if name in named)
        if not known:
            raise ValueError("No valid transports provided")
        return known


def _names(value: str | Collection[str] | None) -> tuple[str, ...]:
    if value is None:
        return ()
    return (value,) if isinstance(value, str) else tuple(value)


def _cookie(cookie: str | Mapping[str, Any] | None) -> CookieOptions | None:
    if cookie is None:
        return None
    if isinstance(cookie, str):
        return CookieOptions(name=cookie)
    attributes = {name.lower(): value for name, value in cookie.items()}
    if any(callable(value) for value in attributes.values()):
        raise ValueError("cookie: an attribute that is a function is not supported")
    same_site = attributes.pop("samesite", None)
    max_age = attributes.pop("max-age", None)
    known = CookieOptions(
        name=attributes.pop("name", "io"),
        path=attributes.pop("path", None),
        domain=attributes.pop("domain", None),
        http_only=attributes.pop("httponly", False),
        secure=attributes.pop("secure", False),
        same_site=cast("Any", same_site.lower() if isinstance(same_site, str) else same_site),
        max_age_s=None if max_age is None else int(max_age),
    )
    if attributes:
        raise ValueError(f"cookie: the attributes {sorted(attributes)} are not supported")
    return known


def _warn(message: str) -> None:
    warnings.warn(message, stacklevel=5)
