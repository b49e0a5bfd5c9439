"""Each case runs on python-socketio's server and on ours, with python-socketio's client.

A difference is listed in `differences`, and so in the document, or it fails.
"""

from __future__ import annotations

import asyncio
import inspect
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import socketio as peer

from roomcast.realtime.compat import socketio as ours
from support.python_socketio import connect, events, http, rooms
from support.python_socketio.differences import DIFFERENCES, table
from support.python_socketio.world import World, world_of

Case = Callable[[World], Awaitable[Any]]

MODULES = (connect, events, rooms, http)
CASES: dict[str, Case] = {
    name: case
    for module in MODULES
    for name, case in vars(module).items()
    if inspect.iscoroutinefunction(case)
    and not name.startswith("_")
    and list(inspect.signature(case).parameters) == ["world"]
}
DOCUMENT = Path(__file__).resolve().parents[3] / "docs" / "moving" / "python-socketio.md"


async def observe(lib: ModuleType, case: Case) -> Any:
    async with world_of(lib) as world:
        try:
            async with asyncio.timeout(10):
                return json.loads(json.dumps(world.seen(await case(world))))
        except Exception as error:  # noqa: BLE001 - which one is the observation
            return f"{type(error).__name__}: {error}"


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("name", CASES)
async def test_the_servers_differ_only_where_it_is_listed(name: str) -> None:
    there, here = await observe(peer, CASES[name]), await observe(ours, CASES[name])
    if name in DIFFERENCES:
        assert here != there, "the difference is gone: remove it from the list"
    else:
        assert here == there


def test_each_listed_difference_has_a_case() -> None:
    assert DIFFERENCES.keys() <= CASES.keys()


def test_the_document_lists_the_differences() -> None:
    assert f"runs {len(CASES)} cases on both" in DOCUMENT.read_text()
    assert table() in DOCUMENT.read_text(), "copy the table of support/python_socketio/differences.py"
