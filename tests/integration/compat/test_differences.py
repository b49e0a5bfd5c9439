"""Each case runs on python-socketio's server and on ours, with python-socketio's client.

A difference is listed in `differences`, and so in the document, or it fails. Several cases run at the same time, since
many wait for what must not come.
"""

from __future__ import annotations

import asyncio
import inspect
import json
import warnings
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import ModuleType
from typing import Any, Final

import pytest
import socketio as peer

from roomcast.realtime.compat import socketio as ours
from support.python_socketio import connect, events, http, polling, rooms
from support.python_socketio.differences import DIFFERENCES, table
from support.python_socketio.world import LIMIT_S, World, world_of

Case = Callable[[World], Awaitable[Any]]
Run = tuple[str, str]  # a case and a transport


def cases(*modules: ModuleType) -> dict[str, Case]:
    return {
        name: case
        for module in modules
        for name, case in vars(module).items()
        if inspect.iscoroutinefunction(case)
        and not name.startswith("_")
        and list(inspect.signature(case).parameters) == ["world"]
    }


CASES = cases(connect, events, rooms, http, polling)
#: Those of the other modules for which the transport may matter.
POLLING = [
    "accepts",
    "returns_false",
    "refuses_with_data",
    "emits_to_the_client",
    "emits_to_a_room_just_entered",
    "emits_with_a_callback",
    "what_the_client_gets_before_the_acceptance",
    "disconnects_in_the_handler",
    "unknown_namespace",
    "two_namespaces",
    "environ_of_the_request",
    "nothing_after_a_refusal",
    "arguments",
    "acknowledgements",
    "binary",
    "unknown_event",
    "class_namespace",
    "handlers_of_one_client_overlap",
    "handlers_in_turn",
    "calls_the_client",
    "call_without_an_answer",
    "callback_of_an_emit",
    "callback_of_a_room",
    "msgpack",
    "order_of_emits",
    "events_right_after_connect",
    "enter_leave_and_emit",
    "several_rooms_at_once",
    "skips",
    "server_disconnects",
    "disconnect_in_an_event",
    "client_disconnects",
    "client_disconnects_a_namespace",
    "the_manager",
]
RUNS: list[Run] = [
    *((name, "polling" if name in cases(polling) else "websocket") for name in CASES),
    *((name, "polling") for name in POLLING),
]
#: They change python-socketio for the whole process.
ALONE: Final = {"own_json_module"}
AT_ONCE: Final = 8
DOCUMENT = Path(__file__).resolve().parents[3] / "docs" / "moving" / "python-socketio.md"


async def observe(lib: ModuleType, run: Run) -> Any:
    name, transport = run
    async with world_of(lib, transport) as world:
        try:
            async with asyncio.timeout(4 * LIMIT_S):
                return json.loads(json.dumps(world.seen(await CASES[name](world))))
        except Exception as error:  # noqa: BLE001 - which one is the observation
            return f"{type(error).__name__}: {error}"


async def observe_all(runs: list[Run]) -> dict[Run, tuple[Any, Any]]:
    seen: dict[Run, tuple[Any, Any]] = {}
    gate = asyncio.Semaphore(AT_ONCE)

    async def compare(run: Run) -> None:
        async with gate:
            there, here = await asyncio.gather(observe(peer, run), observe(ours, run))
        seen[run] = there, here

    async with asyncio.TaskGroup() as together:
        for run in runs:
            if run[0] not in ALONE:
                together.create_task(compare(run))
    for run in runs:
        if run[0] in ALONE:
            seen[run] = await observe(peer, run), await observe(ours, run)
    return seen


@pytest.fixture(scope="module")
def observations(request: pytest.FixtureRequest) -> dict[Run, tuple[Any, Any]]:
    """What each selected case observes of python-socketio and of ours."""
    selected = [
        item.callspec.params["run"]
        for item in request.session.items
        if isinstance(item, pytest.Function) and item.module is request.module and "observations" in item.fixturenames
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return asyncio.run(observe_all(selected))


@pytest.mark.timeout(180)  # the first one runs all cases
@pytest.mark.parametrize("run", RUNS, ids=" over ".join)
def test_the_servers_differ_only_where_it_is_listed(run: Run, observations: dict[Run, tuple[Any, Any]]) -> None:
    there, here = observations[run]
    if run[0] in DIFFERENCES:
        assert here != there, "the difference is gone: remove it from the list"
    else:
        assert here == there


def test_each_listed_difference_has_a_case() -> None:
    assert DIFFERENCES.keys() <= CASES.keys()


def test_the_document_lists_the_differences() -> None:
    assert f"runs {len(CASES)} cases on both" in DOCUMENT.read_text()
    assert table() in DOCUMENT.read_text(), "copy the table of support/python_socketio/differences.py"
