"""The figures of `roomcast stats`, from the ``/metrics`` of the processes of an installation.

Rates and quantiles are those of the time between two reads, so that no process keeps a state for a reader. Like
Prometheus, a quantile is interpolated within its bucket, and a counter that has decreased counts as a new one.

Layer: app.
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from http import HTTPStatus
from itertools import pairwise
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self

import httpx
from prometheus_client.parser import text_string_to_metric_families

from roomcast.app.addresses import LOOPBACK_HOST, WILDCARDS
from roomcast.client.errors import cause_of
from roomcast.settings import DEFAULT_API_INTERNAL_PORT, Settings

if TYPE_CHECKING:
    from roomcast.realtime.forwarding.redis_directory import RedisDirectory

_TIMEOUT_S: Final = 2.0
_PREFIX: Final = "roomcast_"
#: Histograms by what they measure.
DURATIONS: Final = {
    "delivery": "delivery_delay_seconds",
    "commit": "commit_duration_seconds",
    "REST": "http_request_duration_seconds",
    "event loop lag": "event_loop_lag_seconds",
}
#: Metrics that only processes with this part have.
PARTS: Final = {
    "gateway": "chats_followed",
    "api": "http_request_duration_seconds_count",
    "worker": "ai_turns_active",
}
_STARTED: Final = "process_start_time_seconds"

#: Name and labels of a series.
Series = tuple[str, frozenset[tuple[str, str]]]


@dataclass(frozen=True, slots=True)
class Reading:
    """What one process answered.

    Attributes:
        at: Monotonic seconds.
        values: The value of each series, without the common prefix; empty if the process is away.
        problem: Why it is away, or not ready; empty if it is ready.
    """

    at: float
    values: Mapping[Series, float] = field(default_factory=dict)
    problem: str = ""

    def total(self, name: str, **labels: str) -> float | None:
        """The sum of the series with these labels; None if there is none."""
        wanted = labels.items()
        found = [value for (each, has), value in self.values.items() if each == name and wanted <= has]
        return sum(found) if found else None

    @property
    def started_at(self) -> float | None:
        """When the process began; None if the system does not say."""
        return self.total(_STARTED)


@dataclass(frozen=True, slots=True)
class Quantiles:
    """The durations of one kind, in seconds; None: there were none. At most the largest bound of the histogram."""

    per_s: float
    p50: float | None
    p95: float | None
    p99: float | None


@dataclass(frozen=True, slots=True)
class ProcessStats:
    """One process. Figures are None if it has no such part, or if it was read for the first time.

    Attributes:
        state: ``ready``, ``not ready`` or ``away``.
        problem: Why it is not ready or away.
    """

    url: str
    parts: Sequence[str]
    state: str
    problem: str
    connections: float | None
    deliveries_per_s: float | None
    messages_per_s: float | None
    event_loop_lag_p99_s: float | None


@dataclass(frozen=True, slots=True)
class Stats:
    """An installation. Sums are those of the processes that answered.

    Attributes:
        seconds: The time for which rates and quantiles hold; 0 at the first read.
        deliveries_per_s: Events emitted to the rooms of gateways.
        messages_per_s: Messages that were accepted.
        durations: By the names in `DURATIONS`.
        outbox_events: Committed events that are not published.
        turns_waiting: Queued AI turns, of the whole installation.
        turns_oldest_s: For how long the oldest of them has waited.
        services: Number of processes for which each service works, and of all that use it.
    """

    seconds: float
    processes: Sequence[ProcessStats]
    connections: float
    deliveries_per_s: float
    messages_per_s: float
    durations: Mapping[str, Quantiles]
    outbox_events: float
    outbox_oldest_s: float
    turns_active: float
    turns_waiting: float
    turns_oldest_s: float
    services: Mapping[str, tuple[int, int]]


class Processes:
    """The processes of an installation. Use it as an async context manager.

    Args:
        urls: Their internal addresses; empty: those that the settings name, and all gateways in Redis.
        settings: ``API_URL``, the internal address, and Redis.

    Attributes:
        problem: Why there may be more gateways than those read; empty if there is no reason.
    """

    def __init__(self, urls: Sequence[str], settings: Settings) -> None:
        self._urls = urls or [settings.api_url or _own_address(settings)]
        self._redis = None if urls else settings.redis
        self._stack = AsyncExitStack()
        self._directory: RedisDirectory | None = None
        self.problem = ""

    async def __aenter__(self) -> Self:
        """Connect with the first read."""
        # Addresses within the installation: proxy variables do not count.
        self._http = await self._stack.enter_async_context(httpx.AsyncClient(trust_env=False))
        if self._redis is not None:
            from roomcast.app.redis_services import RedisServices

            services = await self._stack.enter_async_context(RedisServices(self._redis))
            self._directory = services.directory()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the connections."""
        await self._stack.aclose()

    async def read(self) -> dict[str, Reading]:
        """Read all processes at the same time, by URL; one that does not answer is away."""
        gateways: list[str] = []
        if self._directory is not None:
            addresses = await self._directory.other_addresses()
            gateways = sorted(f"http://{_in_url(address.host)}:{address.port}" for address in addresses)
            failed = self._directory.renewal.error is not None
            self.problem = "Redis does not answer here: gateways that it lists may be missing" if failed else ""
        urls = list(dict.fromkeys([*self._urls, *gateways]))
        readings = dict(zip(urls, await asyncio.gather(*(_read(self._http, url) for url in urls)), strict=True))
        return distinct(readings, gateways)


