"""The worker: claims AI turns, lets a responder answer them, and stores each answer exactly once.

The queue is a database table; `Worker.wake` only shortens the wait. Each claim of a turn raises its generation, and
every write to the turn checks the generation. A worker therefore writes nothing once another worker has claimed its
turn.

Layer: worker. Source: docs/design.md, "AI turns".
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

from roomcast.backoff import Backoff, should_log
from roomcast.chat.errors import StoreUnavailable, TurnLost
from roomcast.chat.model import Ending, Turn
from roomcast.chat.ports import Clock, Prompt, Responder, TurnStore
from roomcast.contract.events import TurnReason, TurnStatus
from roomcast.contract.text import MAX_CONTENT_CHARS, has_visible_character
from roomcast.worker.ports import TurnWriter

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class WorkerOptions:
    """Limits and times of the worker.

    Attributes:
        concurrency: Maximum number of turns answered at the same time.
        lease_s: Seconds after which the turn of a dead worker can be claimed again. Leases are renewed after
            each third of this time.
        turn_timeout_s: Maximum seconds that one answer may take.
        max_attempts: Maximum number of attempts to answer a turn, so that a message that crashes workers is not retried
            forever.
        history_messages: Maximum number of earlier messages that the responder receives.
        sweep_s: Longest wait between two queries of the queue, since other processes may queue turns.
        retry_s: Pause after the first database failure; doubled after each further failure, up to ``sweep_s``.
    """

    concurrency: int = 8
    lease_s: float = 15.0
    turn_timeout_s: float = 120.0
    max_attempts: int = 3
    history_messages: int = 50
    sweep_s: float = 15.0
    retry_s: float = 0.25


class PermanentFailure(Exception):
    """The turn cannot be answered, and a retry would not help; the text says why."""

    def __init__(self, message: str, reason: TurnReason) -> None:
        super().__init__(message)
        self.reason = reason


class Worker:
    """Answers AI turns until it is cancelled.

    Args:
        turns: The queue.
        answers: Stores the start and the end of turns.
        responders: The responders by name.
        clock: Wall-clock time, for leases.
        options: Limits and times.
    """

    def __init__(
        self,
        turns: TurnStore,
        answers: TurnWriter,
        responders: Mapping[str, Responder],
        clock: Clock,
        options: WorkerOptions | None = None,
    ) -> None:
        self._turns = turns
        self._answers = answers
        self._responders = responders
        self._clock = clock
        self._options = options or WorkerOptions()
        self._backoff = Backoff(self._options.retry_s, self._options.sweep_s)
        self._wake = asyncio.Event()

    def wake(self) -> None:
        """Query the queue now, because a turn was queued."""
        self._wake.set()

    async def run(self) -> None:
        """Claim and answer turns until cancelled. Turns in progress are then released for other workers."""
        slots = asyncio.Semaphore(self._options.concurrency)

        def on_done(_task: asyncio.Task[None]) -> None:
            slots.release()
            # The chat's next turn can be claimed only now.
            self._wake.set()

        async with asyncio.TaskGroup() as group:
            while True:
                await slots.acquire()
                self._wake.clear()
                turn, wait_s = await self._claim_or_wait_s()
                if turn is not None:
                    group.create_task(self._run_turn(turn)).add_done_callback(on_done)
                    continue
                slots.release()
                try:
                    async with asyncio.timeout(wait_s):
                        await self._wake.wait()
                except TimeoutError:
                    continue

    async def _claim_or_wait_s(self) -> tuple[Turn | None, float]:
        """Claim a turn, or return None and the seconds until the next query of the queue."""
        try:
            now = self._clock.now()
            turn = await self._turns.claim_turn(now, now + timedelta(seconds=self._options.lease_s))
            wait_s = await self._until_next_lease_end_s() if turn is None else 0.0
        except StoreUnavailable as error:
            wait_s = self._backoff.next_s()
            if should_log(self._backoff.failures):
                logger.warning("cannot claim AI turns, retrying in %.1f s: %s", wait_s, error)
            return None, wait_s
        self._backoff.reset()
        return turn, wait_s

    async def _until_next_lease_end_s(self) -> float:
        """Seconds until the next lease ends and its turn can be claimed again; at most ``sweep_s``."""
        lease_end = await self._turns.next_lease_end()
        if lease_end is None:
            return self._options.sweep_s
        left_s = (lease_end - self._clock.now()).total_seconds()
        return min(max(left_s + 0.001, 0.05), self._options.sweep_s)

    async def _run_turn(self, turn: Turn) -> None:
        """Answer one turn. Never raises, so that one turn cannot end the worker."""
        facts = {"turn_id": turn.claim.turn_id, "chat_id": turn.chat_id, "attempt": turn.attempt}
        try:
            turn = await self._answers.start(turn)
            ending = Ending(TurnStatus.COMPLETE, content=await self._generate(turn))
            await self._answers.end(turn, ending)
        except asyncio.CancelledError:
            await self._release(turn)
            raise
        except TurnLost:
            logger.info("an AI turn was taken over by another worker", extra=facts)
        except StoreUnavailable as error:
            # The turn is claimed again when its lease ends.
            logger.warning("cannot store an answer: %s", error, extra=facts)
        except Exception as error:
            logger.warning("an AI turn failed", exc_info=error, extra=facts)
            await self._fail(turn, error)

    async def _generate(self, turn: Turn) -> str:
        """Generate the responder's answer while renewing the lease.

        Raises:
            PermanentFailure: too many attempts, no such responder, or an empty answer.
            TurnLost: the turn was claimed again.
            StoreUnavailable: the history could not be read.
            TimeoutError: the answer took longer than ``turn_timeout_s``.
        """
        if turn.attempt > self._options.max_attempts:
            message = f"no answer after {self._options.max_attempts} attempts"
            raise PermanentFailure(message, TurnReason.TOO_MANY_ATTEMPTS)
        responder = self._responders.get(turn.responder)
        if responder is None:
            message = f"this worker has no responder {turn.responder!r}"
            raise PermanentFailure(message, TurnReason.NO_RESPONDER)
        before = turn.message.place - 1
        history = await self._turns.context(turn.chat_id, before, self._options.history_messages)
        answer = asyncio.create_task(
            _collect(responder, Prompt(message=turn.message, history=tuple(history), turn_id=turn.claim.turn_id))
        )
        renewal = asyncio.create_task(self._keep_lease(turn))
        try:
            async with asyncio.timeout(self._options.turn_timeout_s):
                await asyncio.wait({answer, renewal}, return_when=asyncio.FIRST_COMPLETED)
                if renewal.done():
                    renewal.result()
                return to_content(await answer)
        finally:
            answer.cancel()
            renewal.cancel()

    async def _keep_lease(self, turn: Turn) -> None:
        """Renew the lease until cancelled.

        Raises:
            TurnLost: the turn was claimed again.
        """
        while True:
            await asyncio.sleep(self._options.lease_s / 3)
            lease_until = self._clock.now() + timedelta(seconds=self._options.lease_s)
            try:
                renewal = await self._turns.renew([turn.claim], lease_until)
                if renewal.lost:
                    raise TurnLost(turn.claim.turn_id, turn.claim.generation)
            except StoreUnavailable as error:
                logger.warning("cannot renew an AI turn's lease: %s", error, extra={"turn_id": turn.claim.turn_id})

    async def _release(self, turn: Turn) -> None:
        """End the lease, so that another worker can claim the turn at once."""
        try:
            await asyncio.shield(self._turns.release_turn(turn.claim))
        except (TurnLost, StoreUnavailable) as error:
            logger.info("cannot release an AI turn: %s", error, extra={"turn_id": turn.claim.turn_id})

    async def _fail(self, turn: Turn, error: Exception) -> None:
        reason = TurnReason.RESPONDER_ERROR
        if isinstance(error, PermanentFailure):
            reason = error.reason
        elif isinstance(error, TimeoutError):
            reason = TurnReason.TIMEOUT
        try:
            await self._answers.end(turn, Ending(TurnStatus.FAILED, reason))
        except (TurnLost, StoreUnavailable) as failure:
            logger.warning("cannot end a failed AI turn: %s", failure, extra={"turn_id": turn.claim.turn_id})


async def _collect(responder: Responder, prompt: Prompt) -> str:
    pieces: list[str] = []
    length = 0
    async for piece in responder.respond(prompt):
        if not isinstance(piece, str):
            continue
        pieces.append(piece)
        length += len(piece)
        if length >= MAX_CONTENT_CHARS:
            logger.warning("an answer was truncated to %d characters", MAX_CONTENT_CHARS)
            break
    return "".join(pieces)


def to_content(text: str) -> str:
    """An answer as the content of a message: no U+0000, no lone surrogates, at most `MAX_CONTENT_CHARS` characters.

    Raises:
        PermanentFailure: the text has no visible character.
    """
    text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace").replace("\0", "")
    text = text[:MAX_CONTENT_CHARS]
    if not has_visible_character(text):
        raise PermanentFailure("the responder returned no text", TurnReason.NO_TEXT)
    return text
