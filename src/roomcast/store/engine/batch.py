"""Runs many commands in one transaction with few statements.

A batch loads the rows that its commands need, applies their rules in memory and in order, and writes all changes at
once (`statements.Statements`). A rejected command changes nothing and does not affect the others.

Layer: store. Source: docs/design.md, "Events and seq".
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic

from sqlalchemy import Connection

from roomcast.chat.commands import Command, R_co
from roomcast.chat.errors import ChatError
from roomcast.store.engine.statements import Statements, load_further, load_versions
from roomcast.store.lineage import Lineage
from roomcast.store.rules.exchange import LoadedRows, Needs
from roomcast.store.rules.registry import RULES
from roomcast.store.rules.work import Rule, Work


@dataclass(frozen=True, slots=True)
class CustomWrite(Command[R_co], Generic[R_co]):
    """Any other write. It runs after the other kinds of commands in its batch.

    Attributes:
        run: Makes its checks before its first write: if it raises `ChatError`, the transaction is still committed.
        durable: Whether the result must survive a power failure.
    """

    run: Callable[[Connection], R_co]
    durable: bool = True  # type: ignore[misc]  # the class variable's value, chosen for each write


def run_batch(
    connection: Connection, commands: Sequence[Command[Any]], statements: Statements, lineage: Lineage
) -> list[Any]:
    """Run the commands inside the connection's transaction.

    Args:
        connection: Inside a transaction.
        commands: In the order in which they take effect.
        statements: Read and write the rows.
        lineage: The epochs of the database. New events belong to the current epoch.

    Returns:
        One outcome per command: its result, or the `ChatError` that rejects it.
    """
    outcomes: list[Any] = [None] * len(commands)
    needs = Needs()
    ruled, custom = [], []
    for index, command in enumerate(commands):
        if isinstance(command, CustomWrite):
            custom.append((index, command))
        else:
            rule = RULES[type(command)]
            rule.needs(needs, command)
            ruled.append((index, command, rule))
    loaded = statements.load(connection, needs, lineage) if needs.chats else LoadedRows()
    load_versions(connection, needs, loaded, lineage)
    load_further(connection, _further(needs, loaded, ruled), loaded)
    work = Work(loaded, lineage)
    for index, command, rule in ruled:
        try:
            outcomes[index] = rule.apply(work, command)
        except ChatError as error:
            outcomes[index] = error
    if changes := work.changes():
        statements.write(connection, changes, last=not custom)
    for index, write in custom:
        try:
            outcomes[index] = write.run(connection)
        except ChatError as error:
            outcomes[index] = error
    return outcomes


def _further(needs: Needs, loaded: LoadedRows, ruled: Sequence[tuple[int, Command[Any], Rule]]) -> Needs:
    """What the rules need besides the loaded rows."""
    further = Needs(counts=needs.counts, owners=needs.owners)
    for _, command, rule in ruled:
        if rule.follow is not None:
            rule.follow(further, loaded, command)
    return further
