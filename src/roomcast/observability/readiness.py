"""Readiness: whether a load balancer should send clients to this process. Liveness is separate.

- A process is not ready before it serves and while it drains.
- While a required listener receives nothing although Redis answers, the process is not ready: its clients would miss
  events.
- While Redis is unreachable, every gateway is affected. If all of them became unready, a partial outage would become a
  full one. Therefore the process stays ready and reports ``degraded``, for `OUTAGE_LIMIT_S` at least.
- A listener that is not required can make the process ``degraded`` but not unready: no delivery guarantee depends on
  such a listener.

Layer: observability.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Final

from roomcast.backoff import jittered
from roomcast.observability.http import HttpResponse, json_response

logger = logging.getLogger(__name__)

#: Seconds between two samples of the listeners.
SAMPLE_S: Final = 1.0
#: Seconds that a required listener may receive nothing while Redis answers. Listeners report silence up to 5 s late.
SILENCE_LIMIT_S: Final = 3.0
#: Seconds that Redis may be unreachable. Each process uses a random value between 1 and 1.5 times this.
OUTAGE_LIMIT_S: Final = 60.0

Probe = Callable[[], bool]


class Readiness:
    """Answers ``/ready`` and ``/live``."""

    def __init__(self) -> None:
        self._listeners: dict[str, Probe] = {}
        self._optional: set[str] = set()
        self._redis_reachable: Callable[[], Awaitable[bool]] | None = None
        # Random, so that the gateways do not become unready simultaneously.
        self._outage_limit_s = jittered(OUTAGE_LIMIT_S, 1.0, 1.5)
        self._serving = False
        self._draining = False
        # Loop times at which each silent listener stopped receiving, and at which Redis became unreachable.
        self._silent_since: dict[str, float] = {}
        self._outage_since: float | None = None

    def watch_redis(self, reachable: Callable[[], Awaitable[bool]]) -> None:
        """Set the function that checks whether Redis answers. It is called only while a listener receives nothing."""
        self._redis_reachable = reachable

    def add(self, name: str, receives: Probe, *, required: bool = True) -> None:
        """Add a listener.

        Args:
            name: Appears in the answer of ``/ready``.
            receives: Returns whether a recent probe proved that the listener receives messages.
            required: Whether the process is unready while the listener receives nothing.
        """
        self._listeners[name] = receives
        if not required:
            self._optional.add(name)

    def serving(self) -> None:
        """Record that every address accepts connections."""
        self._serving = True

    def drain(self) -> None:
        """Record that the shutdown has begun."""
        self._draining = True

    async def run(self) -> None:
        """Sample the listeners until cancelled."""
        while True:
            await self._sample()
            await asyncio.sleep(SAMPLE_S)

    async def _sample(self) -> None:
        now = asyncio.get_running_loop().time()
        silent = [name for name, receives in self._listeners.items() if not receives()]
        if silent and self._redis_reachable is not None and not await self._redis_reachable():
            self._silent_since.clear()
            if self._outage_since is None:
                self._outage_since = now
                logger.warning("Redis is unreachable")
            return
        if self._outage_since is not None:
            self._outage_since = None
            logger.info("Redis is reachable again")
        self._silent_since = {name: self._silent_since.get(name, now) for name in silent}

    @property
    def reasons(self) -> list[str]:
        """The reasons why the process is not ready; empty if it is ready."""
        now = asyncio.get_running_loop().time()
        reasons = [] if self._serving else ["starting"]
        if self._draining:
            reasons.append("draining")
        reasons += [
            f"not receiving: {name}"
            for name, since in self._silent_since.items()
            if now - since >= SILENCE_LIMIT_S and name not in self._optional
        ]
        if self._outage_since is not None and now - self._outage_since >= self._outage_limit_s:
            reasons.append("Redis is unreachable")
        return reasons

    def ready(self) -> HttpResponse:
        """The response to ``GET /ready``: 200, or 503 with the reasons."""
        reasons = self.reasons
        if reasons:
            return json_response(HTTPStatus.SERVICE_UNAVAILABLE, {"status": "not ready", "reasons": reasons})
        redis = self._outage_since is not None or bool(self._silent_since.keys() - self._optional)
        degraded = ["redis"] if redis else []
        degraded += [name for name in self._silent_since if name in self._optional]
        return json_response(HTTPStatus.OK, {"status": "ready", "degraded": degraded})

    def live(self) -> HttpResponse:
        """The response to ``GET /live``, which proves that the event loop runs."""
        return json_response(HTTPStatus.OK, {"status": "alive"})
