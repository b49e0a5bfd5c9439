"""How many connections clients may have, so that probes, the API, Redis, the database and logs keep descriptors.

- A websocket is accepted while fewer than ``websockets`` connections are in use; beyond it its handshake gets 503.
- Above ``websockets`` connections each new one closes the HTTP connection that has been idle for longest.
- Above ``connections`` it closes one whose client has not sent a whole request, or does not read the response, too. If
  every connection has a request in progress, the new one gets 503.

Layer: realtime.serving.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from uvicorn.server import ServerState

from roomcast.realtime.core.engine import Engine

try:
    import resource
except ImportError:  # Windows has no such limit
    resource = None  # type: ignore[assignment]

logger = logging.getLogger(__name__)

#: Descriptors of a process without a Socket.IO server, for requests only.
_WITHOUT_SERVER: Final = 4_096
# Kept for everything but clients: this many, an eighth of all if that is more, and half of them at most.
_RESERVED: Final = 128
_RESERVED_PART: Final = 8
# With fewer connections than this, the limit is too low for most uses.
_FEW: Final = 1_000
_LOG_INTERVAL_S: Final = 60.0


class Evictable(Protocol):
    """A connection that can be closed in favour of a new one."""

    def evict(self) -> None:
        """Close it now."""


@dataclass(frozen=True, slots=True)
class DescriptorLimits:
    """The limits described above.

    Attributes:
        open_files: Maximum number of descriptors of the process.
        websockets: See above; also the maximum number of Socket.IO sessions.
        connections: See above. Up to this many may be open, apart from those that are just being closed.
        forwards: Maximum number of connections to other nodes for forwarded requests.
        burst: Maximum length of the kernel's queue of connections that are not yet accepted: the event loop accepts all
            of them before it can close any.
    """

    open_files: int
    websockets: int
    connections: int
    forwards: int
    burst: int

    @classmethod
    def of(cls, open_files: int, max_forwards: int) -> DescriptorLimits:
        """The limits in a process with this number of descriptors."""
        reserved = min(max(_RESERVED, open_files // _RESERVED_PART), open_files // 2)
        forwards = min(max_forwards, (open_files - reserved) // 4)
        left = open_files - forwards
        connections = left - reserved // 2
        return cls(open_files, left - reserved, connections, forwards, left - connections)


def most_open_files() -> int | None:
    """How many descriptors a process may have at most; None: any number."""
    if resource is None:
        return None
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return None if hard == resource.RLIM_INFINITY else int(hard)


def limit_engines(engines: Sequence[Engine]) -> DescriptorLimits | None:
    """Raise the soft limit of open files to what the servers need, as far as allowed, and adapt the servers to it.

    Returns:
        The limits; None if the system has none.
    """
    if resource is None:
        return None
    sessions = sum(engine.options.max_connections for engine in engines) or _WITHOUT_SERVER
    max_forwards = sum(engine.options.max_forwards for engine in engines if engine.forwarder is not None)
    open_files = _raise_soft_limit((sessions + max_forwards) * _RESERVED_PART // (_RESERVED_PART - 1) + _RESERVED)
    limits = DescriptorLimits.of(open_files, max_forwards)
    if limits.websockets < min(sessions, _FEW):
        logger.warning("the process may open %d files, so it accepts %d connections; %s", *_facts(limits))
    for engine in engines:
        engine.limit(limits.websockets // len(engines), limits.forwards // len(engines))
    return limits


def _raise_soft_limit(wanted: int) -> int:
    """Returns the new soft limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return wanted if soft == resource.RLIM_INFINITY else soft
    allowed = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
    except (OSError, ValueError) as error:  # macOS has a further limit
        logger.info("the limit of open files stays at %d: %s", soft, error)
        return soft
    return allowed


def _facts(limits: DescriptorLimits) -> tuple[int, int, str]:
    return limits.open_files, limits.websockets, "raise its limit of open files (ulimit -n), or start more processes"


class ClientConnections:
    """The connections of clients to a process, and which of them can be closed in favour of new ones.

    Args:
        limits: None: connections are never closed.
    """

    def __init__(self, limits: DescriptorLimits | None) -> None:
        self._limits = limits
        self._sites: list[ServerState] = []
        # In each, the first has been there for longest.
        self._idle: dict[Evictable, None] = {}
        self._stalled: dict[Evictable, None] = {}
        self._logged_at = float("-inf")

    def count_site(self, state: ServerState) -> None:
        """Count the connections of this site, too: its HTTP connections, websockets and pipes."""
        self._sites.append(state)

    @property
    def _open(self) -> int:
        return sum(len(state.connections) for state in self._sites)

    def admit(self, connection: Evictable) -> bool:
        """Take a new connection, already counted, as stalled; closes another one if necessary. False: it gets 503."""
        limits = self._limits
        if limits is not None and (count := self._open) > limits.websockets:
            victim = next(iter(self._idle), None)
            if victim is None and count > limits.connections:
                victim = next(iter(self._stalled), None)
                if victim is None:
                    self._log(limits)
                    return False
            if victim is not None:
                self.busy(victim)
                victim.evict()
        self.stalled(connection)
        return True

    def allows_websocket(self) -> bool:
        """Whether a connection may become a websocket."""
        if self._limits is None or self._open - len(self._idle) - len(self._stalled) <= self._limits.websockets:
            return True
        self._log(self._limits)
        return False

    def stalled(self, connection: Evictable) -> None:
        """The client has not sent a whole request, or does not read the response."""
        self._idle.pop(connection, None)
        self._stalled.setdefault(connection)

    def idle(self, connection: Evictable) -> None:
        """The response was sent, and no request follows yet."""
        self._stalled.pop(connection, None)
        self._idle.setdefault(connection)

    def busy(self, connection: Evictable) -> None:
        """A request is in progress, or the connection has ended: do not close it in favour of others."""
        self._stalled.pop(connection, None)
        self._idle.pop(connection, None)

    def _log(self, limits: DescriptorLimits) -> None:
        now = time.monotonic()
        if now - self._logged_at >= _LOG_INTERVAL_S:
            self._logged_at = now
            logger.warning("connections get 503: the process may open %d files and accepts %d; %s", *_facts(limits))
