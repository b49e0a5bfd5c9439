"""Errors of the domain.

The hierarchy::

    ChatError
    ├── ChatNotFound      no such chat, or the caller may not know that it exists
    ├── NotAMember        the user is not a member; raised only where the chat's existence is no secret
    ├── NotAllowed        the caller may not do this in any chat
    ├── ChatExists        the id is taken
    ├── TurnLost          the turn was claimed again, or has ended
    └── StoreUnavailable  the database is unreachable or full: retry
        └── StoreBusy     the write was not attempted: retry

Layer: chat.
"""

from __future__ import annotations


class ChatError(Exception):
    """Base of this package."""


class ChatNotFound(ChatError):
    """The chat does not exist, or the caller is not a member and must not learn that it does."""

    def __init__(self, chat_id: str) -> None:
        super().__init__(f"chat {chat_id!r} does not exist, or you are not a member of it")
        self.chat_id = chat_id


class NotAMember(ChatError):
    """The user is not a member of the chat."""

    def __init__(self, chat_id: str, user_id: str | None) -> None:
        super().__init__(f"{user_id!r} is not a member of chat {chat_id!r}")
        self.chat_id = chat_id
        self.user_id = user_id


class NotAllowed(ChatError):
    """The caller may not do this in any chat; the text says why."""


class ChatExists(ChatError):
    """The id is taken."""

    def __init__(self, chat_id: str) -> None:
        super().__init__(f"chat {chat_id!r} already exists; choose another id, or leave the id out")
        self.chat_id = chat_id


class TurnLost(ChatError):
    """The claim is void: the turn was claimed again, or has ended."""

    def __init__(self, turn_id: str, generation: int) -> None:
        super().__init__(f"the claim on turn {turn_id} with generation {generation} is void")
        self.turn_id = turn_id
        self.generation = generation


class StoreUnavailable(ChatError):
    """The database did not answer or could not write. A write may have been committed all the same: retry."""


class StoreBusy(StoreUnavailable):
    """The write was not attempted, so nothing was committed: too many writes are waiting, or the store is closed."""
