"""Which metrics of running processes move: a counter by its rise, a gauge by a rise and a fall.

    watch = Watch({"api": 3002, "gateway": 3003})
    await watch.until(lambda: watch.rose("roomcast_connections", transport="websocket"))
    assert watch.still(Selector("roomcast_connections", ())) == ["roomcast_connections fell"]

A change counts if a scrape before it and one after it show it, in the same series of the same process.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import product
from typing import Final

import httpx
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families

from support.prometheus import Selector
from support.waiting import LIMIT_S, until

#: Gauges that need no fall: an allocator may keep freed memory.
_RISE_ONLY: Final = {"process_resident_memory_bytes"}

Series = tuple[str, str, frozenset[tuple[str, str]]]


class Watch:
    """Scrapes processes.

    Args:
        ports: The internal port of each process, by a name for the process.

    Attributes:
        families: The families of the latest scrapes, by name.
        values: The latest value of each series: process, name of the sample, labels.
    """

    def __init__(self, ports: Mapping[str, int]) -> None:
        self.families: dict[str, Metric] = {}
        self.values: dict[Series, float] = {}
        self._ports = dict(ports)
        self._gauges: set[str] = set()
        self._rose: set[Series] = set()
        self._fell: set[Series] = set()

    async def look(self, *only: str) -> None:
        """Scrape every process, or these only."""
        # Loading the certificate authorities would take longer than the requests.
        async with httpx.AsyncClient(verify=False, timeout=LIMIT_S) as client:  # noqa: S501 - loopback
            names = only or self._ports
            await asyncio.gather(*(self._scrape(client, name, self._ports[name]) for name in names))

    async def until(self, condition: Callable[[], object], *only: str) -> None:
        """Scrape every process, or these only, until the condition is true."""

        async def scraped() -> object:
            await self.look(*only)
            return condition()

        await until(scraped, limit_s=2 * LIMIT_S, step_s=0.1)

    def rose(self, name: str, **labels: str) -> bool:
        """Whether a series of that name and these labels has risen."""
        return any(_matches(it, name, labels.items()) for it in self._rose)

    def fell(self, name: str, **labels: str) -> bool:
        """Whether a series of that name and these labels has fallen."""
        return any(_matches(it, name, labels.items()) for it in self._fell)

    def read(self, name: str, **labels: str) -> list[float]:
        """The latest values of the series of that name and these labels."""
        return [value for it, value in self.values.items() if _matches(it, name, labels.items())]

    def still(self, selector: Selector) -> list[str]:
        """What has not moved as it should. Each alternative of a pattern ``a|b`` must move by itself."""
        return [problem for matchers in _alternatives(selector) for problem in self._still(selector.name, matchers)]

    def _still(self, name: str, matchers: dict[str, str]) -> Iterator[str]:
        text = f"{name}{matchers or ''}"
        rose = {series for series in self._rose if _matches(series, name, matchers.items())}
        if not rose:
            yield f"{text} has not risen"
        elif name in self._gauges and name not in _RISE_ONLY and not rose & self._fell:
            yield f"{text} has not fallen"

    async def _scrape(self, client: httpx.AsyncClient, process: str, port: int) -> None:
        try:
            text = (await client.get(f"http://127.0.0.1:{port}/metrics")).text
        except httpx.TransportError:
            self._end(process)
            return
        for family in text_string_to_metric_families(text):
            self.families[family.name] = family
            if family.type == "gauge":
                self._gauges.add(family.name)
            for sample in family.samples:
                series = (process, sample.name, frozenset(sample.labels.items()))
                self._record(series, sample.value)

    def _end(self, process: str) -> None:
        """Forget the series of a process that has ended; a constant falls to 0."""
        for series in [it for it in self.values if it[0] == process]:
            if series[1].endswith("_info"):
                self._record(series, 0)
            else:
                del self.values[series]

    def _record(self, series: Series, value: float) -> None:
        before = self.values.get(series, value)
        self.values[series] = value
        if value > before:
            self._rose.add(series)
        elif value < before:
            self._fell.add(series)


def _matches(series: Series, name: str, patterns: Iterable[tuple[str, str]]) -> bool:
    if series[1] != name:
        return False
    labels = dict(series[2])
    return all(label in labels and re.fullmatch(pattern, labels[label]) for label, pattern in patterns)


def _alternatives(selector: Selector) -> Iterator[dict[str, str]]:
    names = [label for label, _, _ in selector.matchers]
    values = [value.split("|") if operator == "=~" else [value] for _, operator, value in selector.matchers]
    for chosen in product(*values):
        yield dict(zip(names, chosen, strict=True))
