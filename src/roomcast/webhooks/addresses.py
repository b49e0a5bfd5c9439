"""Connects to public addresses only, so that a webhook cannot reach the network of the server.

The address that was checked is the one that is connected to: a name that resolves to another address later has no
effect. The certificate is checked for the name.

Layer: webhooks. Source: OWASP, "Server Side Request Forgery Prevention".
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any, Final

import httpcore

Network = IPv4Network | IPv6Network

#: Services of cloud providers for their machines, at addresses that are public otherwise.
_OF_PROVIDERS: Final = frozenset({ip_address("168.63.129.16")})
#: NAT64: the last 32 bits are an IPv4 address (RFC 6052, RFC 8215).
_NAT64: Final = (IPv6Network("64:ff9b::/96"), IPv6Network("64:ff9b:1::/48"))
#: Names that are resolved at the same time. A thread of its own for each: a slow name server delays no other part.
_RESOLVERS: Final = 8


class AddressRefused(httpcore.ConnectError):
    """A receiver has no address that webhooks may be sent to."""


def is_public(address: IPv4Address | IPv6Address) -> bool:
    """Whether an address, and the IPv4 address that an IPv6 address may contain, is one of the public Internet."""
    if isinstance(address, IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour or (address.teredo and address.teredo[1])
        if inner is None and any(address in network for network in _NAT64):
            inner = IPv4Address(int(address) & 0xFFFF_FFFF)
        if inner is not None:
            return is_public(inner)
    return address.is_global and not address.is_multicast and address not in _OF_PROVIDERS


class GuardedBackend(httpcore.AsyncNetworkBackend):
    """Opens the connections of a pool.

    Args:
        networks: Permitted, too.
        only: Whether no other address is permitted: without TLS, requests stay in these networks.
    """

    def __init__(self, networks: Sequence[Network], *, only: bool) -> None:
        self._networks = networks
        self._only = only
        self._backend = httpcore.AnyIOBackend()
        self._threads = ThreadPoolExecutor(_RESOLVERS, "webhook-resolver")

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
            f"no address of {host} is permitted: it must be public, or in ROOMCAST_WEBHOOK_NETWORKS"
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

    def _permits(self, address: IPv4Address | IPv6Address) -> bool:
        inner = address.ipv4_mapped if isinstance(address, IPv6Address) else None
        if any((inner or address) in network for network in self._networks):
            return True
        return not self._only and is_public(address)

    async def _resolve(self, host: str, port: int) -> list[IPv4Address | IPv6Address]:
        def resolve() -> list[IPv4Address | IPv6Address]:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            # Without the zone of a link-local address.
            return [ip_address(str(address[0]).partition("%")[0]) for *_, address in found]

        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, resolve)
        except (OSError, UnicodeError) as error:
            raise httpcore.ConnectError(f"the name {host} cannot be resolved: {error}") from None


def parse_networks(values: Iterable[str]) -> tuple[Network, ...]:
    """Networks such as ``10.0.0.0/8``.

    Raises:
        ValueError: one is invalid.
    """
    return tuple(ip_network(value) for value in values)
