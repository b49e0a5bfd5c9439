"""Asks the moderation hook, within limits of time and concurrency, and decides while the hook is away.

After `MAX_FAILURES` failures in a row the hook is not asked for `PAUSE_S`, so that an absent hook does not delay each
message by the deadline. Then one message asks again; its verdict ends the pause, its failure begins the next.

Layer: chat.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from pydantic import TypeAdapter, ValidationError

from roomcast.chat.errors import MessageRefused, ModerationUnavailable
from roomcast.chat.ports import Moderator
from roomcast.contract.moderation import Review
from roomcast.contract.tenants import tenant_of
from roomcast.contract.text import NewTitle
from roomcast.histogram import Histogram

logger = logging.getLogger(__name__)

MAX_FAILURES: Final = 5
PAUSE_S: Final = 10.0
#: The outcomes that `Moderation.outcomes` counts.
OUTCOMES: Final = ("pass", "mask", "refuse", "failed", "paused", "busy")

_TITLE: Final = TypeAdapter(NewTitle)
_DATA: Final[TypeAdapter[dict[str, Any]]] = TypeAdapter(dict[str, Any])

WhenAway = Literal["pass", "refuse"]
#: Answers of an AI are reviewed at their end and shown while they grow, or after the review; or they are not reviewed.
AnswerReviews = Literal["streamed", "withheld", "off"]


@dataclass(frozen=True, slots=True)
class ModerationLimits:
    """How the hook is asked.

    Attributes:
        when_away: What happens to a text without a verdict: it is stored unchanged, or the write fails and may be
            repeated.
        deadline_s: Time limit for a verdict.
        concurrent: Reviews at the same time. Further ones wait as long for a place; without one the write fails and may
            be repeated, also if texts without a verdict are stored: a flood must not turn reviews off.
        answers: When answers of an AI are reviewed.
    """

    when_away: WhenAway = "refuse"
    deadline_s: float = 2.0
    concurrent: int = 64
    answers: AnswerReviews = "streamed"


class Moderation:
    """Reviews texts.

    Args:
        moderator: The hook.
        limits: Limits, and what happens while the hook is away.
        clock: Monotonic time in seconds.

    Attributes:
        outcomes: Reviews by outcome.
        durations: Times until a verdict.
        answers: When answers of an AI are reviewed.
    """

    def __init__(
        self,
        moderator: Moderator,
        limits: ModerationLimits | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.outcomes: Counter[str] = Counter()
        self.durations = Histogram()
        self._moderator = moderator
        self._limits = limits or ModerationLimits()
        self.answers = self._limits.answers
        self._clock = clock
        self._places = asyncio.Semaphore(self._limits.concurrent)
        self._failures = 0
        self._paused_until = 0.0

    async def review(self, review: Review) -> str:
        """The text to store.

        Raises:
            MessageRefused: the hook refuses the text.
            ModerationUnavailable: there is no verdict, and texts without one are refused.
        """
        masked = await self._ask(review)
        return review.content if masked is None else masked

    async def review_answer(self, chat_id: str, content: str, parts: Sequence[Mapping[str, Any]]) -> str | None:
        """The text that replaces an answer with all its parts; None: it is stored unchanged. Errors as for `review`.

        Args:
            chat_id: The chat.
            content: The text of the answer.
            parts: Its other parts.
        """
        review = _review("answer", chat_id, None, content)
        return await self._ask(review.model_copy(update={"role": "AI", "parts": tuple(map(dict, parts))}))

    async def _ask(self, review: Review) -> str | None:
        """The text that replaces the reviewed one; None: it is stored unchanged. Errors as for `review`."""
        began = self._clock()
        if self._failures >= MAX_FAILURES:
            if began < self._paused_until:
                self._without_verdict("paused")
                return None
            # Of the messages that arrive from now on, only this one asks.
            self._paused_until = began + PAUSE_S
        try:
            async with asyncio.timeout(self._limits.deadline_s):
                await self._places.acquire()
        except TimeoutError:
            # No failure of the hook.
            self.outcomes["busy"] += 1
            raise ModerationUnavailable from None
        try:
            async with asyncio.timeout(self._limits.deadline_s):
                verdict = await self._moderator.review(review)
        except Exception as error:  # noqa: BLE001 - the hook is code of others: any failure means that it is away
            self._failures += 1
            self._paused_until = self._clock() + PAUSE_S
            said = f"no verdict within {self._limits.deadline_s:g} s" if isinstance(error, TimeoutError) else str(error)
            logger.warning("moderation failed", extra={"error": said or repr(error), "failures": self._failures})
            self._without_verdict("failed")
            return None
        finally:
            self._places.release()
        self._failures = 0
        self.durations.observe(self._clock() - began)
        self.outcomes[verdict.action] += 1
        if verdict.action == "refuse":
            logger.info("message refused by moderation", extra={"kind": review.kind})
            raise MessageRefused(verdict.reason)
        return verdict.content

    async def review_title(self, chat_id: str, user_id: str | None, title: str) -> str:
        """The title to store; errors as for `review`."""
        content = await self.review(_review("title", chat_id, user_id, title))
        try:
            return _TITLE.validate_python(content)
        except ValidationError:
            raise MessageRefused("what replaces the title is none") from None

    async def review_data(self, chat_id: str, data: Mapping[str, Any]) -> Mapping[str, Any]:
        """The data of an event of an application to store; errors as for `review`."""
        content = json.dumps(data, ensure_ascii=False)
        reviewed = await self.review(_review("event", chat_id, None, content))
        if reviewed == content:
            return data
        try:
            return _DATA.validate_json(reviewed)
        except ValidationError:
            raise MessageRefused("what replaces the data is no JSON object") from None

    def _without_verdict(self, outcome: str) -> None:
        self.outcomes[outcome] += 1
        if self._limits.when_away == "refuse":
            raise ModerationUnavailable


def _review(kind: Literal["title", "event", "answer"], chat_id: str, user_id: str | None, content: str) -> Review:
    tenant = tenant_of(chat_id) or None
    return Review(kind=kind, chat_id=chat_id, user_id=user_id, role="USER", content=content, tenant=tenant)
