"""Metrics for Prometheus. Components count in plain numbers, which a scrape reads.

No hot path depends on this module. Label values come from small closed sets, never from a client.

Layer: observability. Source: Prometheus, "Metric and label naming".
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final, Literal

from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.registry import Collector

from roomcast.observability.http import HttpResponse

logger = logging.getLogger(__name__)

_PREFIX: Final = "roomcast_"
_LAG_SAMPLE_S: Final = 0.5

_Metric = CounterMetricFamily | GaugeMetricFamily


@dataclass(frozen=True, slots=True)
class Family:
    """One metric family.

    Attributes:
        name: Name of the family, with its unit, but without the common prefix and without the ``_total`` of a counter.
        text: The help text.
        kind: The type of the metric.
        values: One number, or one per value of ``label``.
        label: Name of the label; "" for a single number.
    """

    name: str
    text: str
    kind: Literal["counter", "gauge"]
    values: float | Mapping[str, float]
    label: str = ""


Source = Callable[[], Iterable[Family]]


class Metrics(Collector):
    """The metrics of one process; answers ``/metrics``."""

    def __init__(self) -> None:
        self._sources: list[Source] = []
        self._registry = CollectorRegistry(auto_describe=False)
        for collector in (ProcessCollector, PlatformCollector, GCCollector):
            collector(registry=self._registry)
        self._registry.register(self)

    def add(self, source: Source) -> None:
        """Add a source, which is called at each scrape."""
        self._sources.append(source)

    def collect(self) -> Iterator[_Metric]:
        """See `prometheus_client.registry.Collector`."""
        for source in self._sources:
            try:
                families = list(source())
            except Exception:
                # The scrape must still report the other sources.
                logger.exception("a source of metrics failed")
                continue
            for family in families:
                yield _metric(family)

    def describe(self) -> Iterable[_Metric]:
        """See `prometheus_client.registry.Collector`; the families are known only at a scrape."""
        return ()

    def response(self) -> HttpResponse:
        """The response to ``GET /metrics``."""
        return HttpResponse(HTTPStatus.OK, generate_latest(self._registry), CONTENT_TYPE_LATEST)


def _metric(family: Family) -> _Metric:
    kind = CounterMetricFamily if family.kind == "counter" else GaugeMetricFamily
    metric = kind(_PREFIX + family.name, family.text, labels=[family.label] if family.label else [])
    if isinstance(family.values, Mapping):
        for label, value in sorted(family.values.items()):
            metric.add_metric([label], value)
    else:
        metric.add_metric([], family.values)
    return metric


class LoopLag:
    """Measures the lag of the event loop, which delays every client.

    Attributes:
        worst_s: The worst lag since the last call of `families`.
    """

    def __init__(self) -> None:
        self.worst_s = 0.0

    async def run(self) -> None:
        """Sample the lag until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + _LAG_SAMPLE_S
            await asyncio.sleep(_LAG_SAMPLE_S)
            self.worst_s = max(self.worst_s, loop.time() - due)

    def families(self) -> Iterator[Family]:
        """The worst lag since the last scrape."""
        worst_s, self.worst_s = self.worst_s, 0.0
        yield Family("event_loop_lag_seconds", "Worst lag of the event loop since the last scrape.", "gauge", worst_s)
