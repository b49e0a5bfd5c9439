"""The port of the responders, which answer USER messages.

Layer: chat. Contract suite: tests/contract/test_responder.py.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from roomcast.chat.model import StoredMessage
from roomcast.contract.events import TurnReason


@dataclass(frozen=True, slots=True)
class PromptFile:
    """A file of a message, for a model.

    Attributes:
        type: The media type: an image of `chat.files.names.INLINE_TYPES`, or a text in UTF-8.
        data: The content.
    """

    name: str
    type: str
    data: bytes

    @property
    def text(self) -> str | None:
        """The content of a text; None for an image."""
        return None if self.type.startswith("image/") else self.data.decode("utf-8", "replace")

    @property
    def url(self) -> str:
        """The content as a ``data:`` URL."""
        return f"data:{self.type};base64,{b64encode(self.data).decode()}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt:
    """The input of a responder. If several users wrote its USER messages, each begins with its author's id: ``ann: …``.

    Attributes:
        message: The USER message to answer.
        history: The messages before it, oldest first, cut to the chat's token budget. Each answer follows its question.
        system: Instructions of the chat; None if there are none.
        model: The chat's model; None: the responder's default.
        turn_id: Id of the turn, the same in every attempt.
        files: Images and texts by the id of their message, of which the content says name, type and size.
    """

    message: StoredMessage
    history: tuple[StoredMessage, ...] = ()
    system: str | None = None
    model: str | None = None
    turn_id: str = ""
    files: Mapping[str, Sequence[PromptFile]] = field(default_factory=dict)


#: A chunk of the AI SDK's UI message stream, such as ``{"type": "text-delta", "id": "0", "delta": "Hello"}``. The
#: worker adds ``start`` and the chunk that ends the stream.
Chunk = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Reference:
    """The position at the provider after the items so far, with which `ResumableResponder.resume` can continue.

    Attributes:
        ref: Opaque; 1 to 1,024 printable ASCII characters without spaces.
    """

    ref: str


@dataclass(frozen=True, slots=True)
class Usage:
    """What the answer has cost so far; the last one counts."""

    input_tokens: int
    output_tokens: int


@dataclass(frozen=True, slots=True)
class CutOff:
    """The provider ended the answer early: ``TOO_LONG``, ``FILTERED`` or ``CUT_BY_PROVIDER``. No item follows."""

    reason: TurnReason


#: A piece of text, a chunk, or a note for the worker.
AnswerItem = str | Chunk | Reference | Usage | CutOff


class ResponderFailure(Exception):
    """The responder cannot answer; the text is for the log only.

    Attributes:
        reason: The reason of the turn's end.
        retryable: Whether another attempt may succeed. The worker makes one only if no item was yielded.
        retry_after_s: The provider's wish for the pause before the next attempt; None: the worker's backoff.
        kind: The kind of the failure in metrics, such as ``429`` or ``connect``.
    """

    def __init__(
        self,
        message: str,
        *,
        reason: TurnReason = TurnReason.RESPONDER_ERROR,
        retryable: bool = False,
        retry_after_s: float | None = None,
        kind: str = "other",
    ) -> None:
        super().__init__(message)
        self.reason = reason
        self.retryable = retryable
        self.retry_after_s = retry_after_s
        self.kind = kind


class Responder(Protocol):
    """Generates answers.

    The worker closes the iterator (`aclose`) at a stop, a time limit and a shutdown; the responder must then end its
    request to the provider. It may be called again for the same turn after a crash or a `ResponderFailure`. Any other
    exception ends the turn with ``responder-error``.
    """

    @property
    def name(self) -> str:
        """The name by which chats refer to this responder."""

    def respond(self, prompt: Prompt) -> AsyncIterator[AnswerItem]:
        """Yield the answer. A piece of text continues the current text part."""


@runtime_checkable
class ResumableResponder(Responder, Protocol):
    """A responder whose provider keeps the answer, so that another worker can continue it."""

    def resume(self, prompt: Prompt, ref: str) -> AsyncIterator[AnswerItem]:
        """Yield what follows the items before the `Reference` ``ref``."""

    async def cancel(self, ref: str) -> None:
        """End the answer at the provider, which would go on after the iterator was closed.

        The worker calls this at a stop and at a time limit, and not when it hands the turn over.

        Raises:
            ResponderFailure: the provider cannot be reached.
        """
