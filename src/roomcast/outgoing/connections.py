"""Connects to public addresses only, so that a receiver that others choose is not in the network of the server.

The address that was checked is the one that is connected to: a name that resolves to another address later has no
effect. The certificate is checked for the name.

Layer: outgoing. Source: OWASP, "Server Side Request Forgery Prevention".
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from ipaddress import ip_address
from typing import Any, Final

import httpcore

from roomcast.outgoing.addresses import Address, Network, is_in, is_public

#: Names that are resolved at the same time. A thread of its own for each: a slow name server delays no other part.
_RESOLVERS: Final = 8


class AddressRefused(httpcore.ConnectError):
    """A receiver has no permitted address."""


class GuardedBackend(httpcore.AsyncNetworkBackend):
    """Opens the connections of a pool.

    Args:
        networks: Permitted, too.
        setting: The variable that names them, for errors.
        only: Whether no other address is permitted: without TLS, requests stay in these networks.
    """

    def __init__(self, networks: Sequence[Network], setting: str, *, only: bool = False) -> None:
        self._networks = networks
        self._setting = setting
        self._only = only
        self._backend = httpcore.AnyIOBackend()
        self._threads = ThreadPoolExecutor(_RESOLVERS, "resolver")

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - the signature of httpcore
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Connect to the first permitted address of a host that accepts.

        Raises:
            AddressRefused: it has none.
            httpcore.ConnectError: the name is unknown, or no address accepts.
        """
        failure: Exception = AddressRefused(
            f"no address of {host} is permitted: it must be public, or in {self._setting}"
            + (", where http:// is permitted, too" if self._only else "")
        )
        for address in await self._resolve(host, port):
            if not self._permits(address):
                continue
            try:
                return await self._backend.connect_tcp(
                    str(address), port, timeout, local_address=local_address, socket_options=socket_options
                )
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
        raise failure

    async def connect_unix_socket(self, *_arguments: Any, **_named: Any) -> httpcore.AsyncNetworkStream:
        """Never used."""
        raise AddressRefused("no Unix socket is permitted")

    async def sleep(self, seconds: float) -> None:
        """Used by httpcore between retries."""
        await asyncio.sleep(seconds)

    def close(self) -> None:
        """End the threads that are idle."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _permits(self, address: Address) -> bool:
        return is_in(address, self._networks) or (not self._only and is_public(address))

    async def _resolve(self, host: str, port: int) -> list[Address]:
        def resolve() -> list[Address]:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            # Without the zone of a link-local address.
            return [ip_address(str(address[0]).partition("%")[0]) for *_, address in found]

        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, resolve)
        except (OSError, UnicodeError) as error:
            raise httpcore.ConnectError(f"the name {host} cannot be resolved: {error}") from None
