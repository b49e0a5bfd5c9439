"""The input of a responder: the messages of a chat that fit into its token budget.

Layer: chat.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import accumulate
from typing import Final

from roomcast.chat.model import StoredMessage, Turn
from roomcast.chat.ports.responder import Prompt
from roomcast.contract.events import TurnStatus
from roomcast.contract.tenants import local_id

#: Enough for about 50 messages; small beside the contexts of current models, and cheap.
DEFAULT_TOKEN_BUDGET: Final = 16_000
#: What a message costs beside its text: its role and delimiters.
MESSAGE_TOKENS: Final = 4
_ASCII_PER_TOKEN: Final = 4
_ANSWERED: Final = frozenset({TurnStatus.COMPLETE, TurnStatus.STOPPED, TurnStatus.INCOMPLETE})


def estimate_tokens(text: str) -> int:
    """About how many tokens a text has: one for 4 ASCII characters, and one for each other character.

    Models differ. The estimate is close for English and Chinese, and too high for other scripts, so that a prompt stays
    within the budget.
    """
    ascii_chars = len(text.encode("ascii", "ignore"))
    return -(-ascii_chars // _ASCII_PER_TOKEN) + len(text) - ascii_chars


def build_prompt(
    turn: Turn,
    messages: Sequence[StoredMessage],
    token_budget: int = DEFAULT_TOKEN_BUDGET,
    system_prompt: str | None = None,
) -> Prompt:
    """The prompt of a turn: its question, and the newest messages before it that fit into the budget.

    Each answer follows its question, whenever it was written; answers that failed, have no text, or whose question is
    not among the messages are left out. If several users wrote the messages, each begins with its author's id. The
    system prompt is never cut, and the question only if it alone exceeds the budget.

    Args:
        turn: The claimed turn.
        messages: The last versions of the chat's messages, in any order.
        token_budget: The budget if the chat has none.
        system_prompt: The instructions if the chat has none.
    """
    budget = turn.ai.token_budget or token_budget
    system = turn.ai.system_prompt or system_prompt
    candidates = [_with_files(message) for message in _earlier(turn, messages)]
    question, *named = _with_authors([_with_files(turn.message), *candidates])
    question = replace(question, content=_cut(question.content, budget))
    left = budget - _cost(question.content) - (_cost(system) if system else 0)
    history: list[StoredMessage] = []
    for message in reversed(named):
        left -= _cost(message.content)
        if left < 0:
            break
        history.insert(0, message)
    while history and history[0].role == "AI" and history[0].turn is not None:
        del history[0]
    return Prompt(
        message=question, history=tuple(history), system=system, model=turn.ai.model, turn_id=turn.claim.turn_id
    )


def _earlier(turn: Turn, messages: Sequence[StoredMessage]) -> list[StoredMessage]:
    """The messages before a turn's question and their answers, in the order of the conversation."""
    # Without the answers to deleted messages, too: answers quote.
    messages = [message for message in messages if not message.deleted]
    places = {message.id: message.place or message.seq for message in messages}
    limit = turn.message.place or turn.message.seq

    def ordered() -> Iterator[tuple[tuple[int, int], StoredMessage]]:
        for message in messages:
            if message.turn is None or message.role == "USER":
                yield (places[message.id], 0), message
            elif message.turn.question_id in places and message.turn.status in _ANSWERED and message.content.strip():
                yield (places[message.turn.question_id], 1), message

    # The question's own place has its earlier versions and answers.
    return [message for key, message in sorted(ordered(), key=lambda pair: pair[0]) if key < (limit, 0)]


def _with_files(message: StoredMessage) -> StoredMessage:
    """The message with a line for each of its files."""
    lines = [f"[file: {one.name}, {one.type}, {one.size} bytes]" for one in message.attachments]
    return replace(message, content="\n".join((message.content, *lines)).strip()) if lines else message


def _with_authors(messages: Sequence[StoredMessage]) -> list[StoredMessage]:
    """The messages, each with its author's id before the text if several users wrote them."""
    authors = {message.user_id for message in messages if message.role == "USER"}
    if len(authors) <= 1:
        return list(messages)
    return [
        replace(message, content=f"{local_id(message.user_id)}: {message.content}")
        if message.role == "USER" and message.user_id is not None
        else message
        for message in messages
    ]


def _cost(text: str) -> int:
    return estimate_tokens(text) + MESSAGE_TOKENS


def _cut(text: str, budget: int) -> str:
    """The start of a text that fits into the budget, with an ellipsis if it is cut."""
    if _cost(text) <= budget:
        return text
    quarters = accumulate(1 if character.isascii() else _ASCII_PER_TOKEN for character in text)
    # The ellipsis is one token.
    room = (budget - MESSAGE_TOKENS - 1) * _ASCII_PER_TOKEN
    return text[: sum(1 for used in quarters if used <= room)] + "…"
