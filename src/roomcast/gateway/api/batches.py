"""Batches questions for admissions, so that thousands of reconnects at once cost the API only a few requests.

A question does not wait for a batch to fill: it is sent at once if no request is in progress. Later questions wait
until the request ends, and share the next one, since a request costs the gateway as much as several joins. If it takes
longer than ``patience_s``, or the questions fill a request, they are sent beside it. A request with several questions
shows that many clients join: it is followed by a pause, which grows with their number.

Layer: gateway.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from pydantic import ValidationError

from roomcast.contract.internal import MAX_ASKS, AdmissionAnswers, AdmissionDecision
from roomcast.gateway.api.client import ApiClient
from roomcast.gateway.ports import ApiUnavailable

logger = logging.getLogger(__name__)

_Question = tuple[dict[str, Any], asyncio.Future[AdmissionDecision]]


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchOptions:
    """Limits of the batches.

    Attributes:
        max_requests: Maximum number of concurrent requests.
        patience_s: How long questions wait for a request in progress before another one is started.
        pause_s: For each question of a request with several, how long the next questions are collected after it. So the
            requests fill while more clients join than one in this time, and hardly wait otherwise.
        max_questions: Maximum number of questions in one request, at most ``MAX_ASKS``.
        max_waiting: Maximum number of questions that wait for a request.
        timeout_s: Time limit of one question, from `AdmissionBatches.ask` to its answer.
    """

    max_requests: int = 4
    patience_s: float = 0.05
    pause_s: float = 0.002
    max_questions: int = MAX_ASKS
    max_waiting: int = 20_000
    timeout_s: float = 5.0


class AdmissionBatches:
    """Asks the API for admissions.

    Args:
        api: The HTTP client.
        options: Limits of the batches.
    """

    def __init__(self, api: ApiClient, options: BatchOptions | None = None) -> None:
        self._api = api
        self._options = options or BatchOptions()
        self._waiting: deque[_Question] = deque()
        self._senders: set[asyncio.Task[None]] = set()
        # Starts the next request.
        self._timer: asyncio.TimerHandle | None = None

    async def ask(self, question: dict[str, Any]) -> AdmissionDecision:
        """Request the API's decision on one join.

        Args:
            question: A `contract.internal.AdmissionRequest`, as JSON.

        Raises:
            ApiUnavailable: the API did not answer in time, or too many questions wait.
        """
        if len(self._waiting) >= self._options.max_waiting:
            raise ApiUnavailable("too many joins wait for the API")
        loop = asyncio.get_running_loop()
        decision: asyncio.Future[AdmissionDecision] = loop.create_future()
        self._waiting.append((question, decision))
        if len(self._waiting) >= self._options.max_questions or not (self._senders or self._timer):
            self._start_sender()
        elif self._timer is None:
            self._timer = loop.call_later(self._options.patience_s, self._start_sender)
        try:
            async with asyncio.timeout(self._options.timeout_s):
                return await decision
        except TimeoutError:
            raise ApiUnavailable(f"the API did not answer within {self._options.timeout_s} s") from None

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _start_sender(self) -> None:
        self._stop_timer()
        if self._waiting and len(self._senders) < self._options.max_requests:
            sender = asyncio.create_task(self._send_waiting(), name="admissions")
            self._senders.add(sender)
            sender.add_done_callback(self._senders.discard)

    async def close(self) -> None:
        """Cancel the requests in progress; every waiting question fails with `ApiUnavailable`."""
        for sender in list(self._senders):
            sender.cancel()
        await asyncio.gather(*self._senders, return_exceptions=True)
        _fail(self._waiting, "the gateway is shutting down")
        self._waiting.clear()
        self._stop_timer()

    async def _send_waiting(self) -> None:
        """Send one request after the other until no question waits or a pause begins."""
        try:
            while self._waiting:
                self._stop_timer()
                count = min(len(self._waiting), self._options.max_questions)
                batch = [self._waiting.popleft() for _ in range(count)]
                # Skip questions whose callers have timed out or were cancelled.
                batch = [(question, decision) for question, decision in batch if not decision.done()]
                if batch:
                    await self._send(batch)
                if len(batch) > 1 and len(self._waiting) < self._options.max_questions:
                    self._stop_timer()
                    pause_s = self._options.pause_s * len(batch)
                    self._timer = asyncio.get_running_loop().call_later(pause_s, self._start_sender)
                    return
        finally:
            # The task's own callback runs after its callers, which may ask the next question at once.
            self._senders -= {asyncio.current_task()}

    async def _send(self, batch: Sequence[_Question]) -> None:
        try:
            answers = await self._request([question for question, _ in batch])
        except asyncio.CancelledError:
            _fail(batch, "the gateway is shutting down")
            raise
        except ApiUnavailable as error:
            _fail(batch, str(error))
        except Exception:
            # A bug here must not leave this batch, or the questions after it, without an answer.
            logger.exception("requesting admissions from the API failed")
            _fail(batch, "the request to the API failed")
        else:
            for (_, decision), answer in zip(batch, answers, strict=True):
                if not decision.done():
                    decision.set_result(answer)

    async def _request(self, questions: Sequence[dict[str, Any]]) -> Sequence[AdmissionDecision]:
        status, answer = await self._api.post("/api/internal/admissions", {"asks": questions})
        if status != HTTPStatus.OK:
            raise ApiUnavailable(f"the API answered {status} to admissions")
        return _parse(answer, len(questions))


def _fail(batch: Iterable[_Question], reason: str) -> None:
    for _, decision in batch:
        if not decision.done():
            decision.set_exception(ApiUnavailable(reason))


def _parse(answer: bytes, count: int) -> Sequence[AdmissionDecision]:
    try:
        answers = AdmissionAnswers.model_validate_json(answer).answers
    except ValidationError as error:
        raise ApiUnavailable(f"the API's answer to admissions is invalid: {error.error_count()} errors") from None
    if len(answers) != count:
        raise ApiUnavailable(f"the API gave {len(answers)} answers to {count} admissions")
    return answers
