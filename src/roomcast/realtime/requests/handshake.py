"""The parts of a session's opening request that the server keeps.

Layer: realtime.requests.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, MutableMapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

from roomcast.wire.engineio_http import TransportName

# More than any client sends. Parsing a query with more fields raises ValueError.
_MAX_QUERY_FIELDS = 64


class Headers(Mapping[str, str]):
    """Request headers by lower-case name; the values of a repeated header are joined with a comma (RFC 9110 §5.3).

    Stored as bytes and parsed at each access, which saves memory: a connection is open for hours, but its headers are
    rarely read more than once.
    """

    __slots__ = ("_raw",)

    def __init__(self, headers: Iterable[tuple[bytes, bytes]]) -> None:
        self._raw = b"\n".join(b"%b:%b" % (name.lower(), value) for name, value in headers)

    def _items(self) -> Iterator[tuple[str, str]]:
        for line in self._raw.split(b"\n") if self._raw else ():
            name, _, value = line.partition(b":")
            yield name.decode("latin-1"), value.strip().decode("latin-1")

    def _parsed(self) -> dict[str, str]:
        parsed: dict[str, str] = {}
        for name, value in self._items():
            parsed[name] = f"{parsed[name]}, {value}" if name in parsed else value
        return parsed

    def __getitem__(self, name: str) -> str:
        """The value of the header ``name``, case-insensitively."""
        return self._parsed()[name.lower()]

    def __iter__(self) -> Iterator[str]:
        return iter(self._parsed())

    def __len__(self) -> int:
        return len(self._parsed())

    def __repr__(self) -> str:
        """The names only: values may be confidential."""
        return f"Headers({sorted(self._parsed())})"

    def raw(self) -> list[tuple[bytes, bytes]]:
        """Names in lower case and values, as in an ASGI scope."""
        lines = [line.partition(b":") for line in self._raw.split(b"\n")] if self._raw else []
        return [(name, value) for name, _, value in lines]

    def all(self, name: str) -> list[str]:
        """The values of all header lines ``name``, in order."""
        return [value for key, value in self._items() if key == name.lower()]


@dataclass(frozen=True, slots=True)
class Handshake:
    """The request that opened a session, and the auth payload of a CONNECT packet.

    Attributes:
        headers: The request headers.
        address: The client's IP address, as reported by trusted proxies if there are any; None on a Unix socket.
        query_string: The query, percent-encoded as received.
        time: Time of the handshake, in Unix seconds.
        transport: The transport of the request.
        path: The path of the request, percent-decoded.
        secure: Whether the client uses TLS, to this server or to a trusted proxy.
        auth: The payload of the CONNECT packet, or None.
        scope: The ASGI scope, if an application in front has put something into it.
    """

    headers: Headers
    address: str | None
    query_string: str
    time: float
    transport: TransportName
    path: str
    secure: bool = False
    auth: Any = field(default=None, repr=False)
    scope: MutableMapping[str, Any] | None = field(default=None, repr=False, compare=False)

    @property
    def query(self) -> dict[str, str]:
        """The fields of the query; the last one wins if a name is repeated."""
        return dict(parse_qsl(self.query_string, keep_blank_values=True, max_num_fields=_MAX_QUERY_FIELDS))
