"""Whether a process should be sent clients: told to load balancers, which is not the same as being alive.

Not ready: before it serves, while it drains, and while it is deaf, since its clients would get nothing. When Redis as a
whole is away, every gateway is in the same boat: turning all of them unready would turn an outage of one part into an
outage of all, so that is only told, for a long while (`ReadinessOptions.away_limit_s`). Nor is a listener that nothing
promised depends on a reason to be unready: what makes one gateway deaf to it, as a rule of access does, makes all.

Layer: observability.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus

from roomcast.backoff import jittered
from roomcast.observability.http import Answer, json_answer

logger = logging.getLogger(__name__)

Probe = Callable[[], bool]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadinessOptions:
    """When a process is not ready.

    Attributes:
        sample_s: How often it is looked.
        deaf_limit_s: How long a listener may be deaf while Redis answers commands. It is noticed up to 5 s late.
        away_limit_s: How long Redis may be away altogether; times 1 to 1.5, so that gateways do not go in step.
    """

    sample_s: float = 1.0
    deaf_limit_s: float = 3.0
    away_limit_s: float = 60.0


class Readiness:
    """Answers ``/ready`` and ``/live``.

    Args:
        listeners: By name, whether each was proven to hear of late.
        reachable: Whether Redis answers a command now; asked only while a listener is deaf.
        options: Times.
    """

    def __init__(
        self,
        listeners: Mapping[str, Probe] | None = None,
        reachable: Callable[[], Awaitable[bool]] | None = None,
        options: ReadinessOptions | None = None,
    ) -> None:
        self._listeners = dict(listeners or {})
        self._optional: set[str] = set()
        self._reachable = reachable
        self._options = options or ReadinessOptions()
        self._away_limit_s = jittered(self._options.away_limit_s, 1.0, 1.5)
        self._serving = False
        self._draining = False
        # Since when, in loop time; None: not now.
        self._deaf_since: dict[str, float] = {}
        self._away_since: float | None = None

    def watch_redis(self, reachable: Callable[[], Awaitable[bool]]) -> None:
        """Ask this whether Redis answers, while a listener is deaf."""
        self._reachable = reachable

    def add(self, name: str, listener: Probe, *, vital: bool = True) -> None:
        """Watch another listener; one that is not vital is told of while it is deaf, and no more."""
        self._listeners[name] = listener
        if not vital:
            self._optional.add(name)

    def serving(self) -> None:
        """Every address answers."""
        self._serving = True

    def drain(self) -> None:
        """The end begins."""
        self._draining = True

    async def run(self) -> None:
        """Watch the listeners until cancelled."""
        while True:
            await self.sample()
            await asyncio.sleep(self._options.sample_s)

    async def sample(self) -> None:
        """Look once."""
        now = asyncio.get_running_loop().time()
        deaf = [name for name, hears in self._listeners.items() if not hears()]
        if deaf and self._reachable is not None and not await self._reachable():
            self._deaf_since.clear()
            if self._away_since is None:
                self._away_since = now
                logger.warning("Redis is away")
            return
        if self._away_since is not None:
            self._away_since = None
            logger.info("Redis is back")
        self._deaf_since = {name: self._deaf_since.get(name, now) for name in deaf}

    @property
    def reasons(self) -> list[str]:
        """Why it is not ready; empty: it is."""
        now = asyncio.get_running_loop().time()
        reasons = [] if self._serving else ["starting"]
        if self._draining:
            reasons.append("draining")
        limit_s = self._options.deaf_limit_s
        reasons += [
            f"deaf: {name}"
            for name, since in self._deaf_since.items()
            if now - since >= limit_s and name not in self._optional
        ]
        if self._away_since is not None and now - self._away_since >= self._away_limit_s:
            reasons.append("redis is away")
        return reasons

    def ready(self) -> Answer:
        """``GET /ready``: 200, or 503 with the reasons."""
        reasons = self.reasons
        if reasons:
            return json_answer(HTTPStatus.SERVICE_UNAVAILABLE, {"status": "not ready", "reasons": reasons})
        degraded = ["redis"] if self._away_since is not None or self._deaf_since.keys() - self._optional else []
        degraded += [name for name in self._deaf_since if name in self._optional]
        return json_answer(HTTPStatus.OK, {"status": "ready", "degraded": degraded})

    def live(self) -> Answer:
        """``GET /live``: the loop turns, or nobody would answer."""
        return json_answer(HTTPStatus.OK, {"status": "alive"})
