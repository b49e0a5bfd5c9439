"""Metrics as Prometheus reads them."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.parser import text_string_to_metric_families

from roomcast.app.metrics import connection_families
from roomcast.observability.connections import ConnectionLog
from roomcast.observability.metrics import Family, LoopLag, Metrics


def read(metrics: Metrics) -> dict[tuple[str, tuple[str, ...]], float]:
    text = metrics.response().body.decode()
    return {
        (sample.name, tuple(sample.labels.values())): sample.value
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


def test_the_worst_lag_is_reset_by_a_scrape() -> None:
    lag = LoopLag()
    lag.worst_s = 0.5
    assert [family.values for family in lag.families()] == [0.5]
    assert [family.values for family in lag.families()] == [0.0]
