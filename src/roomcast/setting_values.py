"""Single values of settings: checks of their form, with errors that name the variable or option to change.

Each function raises `SettingsError` for an invalid value.

Layer: setting_values.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from ipaddress import ip_network
from pathlib import Path
from typing import Final, TypeVar
from urllib.parse import urlsplit

from roomcast.contract.tenants import MAX_TENANT_CHARS, TENANT, qualify
from roomcast.outgoing.addresses import Network
from roomcast.realtime.options import ANY_ORIGIN, is_base_path, serialize_origin

MAX_PORT: Final = 65_535
#: Longer than the termination grace period of any platform.
MAX_WAIT_S: Final = 3_600.0
#: More than any key or URL has.
_MAX_FILE_BYTES: Final = 65_536
#: First segments of the paths of page, API and gateway.
_OWN_PATHS: Final = frozenset({"api", "assets", "c", "health", "live", "ready", "metrics", "socket.io"})
_Choice = TypeVar("_Choice", bound=str)
# A file or a Kubernetes secret often ends with a newline, which is not part of its value.
LINE_END: Final = "\r\n"


class SettingsError(Exception):
    """The configuration is invalid; the text is one line that names the variable or option to change."""

    def __init__(self, variable: str, problem: str) -> None:
        super().__init__(f"{variable} {problem}")


def read_content(name: str, path: str) -> str:
    """The text in a file, without line breaks at its end.

    Args:
        name: The variable or option that names the file.
        path: The path of the file.

    Raises:
        SettingsError: it cannot be read, is too long, or contains no text.
    """
    if not path:
        # Not as if it were unset: an empty path must not turn authentication off.
        raise SettingsError(name, "is empty; set the path of a file, or unset it")
    try:
        with Path(path).open("rb") as file:
            content = file.read(_MAX_FILE_BYTES + 1)
    except OSError as error:
        raise SettingsError(name, f"names {path}, which cannot be read: {error.strerror}") from None
    if len(content) > _MAX_FILE_BYTES:
        raise SettingsError(name, f"names {path}, which has more than {_MAX_FILE_BYTES} bytes and is no secret")
    try:
        value = content.decode().rstrip(LINE_END)
    except UnicodeDecodeError:
        raise SettingsError(name, f"names {path}, which is not valid UTF-8") from None
    if not value.strip():
        raise SettingsError(name, f"names {path}, which is empty")
    if "\0" in value:
        raise SettingsError(name, f"names {path}, which contains a zero byte")
    return value


def check_text(name: str, value: str) -> str:
    """Return the value if it is valid UTF-8: Python decodes other bytes of the environment to surrogates.

    Raises:
        SettingsError: it is not.
    """
    try:
        value.encode()
    except UnicodeEncodeError:
        raise SettingsError(name, "is not valid UTF-8") from None
    return value


def check_host(name: str, host: str) -> str:
    """Return the host if a resolver accepts it as a name or address.

    Raises:
        SettingsError: an empty label, as in ``a..b``, or a label that is too long.
    """
    try:
        host.encode("idna")
    except UnicodeError:
        raise SettingsError(name, "contains an invalid host name") from None
    return host


def check_port(name: str, port: int) -> int:
    """Return the port if it is a valid TCP port. 0 is not: it means "any free port".

    Raises:
        SettingsError: the number is out of range.
    """
    if not 1 <= port <= MAX_PORT:
        raise SettingsError(name, f"is {port}; expected a port from 1 to {MAX_PORT}")
    return port


def check_base_path(name: str, path: str) -> str:
    """Return the path if it is empty, or if a proxy can serve page, API and gateway below it.

    Raises:
        SettingsError: it has another form, or begins like a path of Roomcast, which must be accepted without it.
    """
    if path and not is_base_path(path):
        problem = f"is {path!r}; expected a path such as /chat: letters, digits, -, ., _ and ~, without a / at its end"
        raise SettingsError(name, problem)
    first = path.split("/")[1:2]
    if first and first[0] in _OWN_PATHS:
        raise SettingsError(name, f"is {path!r}, but /{first[0]} is a path of Roomcast itself: choose another one")
    return path


def read_port(environ: Mapping[str, str], name: str) -> int | None:
    """A port; None: the variable is not set."""
    value = environ.get(name, "").strip()
    if not value:
        return None
    if value.startswith("tcp://"):
        raise SettingsError(
            name, f"is {value!r}, set by Kubernetes for a service: set enableServiceLinks: false in the pod"
        )
    if not (value.isascii() and value.isdigit()):
        raise SettingsError(name, f"is {value!r}; expected a port from 1 to {MAX_PORT}")
    return check_port(name, int(value[:10]))


def read_seconds(environ: Mapping[str, str], name: str) -> float | None:
    """A number of seconds up to `MAX_WAIT_S`; None: the variable is not set."""
    value = environ.get(name, "").strip()
    if not value:
        return None
    if not re.fullmatch(r"[0-9]{1,4}(\.[0-9]{1,3})?", value) or float(value) > MAX_WAIT_S:
        raise SettingsError(name, f"is {value!r}; expected a number of seconds from 0 to {MAX_WAIT_S:.0f}")
    return float(value)


def read_count(environ: Mapping[str, str], name: str, default: int, least: int = 1, most: int = 999_999) -> int:
    """A number from ``least`` to ``most``, or 0 for no limit."""
    value = environ.get(name, "").strip()
    if not re.fullmatch(r"[0-9]{0,9}", value) or (int(value or default) and not least <= int(value or default) <= most):
        raise SettingsError(name, f"is {value!r}; expected a number from {least} to {most}, or 0 for no limit")
    return int(value or default)


def read_number(environ: Mapping[str, str], name: str, default: int, most: int, *, least: int = 1) -> int:
    """A number from ``least`` to ``most``."""
    value = environ.get(name, "").strip() or str(default)
    if not re.fullmatch(r"[0-9]{1,15}", value) or not least <= int(value) <= most:
        raise SettingsError(name, f"is {value!r}; expected a number from {least} to {most}")
    return int(value)


def read_host(environ: Mapping[str, str], name: str) -> str | None:
    """One host name or address; None: the variable is not set."""
    value = environ.get(name, "").strip()
    if value and not re.fullmatch(r"[A-Za-z0-9._:-]+", value):
        raise SettingsError(name, f"is {value!r}; expected one host name or address")
    return check_host(name, value) or None


def read_origins(environ: Mapping[str, str], name: str) -> tuple[str, ...] | None:
    """Origins as browsers send them, each once; None: the variable is not set."""
    value = environ.get(name)
    if value is None:
        return None
    try:
        origins = [item if item == ANY_ORIGIN else serialize_origin(item) for item in split_items(value)]
    except ValueError as error:
        raise SettingsError(name, f"contains {error}") from None
    return tuple(dict.fromkeys(origins))


def read_hosts(environ: Mapping[str, str], name: str) -> tuple[str, ...] | None:
    """Values of the Host header without port; None: the variable names none."""
    hosts = tuple(item.lower() for item in split_items(environ.get(name, "")))
    for host in hosts:
        if not re.fullmatch(r"\[[0-9a-f:.]+\]|[a-z0-9._-]+", host):
            raise SettingsError(
                name, f"contains {host!r}; expected host names or addresses without a port, IPv6 in brackets"
            )
    return hosts or None


def read_proxies(environ: Mapping[str, str], name: str) -> tuple[str, ...]:
    """Addresses and networks, or ``*``."""
    proxies = split_items(environ.get(name, ""))
    for proxy in proxies:
        if proxy == ANY_ORIGIN:
            continue
        try:
            ip_network(proxy)
        except ValueError:
            problem = f"contains {proxy!r}; expected addresses, networks such as 10.0.0.0/8, or *"
            raise SettingsError(name, problem) from None
    return proxies


def read_networks(environ: Mapping[str, str], name: str) -> tuple[Network, ...]:
    """Networks and addresses."""
    networks: list[Network] = []
    for item in split_items(environ.get(name, "")):
        try:
            networks.append(ip_network(item))
        except ValueError:
            problem = f"contains {item!r}; expected addresses and networks such as 10.0.0.0/8"
            raise SettingsError(name, problem) from None
    return tuple(networks)


def read_url(environ: Mapping[str, str], name: str) -> str | None:
    """A base URL; see `check_url`. None: the variable is not set."""
    value = environ.get(name, "").strip()
    return check_url(name, value) if value else None


def check_url(name: str, value: str, *, query: bool = False) -> str:
    """Return a base URL, which may have a path and, with ``query``, a query, without slashes at its end.

    Raises:
        SettingsError: it is no such URL.
    """
    try:
        parts = urlsplit(value)
        # `urlsplit` silently removes line breaks, so `value` itself is checked.
        usable = value.isprintable() and parts.scheme in {"http", "https"} and bool(parts.hostname)
        usable = usable and (parts.port or 1) <= MAX_PORT
    except ValueError:
        usable = False
        parts = None
    if parts is not None and (parts.username or parts.password):
        raise SettingsError(name, "contains a user name or password, which would appear in logs and pages: remove it")
    if not usable or (parts is not None and ((parts.query and not query) or parts.fragment)):
        raise SettingsError(name, f"is {value!r}; expected http(s)://host[:port][/path]")
    check_host(name, urlsplit(value).hostname or "")
    return value.rstrip("/")


def read_token_file(name: str, path: str) -> str:
    """The token in a file.

    Args:
        name: The option that names the file.
        path: The path of the file.

    Raises:
        SettingsError: it cannot be read, or its content is no token.
    """
    return read_token({name: read_content(name, path)}, name) or ""


def read_token(environ: Mapping[str, str], name: str) -> str | None:
    """A token that an HTTP header can contain; None: the variable is not set."""
    value = environ.get(name, "").strip()
    if not re.fullmatch(r"[!-~]*", value):
        # An error of the HTTP client would repeat the value.
        raise SettingsError(name, "contains a space or a character that is not ASCII, which no header can have")
    return value or None


def read_choice(environ: Mapping[str, str], name: str, choices: tuple[_Choice, ...], default: _Choice) -> _Choice:
    """One of ``choices``, in any case."""
    value = environ.get(name, "").strip().lower() or default
    for choice in choices:
        if choice == value:
            return choice
    raise SettingsError(name, f"is {value!r}; expected one of: {', '.join(choices)}")


def split_items(value: str) -> tuple[str, ...]:
    """The items of a comma-separated list, without empty ones."""
    return tuple(item for part in value.split(",") if (item := part.strip()))


def in_tenant(user_id: str, name: str, tenant: str) -> str:
    """A user id of a tenant.

    Args:
        user_id: As the tenant knows it.
        name: The name of its setting, for the error.
        tenant: The value of ``--tenant``; empty: the default tenant.

    Raises:
        SettingsError: the tenant is invalid, or the id is.
    """
    if tenant and re.fullmatch(TENANT, tenant) is None:
        raise SettingsError(
            "--tenant", f"is {tenant!r}; expected 1 to {MAX_TENANT_CHARS} letters, digits and characters of ._-"
        )
    try:
        return qualify(tenant, user_id)
    except ValueError as error:
        raise SettingsError(name, str(error)) from None
