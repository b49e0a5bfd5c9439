"""What a push carries to the service worker of a page.

Layer: contract.
"""

from __future__ import annotations

from typing import Final

from roomcast.contract.events import Role
from roomcast.contract.model import Output
from roomcast.contract.text import ChatId, Seq, UserId

#: UTF-16 units of the text in a push: with title and author, a push stays below the 3,993 bytes that services accept.
PREVIEW_CHARS: Final = 120


class PushPayload(Output):
    """One new message.

    Attributes:
        title: The title of its chat; null: it has none.
        direct: Whether it is a direct chat.
        role: ``AI``: an answer.
        user_id: The author; null: an AI or a service.
        text: The first characters of the message.
        mentioned: Whether it mentions the user.
    """

    chat_id: ChatId
    title: str | None
    direct: bool
    role: Role
    user_id: UserId | None
    text: str
    mentioned: bool
    seq: Seq
