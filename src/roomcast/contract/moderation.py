"""What a moderation hook receives, and its verdict: the JSON of an HTTP hook, and the argument of a Python function.

Layer: contract. Source: https://www.standardwebhooks.com (the envelope of the request).
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints, model_validator

from roomcast.contract.events import Attachment, Role
from roomcast.contract.model import Output
from roomcast.contract.tenants import TenantId
from roomcast.contract.text import ChatId, NewContent, UserId


class ReviewedFile(Attachment):
    """A file of the message.

    Attributes:
        url: Path below the URL of the API, at which the hook can download it for some minutes.
    """

    url: str


class Review(Output):
    """A text that is to be stored, and the files with it.

    Attributes:
        kind: A new message, a new version of one, the title of a chat, the data of an event of an application, which is
            JSON, or an answer of an AI.
        user_id: The author; None: the message has none.
        content: The text; may be empty if there are files.
        tenant: The tenant of chat and author. Left out if it is the default tenant.
        files: Left out if there are none.
        parts: What an answer has beside its text, as in `contract.events.Message`: reasoning, tool calls, sources,
            files, data. Left out if there is nothing.
    """

    kind: Literal["send", "edit", "title", "event", "answer"]
    chat_id: ChatId
    user_id: UserId | None
    role: Role
    content: str
    tenant: TenantId | None = Field(default=None, exclude_if=lambda tenant: tenant is None)
    files: tuple[ReviewedFile, ...] = Field(default=(), exclude_if=lambda files: not files)
    parts: tuple[dict[str, Any], ...] = Field(default=(), exclude_if=lambda parts: not parts)


class ReviewRequest(Output):
    """The body of the request to an HTTP hook."""

    type: Literal["message.review"] = "message.review"
    timestamp: str
    data: Review


class Verdict(Output):
    """What happens to the text.

    Attributes:
        action: ``pass`` stores it; ``mask`` stores ``content`` in its place; ``refuse`` stores nothing.
        content: The text that is stored, with ``mask`` only.
        reason: Why the text is refused, for its author; None: no reason is given.
    """

    action: Literal["pass", "mask", "refuse"]
    content: NewContent | None = None
    reason: Annotated[str, StringConstraints(max_length=500)] | None = None

    @model_validator(mode="after")
    def _content_with_mask(self) -> Verdict:
        if (self.action == "mask") != (self.content is not None):
            raise ValueError("content belongs to the action mask, and only to it")
        return self
