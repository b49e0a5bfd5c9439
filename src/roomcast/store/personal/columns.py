"""How a table declares its personal data: ``info=personal(user_id=Erase.ROW)``, or ``info=NOT_PERSONAL``.

Layer: store.personal. Source: docs/personal-data.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Final, NamedTuple

from sqlalchemy import Table


class Erase(StrEnum):
    """What an erasure does with a row that names the user."""

    #: The row is deleted.
    ROW = "row"
    #: The id is replaced by the alias of the erasure.
    ALIAS = "alias"
    #: The same in a JSON text with ids.
    JSON = "json"
    #: Nothing: the row is deleted at its ``expires_at``.
    EXPIRES = "expires"
    #: `chat.commands.ForgetUser` does it, since clients must see the change: a message, a membership, a reaction.
    FORGET = "forget"
    #: The payload of an event.
    PAYLOAD = "payload"


class Personal(NamedTuple):
    """What a table says.

    Attributes:
        columns: What an erasure does, by the columns that name users.
        order: Unique columns with an index, in whose order the rows are read; empty: the primary key.
        exported: Whether an export has the rows.
    """

    columns: Mapping[str, Erase]
    order: tuple[str, ...] = ()
    exported: bool = True


def personal(*, order: tuple[str, ...] = (), exported: bool = True, **columns: Erase) -> dict[str, Any]:
    """The ``info`` of a table with columns that name users."""
    return {"personal": Personal(columns, order, exported)}


#: The ``info`` of a table that names no user and has no text of one.
NOT_PERSONAL: Final = personal()


def personal_of(table: Table) -> Personal:
    """What a table says.

    Raises:
        KeyError: it says nothing.
    """
    found: Personal = table.info["personal"]
    return found
