"""The data of one user in the whole database.

Layer: chat. Contract suite: tests/contract/test_personal.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol


@dataclass(frozen=True, slots=True)
class Erasure:
    """The erasure of the data of a user.

    Attributes:
        id: Also the alias that replaces the user's id where rows are kept; qualified with the tenant of the user.
        user_id: The user; None once it is done: nothing says any more which user it was.
        position: Up to where the tables are read; None: from the beginning.
        erased: Rows that were deleted or changed.
    """

    id: str
    user_id: str | None
    requested_at: datetime
    done_at: datetime | None = None
    position: str | None = None
    erased: int = 0


@dataclass(slots=True)
class InChat:
    """What one page has of a user in one chat, for `chat.commands.ForgetUser`.

    Attributes:
        messages: One version of each message of the user and of each answer to one.
        reactions: Messages with a reaction of the user, by place.
        member: Whether the user is a member.
    """

    messages: list[str] = field(default_factory=list)
    reactions: dict[int, str] = field(default_factory=dict)
    member: bool = False


@dataclass(frozen=True, slots=True)
class PersonalPage:
    """Rows of one table that name a user.

    Attributes:
        exported: The columns of each row for an export, with ``table``, the name of the table.
        chats: The rows that `chat.commands.ForgetUser` changes, by chat.
        rows: The other rows, for `PersonalStore.erase`.
        next: The position of the next page; None: this was the last one.
    """

    exported: Sequence[Mapping[str, Any]]
    chats: Mapping[str, InChat]
    rows: Sequence[Any]
    next: str | None


class PersonalStore(Protocol):
    """Finds and erases the data of users. Every method may raise `StoreUnavailable`."""

    async def page(self, user_id: str, alias: str | None, position: str | None) -> PersonalPage:
        """The rows of a user in the next rows of all tables.

        Args:
            user_id: The user.
            alias: The alias of the user's erasure; None: for an export, which has no answers to the user's messages.
            position: The ``next`` of the page before; None: the first page.
        """

    async def request_erasure(self, erasure: Erasure) -> Erasure:
        """Store a new erasure; or return the unfinished one of the same user."""

    async def erasure(self, erasure_id: str) -> Erasure | None:
        """One erasure; None if there is none."""

    async def claim_erasure(self, now: datetime, lease_until: datetime) -> Erasure | None:
        """Claim an unfinished erasure that no process works on; None if there is none."""

    async def erase(self, erasure: Erasure, page: PersonalPage, erased: int, lease_until: datetime) -> None:
        """Delete or change the rows of a page, and store that the page is done, with ``erased`` more rows."""

    async def finish_erasure(self, erasure: Erasure, now: datetime) -> None:
        """Store that all pages are done, and delete the user's id."""
