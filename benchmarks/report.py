"""Writes the results: a table in Markdown, JSON, and pictures in SVG."""

from __future__ import annotations

import html
import json
import math
import statistics
from pathlib import Path
from typing import Any

from scenarios import COLUMNS, NODE, ROOMCAST, SCENARIOS, Metric, Scenario

#: Above it, the load generator is the limit, and the server could do more.
FULL_SHARE = 0.9
_COLOURS = {"Roomcast": "#c2410c", "Node": "#15803d", "Centrifugo": "#1d4ed8", "socketioxide": "#7e22ce"}
_CPU = Metric("cpuUs", "µs")
_NONE, _TIMES = "\N{EN DASH}", "\N{MULTIPLICATION SIGN}"
_PANEL_W, _PANEL_H = 300, 150
Results = dict[str, dict[str, list[dict[str, Any]]]]


def figure(value: float, metric: Metric) -> str:
    """A value with its unit."""
    return f"{value:,.{metric.digits}f} {metric.unit}"


def _median(rounds: list[dict[str, Any]], key: str) -> float:
    return float(statistics.median(found[key] for found in rounds))


def times(ours: list[dict[str, Any]], theirs: list[dict[str, Any]], metric: Metric) -> float:
    """How many times better ours is: the median of the ratios of each round."""
    ratio = float(statistics.median(a[metric.key] / b[metric.key] for a, b in zip(ours, theirs, strict=True)))
    return ratio if metric.more_is_better else 1 / ratio


def _rows(results: Results) -> list[tuple[Scenario, Metric, dict[str, list[dict[str, Any]]]]]:
    return [
        (scenario, metric, results[scenario.name])
        for scenario in SCENARIOS
        if scenario.name in results
        for metric in scenario.metrics
    ]


def _cell(rounds: list[dict[str, Any]] | None, metric: Metric) -> str:
    if not rounds:
        return _NONE
    # A generator that is full is no limit where the rate is given.
    full = metric.more_is_better and _median(rounds, "loadShare") + _median(rounds, "othersShare") > FULL_SHARE
    return f"{_median(rounds, metric.key):,.{metric.digits}f}{'*' if full else ''}"


def table(machine: str, results: Results) -> str:
    """The results in Markdown."""
    lines = [
        f"Measured on {machine}. The server has one core; load generator, Redis and PostgreSQL share the other.",
        f"`*`: that core was used above {FULL_SHARE:.0%}, so that the load is the limit. load: its share",
        "with Roomcast, generator + others. CPU: how many times less processor time an operation takes than in Node.",
        "",
        f"| scenario | {' | '.join(COLUMNS)} | {_TIMES} Node | CPU | load |",
        f"|---|{'---|' * len(COLUMNS)}---|---|---|",
    ]
    for scenario, metric, found in _rows(results):
        cells = [_cell(found.get(column), metric) for column in COLUMNS]
        ours, node = found[ROOMCAST], found.get(NODE)
        ratio = f"{times(ours, node, metric):.2f}" if node else _NONE
        cpu = f"{times(ours, node, _CPU):.2f}" if node else _NONE
        load = f"{_median(ours, 'loadShare'):.0%} + {_median(ours, 'othersShare'):.0%}"
        lines.append(f"| {scenario.label}: {metric.unit} | {' | '.join(cells)} | {ratio} | {cpu} | {load} |")
    return "\n".join(lines) + "\n"


class _Picture:
    """A growing SVG."""

    def __init__(self, width: int, height: int) -> None:
        self._parts = [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" style="font: 12px sans-serif">',
            f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
        ]

    def text(self, x: float, y: float, text: str, anchor: str = "start", colour: str = "#222222") -> None:
        self._parts.append(
            f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{colour}">{html.escape(text)}</text>'
        )

    def line(self, points: list[tuple[float, float]], colour: str, width: float = 1) -> None:
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        self._parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="{width}"/>')

    def dot(self, x: float, y: float, colour: str, title: str) -> None:
        self._parts.append(
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="5" fill="{colour}"><title>{html.escape(title)}</title></circle>'
        )

    def save(self, file: Path) -> None:
        file.write_text("\n".join([*self._parts, "</svg>", ""]), encoding="utf-8")


