"""The URL of one Redis server, of sentinels or of a cluster.

Layer: redis_client. Source: the schemes redis and rediss of the IANA registry, with ``+sentinel`` or ``+cluster``.
"""

from __future__ import annotations

from typing import Final
from urllib.parse import unquote, urlsplit

from roomcast.redis_client.options import RedisAddress, RedisOptions, RedisTls

DEFAULT_PORT: Final = 6379
_HINT: Final = (
    "is invalid; expected redis[s]://[user:password@]host[:port][/db], redis[s]+cluster://host:port,host:port"
    " or redis[s]+sentinel://host:port,host:port/master[/db]"
)
_QUERY_HINT: Final = (
    "must not contain ? or #: write the database as a path (redis://host:port/3), use rediss:// for TLS (certificates"
    " are always verified), and write ? and # in a password as %3F and %23"
)


def parse_url(url: str) -> RedisOptions:
    """Parse a URL. Hosts are separated by commas.

    Raises:
        ValueError: the URL is invalid; the text says what to do and continues a sentence that begins with the name of
            the setting. It never contains a part of the URL, which may have a password.
    """
    scheme, separator, rest = url.partition("://")
    transport, _, kind = scheme.lower().partition("+")
    if not separator or transport not in {"redis", "rediss"} or kind not in {"", "cluster", "sentinel"}:
        raise ValueError(_HINT)
    if "?" in rest or "#" in rest:
        raise ValueError(_QUERY_HINT)
    place, _, path = rest.partition("/")
    login, at, hosts = place.rpartition("@")
    username, _, password = login.partition(":")
    parts = [unquote(part) for part in path.split("/") if part]
    master = parts.pop(0) if kind == "sentinel" and parts else None
    number = parts.pop(0) if parts else "0"
    addresses = tuple(_address(item) for item in hosts.split(","))
    wanted = {"": len(addresses) == 1, "cluster": number == "0", "sentinel": master is not None}
    if parts or not number.isascii() or not number.isdigit() or not wanted[kind]:
        raise ValueError(_HINT)
    return RedisOptions(
        addresses=addresses,
        sentinel_master=master,
        cluster=kind == "cluster",
        username=unquote(username) or None if at else None,
        password=unquote(password) or None if at else None,
        db=int(number[:4]),
        tls=RedisTls() if transport == "rediss" else None,
    )


def _address(item: str) -> RedisAddress:
    try:
        parts = urlsplit(f"//{item}")
        host, port = parts.hostname, DEFAULT_PORT if parts.port is None else parts.port
    except ValueError:
        raise ValueError(_HINT) from None
    if not host or not host.isprintable() or not port:
        raise ValueError(_HINT)
    try:
        host.encode("idna")
    except UnicodeError:
        raise ValueError("contains an invalid host name") from None
    return RedisAddress(host, port)
