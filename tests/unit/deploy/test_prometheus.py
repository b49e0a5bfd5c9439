"""Alert rules, dashboard and runbook, as far as they can be checked without a process."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

from support.prometheus import ROOT, RULES, alerts, dashboard_expressions, promtool


def test_the_rules_and_the_example_configuration_are_valid() -> None:
    for check in (("check", "rules", "alerts.yaml"), ("check", "config", "prometheus.yaml")):
        run = promtool(*check)
        assert run.returncode == 0, run.stdout + run.stderr


def test_each_alert_fires_under_its_planted_series_and_not_under_healthy_ones() -> None:
    run = promtool("test", "rules", "alerts.test.yaml")
    assert run.returncode == 0, run.stdout + run.stderr
    tests = yaml.safe_load((RULES / "alerts.test.yaml").read_text())["tests"]
    expected = {
        (case["name"].removesuffix(" fires").removesuffix(" stays silent"), sample["value"])
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
