"""Alert rules, dashboard and runbook, as far as they can be checked without a process."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from support.prometheus import ROOT, RULES, alerts, dashboard_expressions, promtool, selectors


def test_the_rules_and_the_example_configuration_are_valid() -> None:
    for check in (("check", "rules", "alerts.yaml"), ("check", "config", "prometheus.yaml")):
        run = promtool(*check)
        assert run.returncode == 0, run.stdout + run.stderr


def test_each_alert_fires_under_its_planted_series_and_not_under_healthy_ones() -> None:
    run = promtool("test", "rules", "alerts.test.yaml")
    assert run.returncode == 0, run.stdout + run.stderr
    tests = yaml.safe_load((RULES / "alerts.test.yaml").read_text())["tests"]
    expected = {
        (case["name"].split()[0], sample["value"])
        for case in tests
        for check in case["promql_expr_test"]
        for sample in check["exp_samples"]
        if f'"{case["name"].split()[0]}"' in check["expr"]
    }
    assert expected == {(rule["alert"], value) for rule in alerts() for value in (0, 1)}


def test_each_alert_has_texts_and_a_section_in_the_runbook() -> None:
    headings = re.findall(r"^## (\w+)$", (ROOT / "docs" / "runbook.md").read_text(), re.MULTILINE)
    assert headings == [rule["alert"] for rule in alerts()]
    for rule in alerts():
        assert rule["labels"]["severity"] in {"critical", "warning", "info"}
        assert rule["annotations"].keys() == {"summary", "description", "runbook_url"}
        assert rule["annotations"]["runbook_url"] == f"docs/runbook.md#{rule['alert'].lower()}"


def test_the_runbook_shows_the_expressions_of_the_alerts() -> None:
    shown = re.findall(r"^```promql\n(.*?)^```$", (ROOT / "docs" / "runbook.md").read_text(), re.MULTILINE | re.DOTALL)
    assert [text.split() for text in shown] == [rule["expr"].split() for rule in alerts()]


def test_each_expression_of_the_dashboard_parses(tmp_path: Path) -> None:
    rules = [
        {"record": f"panel:{number}", "expr": expression} for number, expression in enumerate(dashboard_expressions())
    ]
    assert len(rules) > 30
    file = tmp_path / "dashboard.yaml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": rules}]}))
    run = promtool("check", "rules", file)
    assert run.returncode == 0, run.stdout + run.stderr


def test_the_memory_alert_fires_at_80_percent_of_the_limits_of_the_chart() -> None:
    values = yaml.safe_load((ROOT / "deploy/helm/roomcast/values.yaml").read_text())
    limits = {name: values[name]["resources"]["limits"]["memory"] for name in ("gateway", "api", "worker")}
    assert limits == {"gateway": "1Gi", "api": "512Mi", "worker": "512Mi"}
    [expression] = (rule["expr"] for rule in alerts() if rule["alert"] == "RoomcastMemory")
    found = [float(number) / 2**30 for number in re.findall(r"> ([\d.e]+)", expression)]
    assert found == [pytest.approx(0.8, abs=0.01), pytest.approx(0.4, abs=0.01)]


def test_the_rule_for_the_adapter_sums_the_connections_of_each_pod(tmp_path: Path) -> None:
    [rule] = yaml.safe_load((RULES / "adapter.yaml").read_text())["rules"]["custom"]
    [series] = selectors(rule["seriesQuery"])
    gateway = (ROOT / "deploy/helm/roomcast/templates/gateway.yaml").read_text()
    # The adapter offers a series under its own name.
    assert f"name: {series.name}\n" in gateway
    assert rule["resources"]["overrides"] == {name: {"resource": name} for name in ("namespace", "pod")}
    query = rule["metricsQuery"].replace("<<.Series>>", series.name).replace("<<.GroupBy>>", "pod")
    matchers = 'namespace="chat",pod=~"roomcast-gateway-1|roomcast-gateway-2"'
    transports = [
        {
            "series": f'{series.name}{{namespace="chat",pod="roomcast-gateway-{pod}",transport="{name}"}}',
            "values": f"{count}",
        }
        for pod, name, count in ((1, "websocket", 3), (1, "polling", 1), (2, "websocket", 5))
    ]
    expected = [{"labels": f'{{pod="roomcast-gateway-{pod}"}}', "value": count} for pod, count in ((1, 4), (2, 5))]
    test = {
        "input_series": transports,
        "promql_expr_test": [{"expr": query.replace("<<.LabelMatchers>>", matchers), "exp_samples": expected}],
    }
    file = tmp_path / "adapter.test.yaml"
    file.write_text(yaml.safe_dump({"tests": [test]}))
    run = promtool("test", "rules", file)
    assert run.returncode == 0, run.stdout + run.stderr
