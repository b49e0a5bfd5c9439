"""Metrics for Prometheus. Components count in plain numbers, which a scrape reads.

No hot path depends on this module. Label values come from small closed sets, never from a client.

Layer: observability. Source: Prometheus, "Metric and label naming".
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from itertools import accumulate
from typing import Any, Final, Literal

from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from roomcast.histogram import Histogram
from roomcast.observability.http import HttpResponse

logger = logging.getLogger(__name__)

_PREFIX: Final = "roomcast_"
_LAG_SAMPLE_S: Final = 0.5

_Metric = CounterMetricFamily | GaugeMetricFamily | HistogramMetricFamily


@dataclass(frozen=True, slots=True)
class Family:
    """One metric family.

    Attributes:
        name: Name of the family, with its unit, but without the common prefix and without the ``_total`` of a counter.
        text: The help text.
        kind: The type of the metric.
        values: One number or histogram, or one for each value of ``label``: a str, or a tuple for several labels.
        label: Names of the labels, separated by commas; "" for a single number or histogram.
    """

    name: str
    text: str
    kind: Literal["counter", "gauge", "histogram"]
    values: float | Histogram | Mapping[Any, float | Histogram]
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


_KINDS: Final = {"counter": CounterMetricFamily, "gauge": GaugeMetricFamily, "histogram": HistogramMetricFamily}


def _metric(family: Family) -> _Metric:
    names = family.label.split(",") if family.label else []
    metric: _Metric = _KINDS[family.kind](_PREFIX + family.name, family.text, labels=names)
    if isinstance(family.values, Mapping):
        for labels, value in sorted(family.values.items()):
            _add(metric, [labels] if isinstance(labels, str) else labels, value)
    else:
        _add(metric, [], family.values)
    return metric


def _add(metric: _Metric, labels: Sequence[str], value: float | Histogram) -> None:
    if isinstance(metric, HistogramMetricFamily) and isinstance(value, Histogram):
        bounds = [*map(floatToGoString, value.bounds), "+Inf"]
        metric.add_metric(labels, list(zip(bounds, accumulate(value.counts), strict=True)), value.total)
    elif not isinstance(metric, HistogramMetricFamily) and not isinstance(value, Histogram):
        metric.add_metric(labels, value)
    else:
        raise TypeError(f"not a value of {metric.name}: {value!r}")


class LoopLag:
    """Measures the lag of the event loop, which delays every client.

    Attributes:
        lags: The lag of each sample, in seconds.
    """

    def __init__(self) -> None:
        self.lags = Histogram()

    async def run(self) -> None:
        """Sample the lag until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + _LAG_SAMPLE_S
            await asyncio.sleep(_LAG_SAMPLE_S)
            self.lags.observe(loop.time() - due)

    def families(self) -> Iterator[Family]:
        """The lag of the samples."""
        yield Family("event_loop_lag_seconds", "Lag of the event loop, sampled twice a second.", "histogram", self.lags)
