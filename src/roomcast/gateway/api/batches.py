"""Questions about joins, put to the API several at a time: a storm of reconnects is a few requests, not thousands.

Nobody waits for others to ask: a question goes out at once while a request is free, and those that come while all are
under way share the next one.

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

import httpx
from pydantic import ValidationError

from roomcast.contract.rest import MAX_ASKS, AdmissionAnswers, AdmissionDecision
from roomcast.gateway.api.client import ApiClient
from roomcast.gateway.ports import ApiUnavailable

logger = logging.getLogger(__name__)

_Asked = tuple[dict[str, Any], asyncio.Future[AdmissionDecision]]


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchOptions:
    """Bounds of the questions.

    Attributes:
        at_once: Requests under way.
        per_request: Questions of one request, at most ``MAX_ASKS``.
        max_waiting: Questions that wait for a request.
        wait_s: How long one may take in all: what a joining client waits before it is told ``unavailable``.
    """

    at_once: int = 4
    per_request: int = MAX_ASKS
    max_waiting: int = 20_000
    wait_s: float = 5.0


class AdmissionBatches:
    """Asks the API.

    Args:
        api: The way there.
        options: Bounds.
    """

    def __init__(self, api: ApiClient, options: BatchOptions | None = None) -> None:
        self._api = api
        self._options = options or BatchOptions()
        self._waiting: deque[_Asked] = deque()
        self._tasks: set[asyncio.Task[None]] = set()

    async def ask(self, question: dict[str, Any]) -> AdmissionDecision:
        """The API's word on one join.

        Args:
            question: A `contract.rest.AdmissionRequest`, as JSON.

        Raises:
            ApiUnavailable: there is none, in time.
        """
        if len(self._waiting) >= self._options.max_waiting:
            raise ApiUnavailable("too many joins wait for the API")
        verdict: asyncio.Future[AdmissionDecision] = asyncio.get_running_loop().create_future()
        self._waiting.append((question, verdict))
        if len(self._tasks) < self._options.at_once:
            task = asyncio.create_task(self._work(), name="admissions")
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        try:
            async with asyncio.timeout(self._options.wait_s):
                return await verdict
        except TimeoutError:
            raise ApiUnavailable(f"the API did not answer within {self._options.wait_s} s") from None

    async def close(self) -> None:
        """End what is under way; who still waits is told that there is no answer."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        _fail(self._waiting, "the gateway ends")
        self._waiting.clear()

    async def _work(self) -> None:
        while self._waiting:
            count = min(len(self._waiting), self._options.per_request)
            taken = [self._waiting.popleft() for _ in range(count)]
            # Who was answered by their own time limit, or is gone, asks nothing any more.
            asked = [(question, verdict) for question, verdict in taken if not verdict.done()]
            if not asked:
                continue
            try:
                verdicts = await self._request([question for question, _ in asked])
            except asyncio.CancelledError:
                _fail(asked, "the gateway ends")
                raise
            except ApiUnavailable as error:
                _fail(asked, str(error))
                continue
            except Exception:
                # A bug here must leave nobody waiting, neither these nor those behind them.
                logger.exception("asking the API about joins failed")
                _fail(asked, "the API could not be asked")
                continue
            for (_, verdict), answer in zip(asked, verdicts, strict=True):
                if not verdict.done():
                    verdict.set_result(answer)

    async def _request(self, questions: Sequence[dict[str, Any]]) -> Sequence[AdmissionDecision]:
        answer = await self._api.post("/api/internal/admissions", {"asks": questions})
        if answer.status_code != HTTPStatus.OK:
            raise ApiUnavailable(f"the API answered {answer.status_code} to admissions")
        return _read(answer, len(questions))


def _fail(asked: Iterable[_Asked], why: str) -> None:
    for _, verdict in asked:
        if not verdict.done():
            verdict.set_exception(ApiUnavailable(why))


def _read(answer: httpx.Response, count: int) -> Sequence[AdmissionDecision]:
    try:
        verdicts = AdmissionAnswers.model_validate_json(answer.content).answers
    except ValidationError as error:
        raise ApiUnavailable(f"the API's answer to admissions cannot be read: {error.error_count()} errors") from None
    if len(verdicts) != count:
        raise ApiUnavailable(f"the API gave {len(verdicts)} answers to {count} admissions")
    return verdicts
