"""The worker: claims AI turns, has them answered, and writes each answer exactly once.

The database row is the queue; `wake` only saves waiting. A claim raises the turn's generation and everything that ends
the turn checks it, so a worker that slept through its lease writes nothing.

Layer: worker. Source: DESIGN §4.6.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

from roomcast.backoff import Backoff
from roomcast.chat.errors import StoreUnavailable, TurnLost
from roomcast.chat.model import Turn
from roomcast.chat.ports import Clock, Prompt, Responder, TurnStore
from roomcast.contract.text import MAX_CONTENT_CHARS
from roomcast.worker.ports import AnswerWriter

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class WorkerOptions:
    """How turns are worked off.

    Attributes:
        concurrency: Turns answered at the same time.
        lease_s: Seconds after which a silent worker's turn is claimed again. Renewed at a third of it.
        turn_timeout_s: Seconds that one answer may take.
        max_attempts: Claims of one turn before it ends as failed: a message that kills workers must not kill them all.
        history_messages: Messages before the question that a responder is shown.
        sweep_s: Longest wait without a wake-up: another process may have written a turn.
        retry_s: Wait after the database failed; doubled at each failure in a row, up to ``sweep_s``.
    """

    concurrency: int = 8
    lease_s: float = 15.0
    turn_timeout_s: float = 120.0
    max_attempts: int = 3
    history_messages: int = 50
    sweep_s: float = 15.0
    retry_s: float = 0.25


class Worker:
    """Runs until it is cancelled.

    Args:
        turns: The queue.
        answers: Stores finished answers.
        responders: By the name that chats call them.
        clock: Wall-clock time, for leases.
        options: Bounds and times.
    """

    def __init__(
        self,
        turns: TurnStore,
        answers: AnswerWriter,
        responders: Mapping[str, Responder],
        clock: Clock,
        options: WorkerOptions | None = None,
    ) -> None:
        self._turns = turns
        self._answers = answers
        self._responders = responders
        self._clock = clock
        self._options = options or WorkerOptions()
        self._wake = asyncio.Event()

    def wake(self) -> None:
        """Look at the queue now: a turn was written."""
        self._wake.set()

    async def run(self) -> None:
        """Claim and answer turns until cancelled; turns in work are then handed back at once."""
        slots = asyncio.Semaphore(self._options.concurrency)
        backoff = Backoff(self._options.retry_s, self._options.sweep_s)
        async with asyncio.TaskGroup() as group:
            while True:
                await slots.acquire()
                self._wake.clear()
                try:
                    turn = await self._claim()
                    wait_s = await self._idle_s() if turn is None else 0.0
                except StoreUnavailable as error:
                    turn = None
                    wait_s = backoff.next_s()
                    logger.warning("cannot look for AI turns, trying again in %.1f s: %s", wait_s, error)
                else:
                    backoff.reset()
                if turn is not None:
                    task = group.create_task(self._work(turn))
                    task.add_done_callback(lambda _task: self._end_of_turn(slots))
                    continue
                slots.release()
                try:
                    async with asyncio.timeout(wait_s):
                        await self._wake.wait()
                except TimeoutError:
                    continue

    def _end_of_turn(self, slots: asyncio.Semaphore) -> None:
        slots.release()
        # The chat's next turn had to wait for this one.
        self._wake.set()

    async def _claim(self) -> Turn | None:
        now = self._clock.now()
        return await self._turns.claim_turn(now, now + timedelta(seconds=self._options.lease_s))

    async def _idle_s(self) -> float:
        """How long nothing can be claimed unless `wake` is called."""
        lease_end = await self._turns.next_lease_end()
        if lease_end is None:
            return self._options.sweep_s
        left_s = (lease_end - self._clock.now()).total_seconds()
        return min(max(left_s + 0.001, 0.05), self._options.sweep_s)

    async def _work(self, turn: Turn) -> None:
        """Answer one turn. Never raises: one bad turn must not end the worker."""
        facts = {"turn_id": turn.claim.turn_id, "chat_id": turn.chat_id, "attempt": turn.attempt}
        try:
            if turn.attempt > self._options.max_attempts:
                raise PermanentFailure(f"given up after {self._options.max_attempts} attempts")  # noqa: TRY301 - one way to end
            content = await self._answer(turn)
            await self._answers.answer(turn, content)
        except asyncio.CancelledError:
            await self._hand_back(turn)
            raise
        except TurnLost:
            logger.info("an AI turn was taken over by another worker", extra=facts)
        except StoreUnavailable as error:
            # The lease ends by itself and the turn is claimed again.
            logger.warning("cannot store an answer now: %s", error, extra=facts)
        except Exception as error:
            logger.warning("an AI turn failed", exc_info=error, extra=facts)
            await self._fail(turn, str(error) or type(error).__name__)

    async def _answer(self, turn: Turn) -> str:
        """The whole text.

        Raises:
            PermanentFailure: there is no such responder, or it said nothing.
            TurnLost: the lease could not be renewed.
            TimeoutError: it took too long.
        """
        responder = self._responders.get(turn.responder)
        if responder is None:
            raise PermanentFailure(f"there is no responder {turn.responder!r} here")
        before = turn.message.seq - 1
        history = await self._turns.recent_messages(turn.chat_id, before, self._options.history_messages)
        prompt = Prompt(turn.message, tuple(history))
        renewal = asyncio.create_task(self._keep_lease(turn))
        try:
            async with asyncio.timeout(self._options.turn_timeout_s):
                pieces = asyncio.create_task(_collect(responder, prompt))
                try:
                    await asyncio.wait({pieces, renewal}, return_when=asyncio.FIRST_COMPLETED)
                    if renewal.done():
                        renewal.result()
                    return clean(await pieces)
                finally:
                    pieces.cancel()
        finally:
            renewal.cancel()

    async def _keep_lease(self, turn: Turn) -> None:
        """Renew the lease until cancelled; ends with TurnLost if it is gone."""
        while True:
            await asyncio.sleep(self._options.lease_s / 3)
            lease_until = self._clock.now() + timedelta(seconds=self._options.lease_s)
            try:
                await self._turns.extend_lease(turn.claim, lease_until)
            except StoreUnavailable as error:
                logger.warning("cannot renew an AI turn's lease now: %s", error, extra={"turn_id": turn.claim.turn_id})

    async def _hand_back(self, turn: Turn) -> None:
        """Let the next worker claim it at once."""
        try:
            await asyncio.shield(self._turns.extend_lease(turn.claim, self._clock.now()))
        except (TurnLost, StoreUnavailable) as error:
            logger.info("a turn in work was left to its lease: %s", error)

    async def _fail(self, turn: Turn, reason: str) -> None:
        try:
            await self._turns.fail_turn(turn.claim, reason[:500])
        except (TurnLost, StoreUnavailable) as error:
            logger.warning("cannot end a failed AI turn now: %s", error, extra={"turn_id": turn.claim.turn_id})


class PermanentFailure(Exception):
    """Trying this turn again would not help; the text says why."""


async def _collect(responder: Responder, prompt: Prompt) -> str:
    pieces: list[str] = []
    length = 0
    async for piece in responder.respond(prompt):
        pieces.append(piece)
        length += len(piece)
        if length >= MAX_CONTENT_CHARS:
            logger.warning("an answer was cut at %d characters", MAX_CONTENT_CHARS)
            break
    return "".join(pieces)


def clean(text: str) -> str:
    """The text as a message may be: no U+0000, no lone surrogates, at most the longest content.

    Raises:
        PermanentFailure: nothing is left.
    """
    text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace").replace("\0", "")
    text = text[:MAX_CONTENT_CHARS]
    if not text.strip():
        raise PermanentFailure("the responder said nothing")
    return text
