"""The files of ``deploy/prometheus`` and ``deploy/grafana``, and Prometheus' own checker."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from support.programs import find_program

ROOT: Final = Path(__file__).resolve().parents[2]
RULES: Final = ROOT / "deploy" / "prometheus"
_SELECTOR: Final = re.compile(r"\b((?:roomcast|process)_\w+)(?:\{([^}]*)\})?")
_MATCHER: Final = re.compile(r'(\w+)(=~|=)"([^"]*)"')
#: Labels that Prometheus adds to each series, by its configuration.
_OF_TARGETS: Final = {"job", "instance", "namespace", "component"}


@dataclass(frozen=True, slots=True)
class Selector:
    """A metric in an expression, with its matchers: label, operator, value."""

    name: str
    matchers: tuple[tuple[str, str, str], ...]


def alerts() -> list[dict[str, Any]]:
    """The alert rules."""
    (group,) = yaml.safe_load((RULES / "alerts.yaml").read_text())["groups"]
    rules: list[dict[str, Any]] = group["rules"]
    return rules


def dashboard_expressions() -> list[str]:
    """The expressions of the dashboard, with values in place of Grafana's variables."""
    dashboard = json.loads((ROOT / "deploy" / "grafana" / "roomcast.json").read_text())
    targets = [target for panel in dashboard["panels"] for target in panel.get("targets", ())]
    return [target["expr"].replace("$__rate_interval", "5m").replace("$namespace", ".*") for target in targets]


def selectors(expression: str) -> Iterator[Selector]:
    """The metrics of an expression; the labels of its groups (``by``, ``on``) count as matchers of all of them."""
    grouped = {name.strip() for names in re.findall(r"\bby \(([^)]*)\)", expression) for name in names.split(",")}
    plain = tuple((name, "=~", ".*") for name in sorted(grouped - _OF_TARGETS))
    for name, matchers in _SELECTOR.findall(expression):
        yield Selector(name, (*(it for it in _MATCHER.findall(matchers) if it[0] not in _OF_TARGETS), *plain))


def promtool(*args: str | Path) -> subprocess.CompletedProcess[str]:
    """Run Prometheus' checker; without it the test is skipped loudly, and fails under ``CI=true``."""
    path = find_program("promtool", "prometheus")
    return subprocess.run(
        [path, *map(str, args)], cwd=RULES, capture_output=True, text=True, check=False, timeout=60, env={"TZ": "UTC"}
    )
