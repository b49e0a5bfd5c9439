"""Metrics as Prometheus reads them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator

import pytest
from prometheus_client.parser import text_string_to_metric_families

from roomcast.app.metrics import connection_families
from roomcast.histogram import Histogram
from roomcast.observability.connections import ConnectionLog
from roomcast.observability.metrics import Family, LoopLag, Metrics


def read(metrics: Metrics) -> dict[tuple[str, tuple[str, ...]], float]:
    text = metrics.response().body.decode()
    return {
        (sample.name, tuple(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_counters_and_gauges_have_labels_or_none() -> None:
    metrics = Metrics()
    metrics.add(
        lambda: [
            Family("messages", "All of them.", "counter", 7),
            Family("lag_seconds", "Now.", "gauge", 0.25),
            Family("joins", "By outcome.", "counter", {"recovered": 2, 'a "quoted"\nname': 1}, "outcome"),
        ]
    )
    found = read(metrics)
    assert found["roomcast_messages_total", ()] == 7
    assert found["roomcast_lag_seconds", ()] == 0.25
    assert found["roomcast_joins_total", ("recovered",)] == 2
    assert found["roomcast_joins_total", ('a "quoted"\nname',)] == 1
    assert any(name == "python_info" for name, _ in found)


def test_a_failing_source_does_not_hide_the_others() -> None:
    def broken() -> Iterator[Family]:
        raise RuntimeError("no numbers")

    metrics = Metrics()
    metrics.add(broken)
    metrics.add(lambda: [Family("messages", "All of them.", "counter", 1)])
    assert read(metrics)["roomcast_messages_total", ()] == 1


def test_connection_counts_are_split_by_reason() -> None:
    log = ConnectionLog()
    log.counts.update({"opened:polling": 3, "closed:ping timeout": 2, "refused:origin": 1, "upgraded": 1})
    metrics = Metrics()
    metrics.add(lambda: connection_families(log))
    found = read(metrics)
    assert found["roomcast_connections_opened_total", ("polling",)] == 3
    assert found["roomcast_connections_closed_total", ("ping timeout",)] == 2
    assert found["roomcast_handshakes_refused_total", ("origin",)] == 1
    assert found["roomcast_connections_upgraded_total", ()] == 1


def test_a_histogram_counts_each_value_in_the_first_bucket_that_holds_it() -> None:
    durations = Histogram((0.1, 1.0))
    for value in (0.1, 0.11, 5.0, -0.5):
        durations.observe(value)
    metrics = Metrics()
    metrics.add(lambda: [Family("wait_seconds", "All.", "histogram", {("GET", "2xx"): durations}, "method,status")])
    found = read(metrics)
    buckets = [found["roomcast_wait_seconds_bucket", (bound, "GET", "2xx")] for bound in ("0.1", "1.0", "+Inf")]
    assert buckets == [2, 3, 4]
    assert found["roomcast_wait_seconds_count", ("GET", "2xx")] == 4
    assert found["roomcast_wait_seconds_sum", ("GET", "2xx")] == pytest.approx(5.21)


def test_the_lag_of_the_loop_is_in_the_bucket_of_its_duration_and_a_scrape_resets_nothing() -> None:
    async def blocked() -> LoopLag:
        lag = LoopLag()
        sampling = asyncio.create_task(lag.run())
        await asyncio.sleep(0)
        asyncio.get_running_loop().call_soon(time.sleep, 0.8)  # longer than the interval of the samples
        await asyncio.sleep(0.6)
        sampling.cancel()
        return lag

    lag = asyncio.run(blocked())
    metrics = Metrics()
    metrics.add(lag.families)
    for _ in range(2):
        found = read(metrics)
        assert found["roomcast_event_loop_lag_seconds_count", ()] == 1
        assert found["roomcast_event_loop_lag_seconds_bucket", ("0.25",)] == 0