def _own_address(settings: Settings) -> str:
    host = settings.internal_host or LOOPBACK_HOST
    host = LOOPBACK_HOST if host in WILDCARDS else host
    return f"http://{_in_url(host)}:{settings.internal_port or DEFAULT_API_INTERNAL_PORT}"


def _in_url(host: str) -> str:
    return f"[{host}]" if ":" in host else host


async def _read(http: httpx.AsyncClient, url: str) -> Reading:
    try:
        async with asyncio.timeout(_TIMEOUT_S):
            response = await http.get(f"{url}/metrics")
            if response.status_code != HTTPStatus.OK:
                text = f"answers {response.status_code} to /metrics: is this the internal address?"
                return Reading(time.monotonic(), problem=text)
            values = {
                (sample.name.removeprefix(_PREFIX), frozenset(sample.labels.items())): sample.value
                for family in text_string_to_metric_families(response.text)
                for sample in family.samples
            }
            reading = Reading(time.monotonic(), values)
            if reading.total("ready") is None:
                return Reading(reading.at, problem="has no metrics of Roomcast")
            if reading.total("ready"):
                return reading
            reasons = (await http.get(f"{url}/ready")).json().get("reasons") or ["it starts or stops"]
            return Reading(reading.at, values, "; ".join(map(str, reasons)))
    except TimeoutError:
        return Reading(time.monotonic(), problem=f"no answer within {_TIMEOUT_S:g} s")
    except (httpx.HTTPError, OSError, ValueError) as error:
        return Reading(time.monotonic(), problem=cause_of(error))


def distinct(readings: Mapping[str, Reading], gateways: Collection[str]) -> dict[str, Reading]:
    """The readings without those that are of one of these gateways, under another form of its address.

    The start alone is not enough: processes of one machine that start within 10 ms have the same.
    """
    known = {readings[url].started_at for url in gateways} - {None}
    return {
        url: reading
        for url, reading in readings.items()
        if url in gateways or reading.started_at not in known or reading.total(PARTS["gateway"]) is None
    }


