"""What a new command, event or projection must not forget; run by `make check`."""

from __future__ import annotations

from typing import Any

import pytest

from roomcast.chat import commands
from roomcast.chat.commands import Command
from roomcast.contract.events import EPHEMERAL_EVENTS, STORED_EVENTS, EventType
from roomcast.store.engine.keyed_rows import by_key, split
from roomcast.store.rules.registry import RULES
from roomcast.store.tables import additions

KINDS = [kind for kind in vars(commands).values() if isinstance(kind, type) and issubclass(kind, Command)]


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind is not Command], ids=lambda kind: kind.__name__)
def test_each_command_has_a_rule(kind: type[Command[Any]]) -> None:
    assert kind in RULES, f"{kind.__name__} has no rule: add one in store/rules and list it in registry.py"


def test_each_rule_is_one_of_a_command_of_the_domain() -> None:
    assert set(KINDS) >= RULES.keys()


@pytest.mark.parametrize("event_type", EventType)
def test_each_event_type_has_a_name_and_a_payload(event_type: EventType) -> None:
    assert event_type in STORED_EVENTS, f"{event_type} is not in contract.events.STORED_EVENTS"


def test_each_event_has_a_name_of_its_own() -> None:
    names = [kind.name for kind in STORED_EVENTS.values()] + list(EPHEMERAL_EVENTS)
    assert len(names) == len(set(names))


def test_rows_are_written_in_the_order_of_their_keys_so_that_two_processes_lock_them_alike() -> None:
    rows = {(key, "ann"): {"actor_id": key, "user_id": "ann", "full_at": 5} for key in ("c", "a", "b")}
    gone, put = split(additions, {**rows, ("b", "bob"): None, ("a", "zoe"): None})
    assert gone == [("a", "zoe"), ("b", "bob")]
    assert put == [["a", "ann", 5], ["b", "ann", 5], ["c", "ann", 5]]


def test_a_row_is_found_by_all_columns_of_its_primary_key() -> None:
    row = {"actor_id": "ann", "user_id": "bob", "full_at": 7}
    assert by_key(additions, [("ann", "bob", 7)]) == {("ann", "bob"): row}
