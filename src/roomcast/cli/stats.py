"""`roomcast stats`: the figures of an installation, refreshed in place.

Layer: cli.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections import deque
from collections.abc import Mapping
from contextlib import nullcontext, suppress
from dataclasses import asdict
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Final
from urllib.parse import urlsplit

import typer

from roomcast.cli.exit_codes import EXIT_UNREACHABLE
from roomcast.cli.running import closed_output_ignored, configure, errors_reported, fail

if TYPE_CHECKING:
    from rich.console import RenderableType

    from roomcast.app.stats import Reading, Stats
    from roomcast.settings import Settings

STATS_EXAMPLES: Final = """Examples:

roomcast stats                (this machine, or what API_URL and REDIS_HOST name)

roomcast stats --url http://10.0.0.5:3002 --url http://10.0.0.6:3002

roomcast stats --once --json | jq .durations.delivery.p99
"""
#: Rates and quantiles of less time jump, of more time hide the present.
_WINDOW_S: Final = 10.0
_NO_ANSWER: Final = (
    "no process answers: give internal addresses with --url (a process without Redis has one only with"
    " ROOMCAST_INTERNAL_PORT)"
)


def stats(
    url: Annotated[
        list[str] | None,
        typer.Option(
            help="Internal address of a process; may be repeated (default: API_URL, else this machine at"
            " ROOMCAST_INTERNAL_PORT or 3002; with Redis all gateways, too).",
            show_default=False,
        ),
    ] = None,
    interval: Annotated[float, typer.Option(min=0.2, max=3_600, help="Seconds between two reads.")] = 2.0,
    once: Annotated[
        bool, typer.Option("--once", help="Read twice, print the figures and end.", show_default=False)
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print JSON, one object per line; times in seconds.", show_default=False)
    ] = False,
) -> None:
    """Show connections, rates, delays, backlogs and the state of all processes, from their metrics, until Ctrl-C.

    Rates and quantiles are those of the last 10 s; with --once, of the interval.
    Exit codes: 0, also after Ctrl-C and if a process is away; 5 with --once, if no
    process answers.
    """
    with errors_reported():
        settings = configure()
        from roomcast.setting_values import check_url

        given = [check_url("--url", each) for each in url or ()]
        # Lines of the log would move the figures, which say the same.
        logging.disable()
        with closed_output_ignored(), suppress(KeyboardInterrupt):
            asyncio.run(_run(settings, given, interval, once=once, as_json=as_json))


async def _run(settings: Settings, given: list[str], interval_s: float, *, once: bool, as_json: bool) -> None:
    from rich.console import Console
    from rich.live import Live

    from roomcast.app.stats import Processes, compare

    console = Console(markup=False, highlight=False)
    # On a dumb terminal, a live view would first be shown at its end.
    refreshed = console.is_terminal and not console.is_dumb_terminal and not (once or as_json)
    live = Live(console=console, auto_refresh=False) if refreshed else None
    window: deque[Mapping[str, Reading]] = deque(maxlen=2 if once else max(2, round(_WINDOW_S / interval_s) + 1))
    async with Processes(given, settings) as processes:
        with live or nullcontext():
            while True:
                window.append(await processes.read())
                if not once or len(window) == window.maxlen:
                    figures = compare(window[0], window[-1])
                    if as_json:
                        typer.echo(json.dumps(asdict(figures)))
                    elif live is None:
                        with console.capture() as text:
                            console.print(_view(figures, processes.problem))
                        typer.echo(text.get(), nl=False)
                    else:
                        hint = "" if _any_answer(window[-1]) else _NO_ANSWER
                        live.update(_view(figures, processes.problem or hint), refresh=True)
                    if once:
                        break
                await asyncio.sleep(interval_s)
    if not _any_answer(window[-1]):
        fail(_NO_ANSWER, EXIT_UNREACHABLE)


def _any_answer(readings: Mapping[str, Reading]) -> bool:
    return any(reading.values for reading in readings.values())


# -- the view ---------------------------------------------------------------------------------------------------------


def _view(figures: Stats, problem: str) -> RenderableType:
    from rich.console import Group
    from rich.text import Text

    from roomcast.observability.logs import escape

    during = f"last {figures.seconds:.1f} s" if figures.seconds else "rates from the second read on"
    causes = (f"{_name(process.url)}: {escape(process.problem)}" for process in figures.processes if process.problem)
    oldest = _duration(figures.outbox_oldest_s), _duration(figures.turns_oldest_s)
    parts = [
        f"Roomcast {datetime.now().astimezone():%H:%M:%S}, {during}",
        "",
        _processes(figures),
        *([problem] if problem else []),
        *causes,
        "",
        _durations(figures),
        "",
        "   ".join(
            (
                f"connections {figures.connections:.0f}",
                f"events {figures.deliveries_per_s:.1f}/s",
                f"messages {figures.messages_per_s:.1f}/s",
                f"outbox {figures.outbox_events:.0f} (oldest {oldest[0]})",
            )
        ),
        f"AI turns {figures.turns_active:.0f} active, {figures.turns_waiting:.0f} waiting (oldest {oldest[1]})",
        "   ".join(f"{name} {_up(*count)}" for name, count in figures.services.items()),
    ]
    return Group(*(Text(part) if isinstance(part, str) else part for part in parts))


def _processes(figures: Stats) -> RenderableType:
    from rich.table import Table
    from rich.text import Text

    from roomcast.app.stats import PARTS

    table = Table("process", "parts", "state", box=None, pad_edge=False, header_style="bold")
    for heading in ("conns", "events/s", "messages/s", "lag p99"):
        table.add_column(heading, justify="right", no_wrap=True)
    for process in figures.processes:
        style = {"ready": "green", "not ready": "yellow", "away": "red"}[process.state]
        table.add_row(
            _name(process.url),
            "all" if len(process.parts) == len(PARTS) else " ".join(process.parts),
            Text(process.state, style),
            _number(process.connections, 0),
            _number(process.deliveries_per_s, 1),
            _number(process.messages_per_s, 1),
            _duration(process.event_loop_lag_p99_s),
        )
    return table


def _name(url: str) -> str:
    return urlsplit(url).netloc


def _durations(figures: Stats) -> RenderableType:
    from rich.table import Table

    table = Table("", box=None, pad_edge=False, header_style="bold")
    for heading in ("p50", "p95", "p99", "per s"):
        table.add_column(heading, justify="right")
    for name, quantiles in figures.durations.items():
        times = map(_duration, (quantiles.p50, quantiles.p95, quantiles.p99))
        table.add_row(name, *times, f"{quantiles.per_s:.1f}")
    return table


def _number(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def _duration(seconds: float | None) -> str:
    if seconds is None:
        return "-"
    return f"{seconds * 1_000:.1f} ms" if seconds < 1 else f"{seconds:.1f} s"


def _up(up: int, processes: int) -> str:
    return "up" if up == processes else f"DOWN for {processes - up} of {processes}"