def compare(before: Mapping[str, Reading], now: Mapping[str, Reading]) -> Stats:
    """The figures now, and the rates since an earlier read of the same processes."""
    pairs = {
        url: (before[url], reading) for url, reading in now.items() if url in before and before[url].at < reading.at
    }
    readings = [reading for reading in now.values() if reading.values]
    processes = [_process(url, reading, pairs.get(url)) for url, reading in now.items()]
    services: dict[str, tuple[int, int]] = {}
    for reading in readings:
        for (name, labels), value in reading.values.items():
            if name == "service_up":
                service = dict(labels)["service"]
                up, of = services.get(service, (0, 0))
                services[service] = (up + int(value), of + 1)
    return Stats(
        seconds=max((later.at - earlier.at for earlier, later in pairs.values()), default=0.0),
        processes=processes,
        connections=sum(process.connections or 0 for process in processes),
        deliveries_per_s=sum(process.deliveries_per_s or 0 for process in processes),
        messages_per_s=sum(process.messages_per_s or 0 for process in processes),
        durations={label: _quantiles(name, pairs.values()) for label, name in DURATIONS.items()},
        # Each API counts the outbox, and each worker the turns, of the whole installation.
        outbox_events=_most(readings, "outbox_events"),
        outbox_oldest_s=_most(readings, "outbox_oldest_seconds"),
        turns_active=sum(reading.total("ai_turns_active") or 0 for reading in readings),
        turns_waiting=_most(readings, "ai_turns_waiting"),
        turns_oldest_s=_most(readings, "ai_turns_oldest_waiting_seconds"),
        services=dict(sorted(services.items())),
    )


def _process(url: str, now: Reading, pair: tuple[Reading, Reading] | None) -> ProcessStats:
    states = {(False, True): "away", (True, True): "not ready", (True, False): "ready"}
    rates = () if pair is None else (pair,)
    messages = {"method": "POST", "route": "/api/chat/messages", "status": "2xx"}
    return ProcessStats(
        url=url,
        parts=[part for part, name in PARTS.items() if now.total(name) is not None],
        state=states[bool(now.values), bool(now.problem)],
        problem=now.problem,
        connections=now.total("connections"),
        deliveries_per_s=_rate(pair, "events_delivered_total"),
        messages_per_s=_rate(pair, "http_request_duration_seconds_count", **messages),
        event_loop_lag_p99_s=_quantiles(DURATIONS["event loop lag"], rates).p99,
    )


def _most(readings: Iterable[Reading], name: str) -> float:
    return max((reading.total(name) or 0 for reading in readings), default=0)


def _rate(pair: tuple[Reading, Reading] | None, name: str, **labels: str) -> float | None:
    if pair is None:
        return None
    earlier, later = (reading.total(name, **labels) for reading in pair)
    if earlier is None or later is None:
        return None
    return (later - earlier if later >= earlier else later) / (pair[1].at - pair[0].at)


def _quantiles(name: str, pairs: Iterable[tuple[Reading, Reading]]) -> Quantiles:
    counts: defaultdict[float, float] = defaultdict(float)  # cumulated, by upper bound
    per_s = 0.0
    for earlier, later in pairs:
        rate = _rate((earlier, later), f"{name}_count")
        if rate is None:
            continue
        per_s += rate
        began_again = (later.total(f"{name}_count") or 0) < (earlier.total(f"{name}_count") or 0)
        for (each, labels), value in later.values.items():
            if each == f"{name}_bucket":
                known = 0.0 if began_again else earlier.values.get((each, labels), 0.0)
                counts[float(dict(labels)["le"])] += value - known
    buckets = [(0.0, 0.0), *sorted(counts.items())]
    return Quantiles(per_s, *(_quantile(buckets, share) for share in (0.5, 0.95, 0.99)))


def _quantile(buckets: Sequence[tuple[float, float]], share: float) -> float | None:
    wanted = buckets[-1][1] * share
    if not wanted:
        return None
    for (low, below), (high, upto) in pairwise(buckets):
        if upto >= wanted:
            return low if high == float("inf") else low + (high - low) * (wanted - below) / (upto - below)
    return None
