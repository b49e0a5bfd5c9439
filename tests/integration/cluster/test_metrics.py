"""The metrics of real processes, against the dashboard, the alerts and the document that name them."""

from __future__ import annotations

import re
from collections import defaultdict
from pathlib import Path

import httpx
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families

from support.clients import ChatClient, send
from support.ports import free_port
from support.processes import Roomcast
from support.prometheus import ROOT, Selector, alerts, dashboard_expressions, selectors
from support.redis_server import RedisServer, environment
from support.waiting import until

#: Histograms that one message, its answer, a join and a replay move, with labels that identify the series.
MOVED = (
    ("http_request_duration_seconds", {"method": "POST", "route": "/api/chat/messages", "status": "2xx"}),
    ("http_request_duration_seconds", {"method": "GET", "route": "unmatched", "status": "4xx"}),
    ("commit_duration_seconds", {}),
    ("delivery_delay_seconds", {}),
    ("join_duration_seconds", {"outcome": "recovered"}),
    ("replay_duration_seconds", {}),
    ("database_duration_seconds", {"operation": "read"}),
    ("database_duration_seconds", {"operation": "write"}),
    ("redis_duration_seconds", {"use": "eventlog-append"}),
    ("event_loop_lag_seconds", {}),
    ("ai_first_chunk_seconds", {}),
)


class Scrape:
    """The metrics of several processes.

    Attributes:
        families: The families by name.
    """

    def __init__(self, *texts: str) -> None:
        self.families: dict[str, Metric] = {}
        self._samples: defaultdict[str, list[tuple[dict[str, str], float]]] = defaultdict(list)
        for text in texts:
            for family in text_string_to_metric_families(text):
                self.families.setdefault(family.name, family)
                for sample in family.samples:
                    self._samples[sample.name].append((sample.labels, sample.value))

    def total(self, name: str, labels: dict[str, str]) -> float:
        found = [value for own, value in self._samples[f"roomcast_{name}"] if own.items() >= labels.items()]
        assert found, f"no series {name}{labels}"
        return sum(found)

    def missing(self, selector: Selector) -> list[str]:
        """What the selector names and no series has."""
        samples = self._samples.get(selector.name)
        if samples is None:
            return [selector.name]
        return [
            f"{selector.name}{{{label}{operator}{value}}}"
            for label, operator, value in selector.matchers
            if not any(label in own and re.fullmatch(value, own[label]) for own, _ in samples)
        ]


async def scrape(*ports: int) -> Scrape:
    async with httpx.AsyncClient(verify=False) as client:  # noqa: S501 - loopback, and loading authorities takes long
        return Scrape(*[(await client.get(f"http://127.0.0.1:{port}/metrics")).text for port in ports])


def table(found: Scrape) -> list[str]:
    """The rows of ``docs/metrics.md``."""
    rows = []
    for name, family in sorted(found.families.items()):
        if name.startswith("roomcast_"):
            labels = sorted({label for sample in family.samples for label in sample.labels} - {"le"})
            suffix = "_total" if family.type == "counter" else ""
            named = ", ".join(f"`{label}`" for label in labels)
            rows.append(f"| `{name}{suffix}` | {family.type} | {named} | {family.documentation} |")
    return rows


async def test_every_named_metric_exists_and_the_histograms_move(tmp_path: Path, redis: RedisServer) -> None:
    api_port, port = free_port(), free_port()
    answering = environment(redis, ROOMCAST_INTERNAL_PORT=str(api_port), ROOMCAST_RESPONDER="demo")
    with Roomcast.api(tmp_path / "data", env=answering) as api:
        env = environment(redis, API_URL=api.internal_url, ROOMCAST_INTERNAL_PORT=str(port))
        with Roomcast.gateway(env=env) as gateway:
            before = await scrape(api_port, port)
            async with ChatClient(gateway.gateway_url) as ann:
                ack = await ann.join("team")
                await send(api.api_url, "team", "hello")
                while (await ann.next_message())["role"] != "AI":
                    pass
                async with ChatClient(gateway.gateway_url) as ben:
                    assert (await ben.join("team", since={"epoch": ack["epoch"], "seq": 0}))["recovered"] is True
                async with httpx.AsyncClient(verify=False) as client:  # noqa: S501 - see above
                    for path in ("/api/unknown", "/api/chats/%ff"):
                        assert (await client.get(f"{api.api_url}{path}")).is_client_error

            async def sampled() -> Scrape | None:
                found = await scrape(api_port, port)
                lag = ("event_loop_lag_seconds_count", {})
                return found if found.total(*lag) > before.total(*lag) else None

            after = await until(sampled, step_s=0.1)
    counts = [(f"{name}_count", labels) for name, labels in MOVED]
    assert [it for it in counts if after.total(*it) <= before.total(*it)] == []
    assert after.total("http_request_duration_seconds_count", {"route": "unmatched"}) == 2
    # The delay is measured with one clock here, so more than these seconds would be an error of unit or time zone.
    assert 0 < after.total("delivery_delay_seconds_sum", {}) < 10
    assert after.total("service_up", {"service": "database"}) == 1
    assert after.total("ready", {}) == 2
    assert after.total("outbox_events", {}) == 0
    expressions = [*(rule["expr"] for rule in alerts()), *dashboard_expressions()]
    missing = [name for expression in expressions for it in selectors(expression) for name in before.missing(it)]
    assert missing == []
    document = (ROOT / "docs" / "metrics.md").read_text()
    assert re.findall(r"^\| `roomcast_.*$", document, re.MULTILINE) == table(after), "\n".join(table(after))
