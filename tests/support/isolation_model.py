"""What the model of `isolation` knows: which user may see which text at which time, and who wrote it."""

from __future__ import annotations

import itertools
import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final, NamedTuple

NEVER: Final = 2**60
_MARKER: Final = re.compile(r"mk(\d+)x(\w+?)x(\d+)x")

#: The number of a tenant, and the id of a chat or a user.
Place = tuple[int, str]


class Leak(AssertionError):
    """A user received what it must not see."""


class Mark(NamedTuple):
    """A marker in a text: where and at which operation it was written, and by which user."""

    place: Place
    number: int
    author: str


@dataclass
class Chat:
    """What the model knows of a chat.

    Attributes:
        periods: For each user the operations at which it became a member and, exclusive, ceased to be one.
        messages: Id and author of each message.
        banned: The users that may not become members.
        fixed: Whether its members never change, as those of a direct chat.
        deleted: Whether it is deleted.
    """

    periods: dict[str, list[list[int]]] = field(default_factory=lambda: defaultdict(list))
    messages: list[tuple[str, str]] = field(default_factory=list)
    banned: set[str] = field(default_factory=set)
    fixed: bool = False
    deleted: bool = False

    def has(self, user: str) -> bool:
        """Whether a user is a member."""
        return bool(self.periods.get(user)) and self.periods[user][-1][1] == NEVER

    def may_see(self, user: str, operation: int) -> bool:
        """Whether a user is a member at an operation, or becomes one later."""
        return any(end > operation for _, end in self.periods.get(user, ()))

    @property
    def members(self) -> list[str]:
        """The members."""
        return [user for user in self.periods if self.has(user)]


class Model:
    """The chats of all tenants, and the markers.

    Attributes:
        chats: Each chat, also a deleted one.
    """

    def __init__(self) -> None:
        self.chats: dict[Place, Chat] = {}
        self._numbers = itertools.count(1)
        # In markers, a chat has a short name without other characters than letters and digits.
        self._names: dict[Place, str] = {}
        self._places: dict[tuple[int, str], Place] = {}
        self._authors: dict[int, str] = {}

    def create(self, place: Place, *members: str, fixed: bool = False) -> Chat:
        """Add a chat."""
        name = f"c{len(self._names)}"
        self._names[place] = name
        self._places[place[0], name] = place
        chat = self.chats[place] = Chat(fixed=fixed)
        for user in members:
            self.join(place, user)
        return chat

    def join(self, place: Place, user: str) -> None:
        """A user becomes a member, unless it is one."""
        chat = self.chats[place]
        if not chat.has(user):
            if user in chat.banned or (chat.fixed and len(chat.members) == 2):
                raise Leak(f"{user} became a member of {place}")
            chat.periods[user].append([next(self._numbers), NEVER])

    def leave(self, place: Place, user: str) -> None:
        """A user ceases to be a member, if it is one."""
        if self.chats[place].has(user):
            self.chats[place].periods[user][-1][1] = next(self._numbers)

    def delete(self, place: Place) -> None:
        """A chat is deleted."""
        for user in self.chats[place].members:
            self.leave(place, user)
        self.chats[place].deleted = True

    def mark(self, place: Place, author: str) -> str:
        """A new marker."""
        number = next(self._numbers)
        self._authors[number] = author
        return f"mk{place[0]}x{self._names[place]}x{number}x"

    def prefix(self, tenant: int, place: Place) -> str:
        """How markers of a tenant begin that are in a chat with the short name of ``place``."""
        return f"mk{tenant}x{self._names[place]}x"

    def marks(self, text: str) -> Iterator[Mark]:
        """The markers of a text."""
        for tenant, name, number in _MARKER.findall(text):
            yield Mark(self._places[int(tenant), name], int(number), self._authors[int(number)])

    def check_response(self, text: str, tenant: int, user: str | None, said: str) -> None:
        """Check what a request has returned to a user, or to a service (None), of a tenant.

        Raises:
            Leak: it may not see it.
        """
        for mark in self.marks(text):
            if mark.place[0] != tenant or not (user is None or self.chats[mark.place].has(user)):
                raise Leak(f"{said} of {tenant} got {mark} in {text}")
        # JSON escapes the separator of qualified ids, other texts do not.
        if "\\u001f" in text or "\x1f" in text:
            raise Leak(f"{said} of {tenant} got a qualified id in {text}")

    def check_export(self, text: str, tenant: int, user: str, said: str) -> None:
        """Check the export of a user: it has its own texts, also of chats that it has left, and no other ones.

        Raises:
            Leak: there is another text.
        """
        for mark in self.marks(text):
            # The title of a direct chat may be the other user's.
            of_direct = self.chats[mark.place].fixed and self.chats[mark.place].has(user)
            if mark.place[0] != tenant or not (mark.author == user or of_direct):
                raise Leak(f"{said} of {tenant} got {mark} in {text}")