def _draw(results: Results, file: Path) -> None:
    """A row for each figure, a dot for each server; Node is 1, further right is better."""
    rows = [row for row in _rows(results) if row[2].get(NODE)]
    left, right, top, height = 430, 900, 56, 22
    picture = _Picture(right + 40, top + height * len(rows) + 16)
    low, high = math.log10(0.1), math.log10(50)

    def x_of(ratio: float) -> float:
        return left + (min(max(math.log10(ratio), low), high) - low) / (high - low) * (right - left)

    bottom = top + height * len(rows)
    for mark in (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50):
        picture.line([(x_of(mark), top - 8), (x_of(mark), bottom)], "#888888" if mark == 1 else "#e5e5e5")
        picture.text(x_of(mark), top - 14, f"{mark:g}{_TIMES}", "middle", "#666666")
    for index, (name, colour) in enumerate(_COLOURS.items()):
        picture.dot(20 + index * 110, 16, colour, name)
        picture.text(30 + index * 110, 20, name)
    picture.text(right, 20, "times Node's socket.io: further right is better", "end", "#666666")
    for index, (scenario, metric, found) in enumerate(rows):
        y = top + height * (index + 0.5)
        picture.text(left - 12, y + 4, f"{scenario.label.partition(' (')[0]}: {metric.unit}", "end")
        for column in reversed(COLUMNS):
            if rounds := found.get(column):
                ratio = times(rounds, found[NODE], metric)
                title = f"{column}: {figure(_median(rounds, metric.key), metric)}, {ratio:.2f} times Node"
                picture.dot(x_of(ratio), y, _COLOURS[column], title)
    picture.save(file)


def read(directory: Path, machine: str) -> Results:
    """Results that a run on the same machine has left; a new run replaces its rows."""
    try:
        found = json.loads((directory / "benchmarks.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    results: Results = found["rounds"] if found["machine"] == machine else {}
    return results


def write(directory: Path, machine: str, results: Results) -> None:
    """Write all files of the scenarios."""
    (directory / "benchmarks.md").write_text(table(machine, results), encoding="utf-8")
    (directory / "benchmarks.json").write_text(
        json.dumps({"machine": machine, "rounds": results}, indent=1) + "\n", encoding="utf-8"
    )
    _draw(results, directory / "benchmarks.svg")


def write_growth(directory: Path, machine: str, curves: dict[str, dict[str, dict[int, float]]]) -> None:
    """Write a table, JSON and one small chart for each quantity that grows.

    Args:
        directory: Where to.
        machine: What it was measured on.
        curves: CPU µs per operation, by what grows, by operation, by size.
    """
    text = json.dumps({"machine": machine, "cpuUsPerOperation": curves}, indent=1)
    (directory / "growth.json").write_text(text + "\n", encoding="utf-8")
    lines = [f"CPU µs of the server for each operation, measured on {machine}.", ""]
    columns = 3
    picture = _Picture(columns * _PANEL_W + 20, math.ceil(len(curves) / columns) * (_PANEL_H + 90) + 10)
    colours = [*_COLOURS.values(), "#0f766e"]
    for index, (what, operations) in enumerate(curves.items()):
        sizes = sorted({size for points in operations.values() for size in points})
        lines += [f"| {what} | {' | '.join(f'{size:,}' for size in sizes)} |", f"|---|{'---|' * len(sizes)}"]
        left, top = 50 + index % columns * _PANEL_W, 30 + index // columns * (_PANEL_H + 90)
        right, bottom = left + _PANEL_W - 70, top + _PANEL_H
        highest = max(value for points in operations.values() for value in points.values()) * 1.1
        spread = math.log10(sizes[-1] / sizes[0]) or 1.0
        picture.text(left, top - 10, f"µs CPU as {what} grow")
        picture.line([(left, top), (left, bottom), (right, bottom)], "#888888")
        for mark in (0.0, highest / 2, highest):
            picture.text(left - 5, bottom - mark / highest * _PANEL_H + 4, f"{mark:,.0f}", "end", "#666666")
        for size in sizes:
            picture.text(
                left + math.log10(size / sizes[0]) / spread * (right - left),
                bottom + 16,
                f"{size:,}",
                "middle",
                "#666666",
            )
        for number, (operation, points) in enumerate(operations.items()):
            places = [
                (left + math.log10(size / sizes[0]) / spread * (right - left), bottom - value / highest * _PANEL_H)
                for size, value in sorted(points.items())
            ]
            picture.line(places, colours[number], 2)
            for (x, y), (size, value) in zip(places, sorted(points.items()), strict=True):
                picture.dot(x, y, colours[number], f"{operation}, {size:,}: {value:,.0f} µs")
            picture.text(left, bottom + 34 + 14 * number, operation, colour=colours[number])
            cells = [f"{points[size]:,.0f}" if size in points else _NONE for size in sizes]
            lines.append(f"| {operation} | {' | '.join(cells)} |")
        lines.append("")
    (directory / "growth.md").write_text("\n".join(lines), encoding="utf-8")
    picture.save(directory / "growth.svg")
