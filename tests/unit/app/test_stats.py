"""The figures of `roomcast stats`, from readings that are written here."""

from __future__ import annotations

import math
from collections.abc import Mapping

import pytest

from roomcast.app.stats import Reading, compare, distinct

URL, OTHER = "http://a:3002", "http://b:3002"


def series(text: str) -> tuple[str, frozenset[tuple[str, str]]]:
    """A series written as ``name`` or ``name key=value key=value``."""
    name, *labels = text.split()
    return name, frozenset((key, value) for key, _, value in (label.partition("=") for label in labels))


def reading(at: float, values: Mapping[str, float], problem: str = "") -> Reading:
    return Reading(at, {series(name): value for name, value in values.items()}, problem)


def buckets(name: str, **counts: float) -> dict[str, float]:
    """Cumulated counts by bound: ``le_0_1=5`` is 0.1."""
    bounds = {key.removeprefix("le_").replace("_", "."): count for key, count in counts.items()}
    series = {f"{name}_bucket le={'+Inf' if bound == 'inf' else bound}": count for bound, count in bounds.items()}
    return {**series, f"{name}_count": counts["le_inf"]}


def test_rates_are_differences_over_the_time_between_two_reads() -> None:
    before = {URL: reading(10, {"events_delivered_total": 100})}
    now = {URL: reading(14, {"events_delivered_total": 120})}
    figures = compare(before, now)
    assert (figures.seconds, figures.deliveries_per_s) == (4, 5)
    assert figures.processes[0].deliveries_per_s == 5


def test_the_first_read_has_no_rates() -> None:
    now = {URL: reading(10, {"events_delivered_total": 100, "connections": 3})}
    figures = compare(now, now)
    assert (figures.seconds, figures.connections, figures.processes[0].deliveries_per_s) == (0, 3, None)


def test_a_process_that_started_again_counts_from_0() -> None:
    name = "delivery_delay_seconds"
    earlier = {"events_delivered_total": 1_000, **buckets(name, le_0_1=900, le_1=1_000, le_inf=1_000)}
    later = {"events_delivered_total": 10, **buckets(name, le_0_1=0, le_1=10, le_inf=10)}
    figures = compare({URL: reading(0, earlier)}, {URL: reading(2, later)})
    assert figures.deliveries_per_s == 5
    assert figures.durations["delivery"].per_s == 5
    assert figures.durations["delivery"].p50 == pytest.approx(0.55)


def test_quantiles_are_interpolated_over_the_new_values_of_all_processes() -> None:
    name = "delivery_delay_seconds"
    before = {url: reading(0, buckets(name, le_0_1=50, le_1=50, le_inf=50)) for url in (URL, OTHER)}
    now = {
        URL: reading(1, buckets(name, le_0_1=50 + 50, le_1=100, le_inf=100)),
        OTHER: reading(1, buckets(name, le_0_1=50, le_1=50 + 50, le_inf=100)),
    }
    delivery = compare(before, now).durations["delivery"]
    assert delivery.p50 == pytest.approx(0.1)
    assert delivery.p95 == pytest.approx(0.1 + 0.9 * 0.9)
    assert delivery.per_s == 100


def test_a_quantile_beyond_the_largest_bound_is_that_bound_and_without_values_there_is_none() -> None:
    name = "commit_duration_seconds"
    before = {URL: reading(0, buckets(name, le_1=0, le_10=0, le_inf=0))}
    now = {URL: reading(1, buckets(name, le_1=0, le_10=0, le_inf=4))}
    assert compare(before, now).durations["commit"].p99 == 10
    assert compare(now, {URL: reading(2, buckets(name, le_1=0, le_10=0, le_inf=4))}).durations["commit"].p99 is None


def test_what_every_process_counts_for_the_installation_is_not_added_up() -> None:
    one = {"outbox_events": 7, "outbox_oldest_seconds": 3, "ai_turns_active": 2, "ai_turns_waiting": 5}
    now = {URL: reading(1, one), OTHER: reading(1, {**one, "outbox_events": 6})}
    figures = compare({}, now)
    assert (figures.outbox_events, figures.outbox_oldest_s) == (7, 3)
    assert (figures.turns_active, figures.turns_waiting) == (4, 5)


def test_the_state_of_each_process_and_service_is_shown() -> None:
    now = {
        URL: reading(1, {"ready": 1, "service_up service=redis": 1, "chats_followed": 0}),
        OTHER: reading(1, {"ready": 0, "service_up service=redis": 0}, "redis: no answer"),
        "http://c:3002": Reading(1, problem="Connection refused"),
    }
    figures = compare({}, now)
    assert [(process.state, process.problem) for process in figures.processes] == [
        ("ready", ""),
        ("not ready", "redis: no answer"),
        ("away", "Connection refused"),
    ]
    assert figures.processes[0].parts == ["gateway"]
    assert figures.services == {"redis": (1, 2)}
    assert not math.isnan(figures.connections)


def test_a_gateway_is_shown_once_and_an_api_of_the_same_start_is_shown() -> None:
    start, again = {"process_start_time_seconds": 1_795_935_492.37}, "http://localhost:3002"
    gateway = reading(1, {**start, "chats_followed": 0})
    api = reading(1, {**start, "http_request_duration_seconds_count": 0})
    assert list(distinct({URL: gateway, again: gateway, OTHER: api}, [URL])) == [URL, OTHER]
