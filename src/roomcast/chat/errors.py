"""What can go wrong in the domain.

The hierarchy::

    ChatError
    ├── ChatNotFound      no such chat, or the caller may not know of it
    ├── NotAMember        told only to who may know that the chat exists
    ├── NotAllowed        the caller may not do this at all
    ├── ChatExists        the id is taken
    ├── TurnLost          somebody else claimed the turn meanwhile
    └── StoreUnavailable  the database is out of reach or full: try again
        └── StoreBusy     likewise, and nothing was tried

Layer: chat.
"""

from __future__ import annotations


class ChatError(Exception):
    """Base of this package."""


class ChatNotFound(ChatError):
    """There is no such chat, or the caller is not a member and so may not know."""

    def __init__(self, chat_id: str) -> None:
        super().__init__(f"there is no chat {chat_id!r}, or you are not a member of it")
        self.chat_id = chat_id


class NotAMember(ChatError):
    """The user does not belong to the chat."""

    def __init__(self, chat_id: str, user_id: str | None) -> None:
        super().__init__(f"{user_id!r} is not a member of chat {chat_id!r}")
        self.chat_id = chat_id
        self.user_id = user_id


class NotAllowed(ChatError):
    """The caller may not do this, whatever the chat."""


class ChatExists(ChatError):
    """The id is taken."""

    def __init__(self, chat_id: str) -> None:
        super().__init__(f"chat {chat_id!r} exists already")
        self.chat_id = chat_id


class TurnLost(ChatError):
    """The claim is void: the turn was claimed again, or has ended."""

    def __init__(self, turn_id: str, generation: int) -> None:
        super().__init__(f"turn {turn_id} is no longer held with generation {generation}")
        self.turn_id = turn_id
        self.generation = generation


class StoreUnavailable(ChatError):
    """The database did not answer or could not write; nothing was acknowledged. Trying again is right."""


class StoreBusy(StoreUnavailable):
    """It was not even tried: too much is waiting, or the database is closed. So certainly nothing was written."""
