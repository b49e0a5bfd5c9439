"""Answers one claimed turn: from its start, or from what a dead worker left, to its end.

A responder is called again only while it has yielded nothing. What interrupts an answer (a stop, a time limit, a
shutdown, a lost lease) cancels the call of the responder, which ends its request to the provider; the text so far is
kept.

Layer: worker. Source: docs/decisions/0010-ai-turns.md.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any, Final, TypeVar

from roomcast.backoff import Backoff, should_log
from roomcast.chat.answers.answer import Answer, fold
from roomcast.chat.answers.chunks import ChunkRejected, decode_chunks, ending_chunk
from roomcast.chat.answers.context import build_prompt
from roomcast.chat.errors import MessageRefused, ModerationUnavailable, StoreUnavailable, TurnLost
from roomcast.chat.files.prompts import PromptFiles
from roomcast.chat.model import Checkpoint, Ending, StoredMessage, Turn
from roomcast.chat.ports import (
    AnswerItem,
    Attributes,
    Chunk,
    CutOff,
    EventLog,
    LogEntry,
    LogUnavailable,
    Prompt,
    Reference,
    Responder,
    ResponderFailure,
    ResumableResponder,
    Span,
    Subscription,
    Tracer,
    TurnFrame,
    TurnStore,
    TurnStreams,
    Usage,
    decode_stop,
)
from roomcast.chat.use_cases.moderation import Moderation
from roomcast.chat.use_cases.turns import Turns
from roomcast.contract.events import TurnReason, TurnStatus
from roomcast.contract.text import has_visible_character
from roomcast.worker.counters import WorkerCounters
from roomcast.worker.options import WorkerOptions
from roomcast.worker.publishing import ChunkPublisher

logger = logging.getLogger(__name__)

_T = TypeVar("_T")

#: A responder that never waits must not hold up the other turns.
_ITEMS_PER_LOOP_TURN: Final = 32
#: Seconds that a cancelled responder may take to end its request.
_CLEANUP_S: Final = 5.0
_MAX_STORE_PAUSE_S: Final = 2.0
#: The provider may go on after these ends.
_CUT_SHORT: Final = frozenset({TurnReason.BY_USER, TurnReason.TIMEOUT, TurnReason.TOO_LONG, TurnReason.SHUTDOWN})
#: Reasons that only an answer without a text has.
_FAILED_ONLY: Final = frozenset(
    {TurnReason.PROVIDER_UNREACHABLE, TurnReason.PROVIDER_REFUSED, TurnReason.RATE_LIMITED, TurnReason.NO_TEXT}
)
#: The largest integer of a column.
_MAX_TOKENS: Final = 2**31 - 1


class Interruption(Enum):
    """Why a call of a responder is cancelled."""

    STOP = auto()
    TIMEOUT = auto()
    SHUTDOWN = auto()
    LOST = auto()


@dataclass(frozen=True, slots=True)
class Verdict:
    """How the turn ends."""

    status: TurnStatus
    reason: TurnReason | None = None


_STOPPED: Final = Verdict(TurnStatus.STOPPED, TurnReason.BY_USER)


@dataclass(frozen=True, slots=True)
class TurnServices:
    """What a worker uses.

    Attributes:
        store: The queue.
        turns: The use cases that write turns.
        streams: The live streams of the answers.
        log: Carries the signals that stop turns.
        responders: The responders by name.
        tracer: Records the turns of traced requests; None: tracing is off.
        files: Adds files to prompts; None: the server stores none.
        moderation: Reviews answers before they are stored as final; None: they are not reviewed.
    """

    store: TurnStore
    turns: Turns
    streams: TurnStreams
    log: EventLog
    responders: Mapping[str, Responder]
    tracer: Tracer | None = None
    files: PromptFiles | None = None
    moderation: Moderation | None = None


class TurnRun:
    """The work on one claimed turn.

    Args:
        turn: The claimed turn.
        services: What it uses.
        options: Limits and times.
        counters: What the worker counts.
        lease_until: Loop time at which the lease of the claim ends.

    Attributes:
        turn: The claimed turn.
        lease_until: See above; the heartbeat sets it.
    """

    def __init__(
        self,
        turn: Turn,
        services: TurnServices,
        options: WorkerOptions,
        counters: WorkerCounters,
        *,
        lease_until: float,
    ) -> None:
        loop = asyncio.get_running_loop()
        self.turn = turn
        self.lease_until = lease_until
        self._services = services
        self._options = options
        self._counters = counters
        self._loop = loop
        self._responder = services.responders.get(turn.responder)
        self._answer = Answer()
        # Nothing is published or saved before the review at the end.
        self._withheld = services.moderation is not None and services.moderation.answers == "withheld"
        self._publisher = self._new_publisher()
        self._usage: Usage | None = None
        # The latest position at the provider, also if the answer is beyond it.
        self._ref: str | None = None
        self._interrupted: asyncio.Future[Interruption] = loop.create_future()
        self._closed = False
        self._subscription: Subscription | None = None
        self._ends_at = loop.time() + options.turn_s
        # Loop time at which the next item is late; None while no item is awaited.
        self._item_due: float | None = None
        self._items = 0
        self._saved_items = 0
        self._saved_at = loop.time()
        self._saving: asyncio.Task[None] | None = None
        self._facts = {"turn_id": turn.claim.turn_id, "chat_id": turn.chat_id, "generation": turn.claim.generation}

    def interrupt(self, cause: Interruption) -> None:
        """Cancel the call of the responder, and end or leave the turn."""
        if cause is Interruption.LOST:
            self._publisher.abandon()
        if not self._interrupted.done():
            self._interrupted.set_result(cause)

    def tick(self, now: float) -> None:
        """Check the time limits, and save the partial answer if it is due. Called at each heartbeat."""
        if self._closed:
            return
        if now >= self._ends_at or (self._item_due is not None and now >= self._item_due):
            self.interrupt(Interruption.TIMEOUT)
        elif (
            self._publisher.started
            and not self._withheld
            and self._items != self._saved_items
            and now - self._saved_at >= self._options.checkpoint_s
            and (self._saving is None or self._saving.done())
        ):
            self._saving = asyncio.create_task(self._save_soon())

    async def run(self) -> None:
        """Answer the turn. Never raises, so that one turn cannot end the worker."""
        tracer, turn = self._services.tracer, self.turn
        if tracer is None or turn.trace is None:
            await self._run()
            return
        facts: Attributes = {
            "roomcast.chat.id": turn.chat_id,
            "roomcast.turn.id": turn.claim.turn_id,
            "roomcast.turn.attempt": turn.attempt,
        }
        with tracer.span("answer turn", "consumer", facts, parent=turn.trace) as span:
            await self._run(span)

    async def _run(self, span: Span | None = None) -> None:
        work = asyncio.create_task(self._respond(), name="respond")
        listening = asyncio.create_task(self._listen(), name="listen for a stop")
        try:
            either: set[asyncio.Future[Any]] = {work, self._interrupted}
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            self._closed = True
            verdict = self._verdict(work)
            if self._saving is not None:
                self._saving.cancel()
            if span is not None:
                self._describe(span, verdict)
            if verdict is None:
                await self._hand_over()
            else:
                await self._end(verdict)
                if verdict.reason in _CUT_SHORT:
                    await self._cancel_at_provider()
        except TurnLost:
            logger.info("an AI turn was taken over, or has ended", extra=self._facts)
        except StoreUnavailable as error:
            logger.warning("cannot store the end of an AI turn; it is claimed again: %s", error, extra=self._facts)
        except Exception:
            logger.exception("an AI turn failed", extra=self._facts)
        finally:
            self._publisher.abandon()
            await self._clean_up(work, listening)

    def _describe(self, span: Span, verdict: Verdict | None) -> None:
        """Add the outcome to the span of the turn."""
        span.set({"roomcast.turn.status": "handed-over" if verdict is None else verdict.status.value})
        if self._usage is not None:
            span.set(
                {
                    "gen_ai.usage.input_tokens": self._usage.input_tokens,
                    "gen_ai.usage.output_tokens": self._usage.output_tokens,
                }
            )
        if verdict is not None and verdict.status in {TurnStatus.FAILED, TurnStatus.INCOMPLETE}:
            span.fail("incomplete" if verdict.reason is None else verdict.reason.value)

    def _verdict(self, work: asyncio.Task[Verdict]) -> Verdict | None:
        """How the turn ends; None: another worker goes on."""
        if work.done():
            return work.result()
        work.cancel()
        match self._interrupted.result():
            case Interruption.STOP:
                return _STOPPED
            case Interruption.TIMEOUT:
                return self._broken(TurnReason.TIMEOUT)
            case Interruption.SHUTDOWN:
                can_go_on = isinstance(self._responder, ResumableResponder) and self._publisher.ref is not None
                if can_go_on or not self._publisher.started:
                    return None
                return self._broken(TurnReason.SHUTDOWN)
        raise TurnLost(self.turn.claim.turn_id, self.turn.claim.generation)

    def _broken(self, reason: TurnReason) -> Verdict:
        """The end of an answer that lacks its end, or has not begun."""
        if not self._publisher.started and not self._answer.parts():
            return Verdict(TurnStatus.FAILED, reason)
        return Verdict(TurnStatus.INCOMPLETE, TurnReason.CUT_BY_PROVIDER if reason in _FAILED_ONLY else reason)

    # --- The answer ---

    async def _respond(self) -> Verdict:
        checkpoint, stopping = self.turn.checkpoint, self.turn.stopping
        self.turn = await self._persist(lambda: self._services.turns.start(self.turn))
        ref = None if checkpoint is None else await self._take_over(checkpoint)
        if stopping:
            return _STOPPED
        exhausted = self.turn.attempt > self._options.max_attempts
        if checkpoint is not None and (exhausted or ref is None):
            lost = TurnStatus.INCOMPLETE if self._answer.parts() else TurnStatus.FAILED
            return Verdict(lost, TurnReason.WORKER_LOST)
        if exhausted:
            return Verdict(TurnStatus.FAILED, TurnReason.TOO_MANY_ATTEMPTS)
        if self._responder is None:
            logger.warning("this worker has no responder %r", self.turn.responder, extra=self._facts)
            return Verdict(TurnStatus.FAILED, TurnReason.NO_RESPONDER)
        messages = await self._persist(self._context)
        prompt = build_prompt(self.turn, messages, self._options.token_budget, self._options.system_prompt)
        if self._services.files is not None:
            prompt = await self._services.files.add_to(prompt)
        return await self._try(self._responder, prompt, ref)

    async def _context(self) -> Sequence[StoredMessage]:
        place = self.turn.place or self.turn.message.seq
        return await self._services.store.context(self.turn.chat_id, place, self._options.context_messages)

    async def _take_over(self, checkpoint: Checkpoint) -> str | None:
        """Take the answer of a dead worker from its stream or, if that is lost, from the checkpoint.

        Returns:
            The position at the provider at which the responder can resume; None if it cannot.
        """
        resumable = isinstance(self._responder, ResumableResponder)
        found: list[tuple[Answer, str | None]] = []
        for frames in await self._streamed(resumable=resumable):
            try:
                frame = fold(frames)
                found.append((Answer.from_chunks(decode_chunks(frame.chunks), frame.last), frame.ref))
            except ChunkRejected as error:
                logger.warning("the stream of an AI turn is damaged: %s", error, extra=self._facts)
        found.append((Answer.from_parts(checkpoint.parts, checkpoint.last), checkpoint.ref))
        # The longest answer that can be resumed, or else the longest.
        answer, ref = max(found, key=lambda each: (resumable and each[1] is not None, each[0].last))
        answer.begin(self.turn.claim.turn_id)
        self._answer, self._ref = answer, ref
        self._publisher = self._new_publisher()
        self._publisher.take_over(answer.last, ref)
        return ref if resumable else None

    async def _streamed(self, *, resumable: bool) -> list[Sequence[TurnFrame]]:
        """The frames of the stream: all, and for a resumable responder those up to the last with a reference."""
        try:
            frames = await self._services.streams.read(self.turn.chat_id, self.turn.claim.turn_id)
        except LogUnavailable as error:
            logger.info("cannot read the stream of an AI turn: %s", error, extra=self._facts)
            return []
        found: list[Sequence[TurnFrame]] = [frames] if frames else []
        if resumable:
            count = max((number for number, frame in enumerate(frames, 1) if frame.ref is not None), default=0)
            found += [frames[:count]] if count else []
        return found

    async def _try(self, responder: Responder, prompt: Prompt, ref: str | None) -> Verdict:
        """Call the responder until it yields something or fails for good."""
        options = self._options
        backoff = Backoff(options.try_pause_s, options.max_try_pause_s)
        for tries_left in reversed(range(options.max_tries)):
            self._item_due = self._loop.time() + options.first_item_s
            before = self._items
            try:
                with self._call_span():
                    if ref is not None and isinstance(responder, ResumableResponder):
                        return await self._read(responder.resume(prompt, ref))
                    return await self._read(responder.respond(prompt))
            except (TurnLost, StoreUnavailable):
                raise
            except ResponderFailure as failure:
                self._counters.fail(failure.kind)
                # A provider's text may quote the prompt. `failure.kind` is its status, or ``error-event``.
                quoted = failure.kind.isdigit() or failure.kind == "error-event"
                said = "the provider refused or ended the answer" if quoted else failure
                facts = {"kind": failure.kind, "reason": failure.reason.value, "tries_left": tries_left}
                logger.warning("a responder failed: %s", said, extra={**self._facts, **facts})
                if self._items > before or not failure.retryable or not tries_left:
                    return self._broken(failure.reason)
                pause_s = backoff.next_s() if failure.retry_after_s is None else failure.retry_after_s
            except Exception as error:
                self._counters.fail("exception")
                logger.warning("a responder raised an exception", exc_info=error, extra=self._facts)
                return self._broken(TurnReason.RESPONDER_ERROR)
            self._item_due = None
            await asyncio.sleep(min(max(pause_s, 0.0), options.max_try_pause_s))
        raise AssertionError("the last try returns")

    def _call_span(self) -> AbstractContextManager[object]:
        """The span of one call of the responder, if the turn is traced."""
        tracer = self._services.tracer
        if tracer is None or self.turn.trace is None:
            return nullcontext()
        facts = {"gen_ai.operation.name": "chat", "roomcast.responder": self.turn.responder}
        return tracer.span("call responder", "client", facts)

    async def _read(self, items: AsyncIterator[AnswerItem]) -> Verdict:
        """Publish what a responder yields."""
        try:
            async for item in items:
                self._items += 1
                self._item_due = self._loop.time() + self._options.next_item_s
                if self._items % _ITEMS_PER_LOOP_TURN == 0:
                    await asyncio.sleep(0)
                if self._closed:
                    break
                match item:
                    case str() | Mapping():
                        await self._take(item)
                        if self._answer.full:
                            return self._broken(TurnReason.TOO_LONG)
                    case Reference():
                        self._ref = item.ref
                        self._publisher.note(item.ref)
                    case Usage():
                        counts = (item.input_tokens, item.output_tokens)
                        self._usage = Usage(*(min(max(count, 0), _MAX_TOKENS) for count in counts))
                    case CutOff():
                        return self._broken(item.reason)
        finally:
            self._item_due = None
            await self._close(items)
        return self._whole()

    def _whole(self) -> Verdict:
        """The end of an answer that its responder has finished."""
        if has_visible_character(self._answer.content()):
            return Verdict(TurnStatus.COMPLETE)
        if any(part["type"] not in {"text", "reasoning", "step-start"} for part in self._answer.parts()):
            return Verdict(TurnStatus.COMPLETE)
        return Verdict(TurnStatus.FAILED, TurnReason.NO_TEXT)

    async def _take(self, item: Chunk | str) -> None:
        try:
            chunks = self._answer.add(item)
        except ChunkRejected as error:
            self._counters.fail("chunk")
            logger.debug("a chunk was left out: %s", error, extra=self._facts)
            return
        if not chunks:
            return
        if isinstance(item, str):
            self._counters.characters += len(item)
        elif isinstance(delta := item.get("delta"), str):
            self._counters.characters += len(delta)
        begun = self._answer.begin(self.turn.claim.turn_id)
        if not self._withheld:
            # Before the wait for the database, during which the turn may end: the publisher has what the answer has.
            self._publisher.add([*begun, *chunks])
        for chunk in chunks:
            if chunk["type"] == "tool-input-available":
                if self._withheld:
                    # A tool may have effects: with an empty checkpoint, no other worker answers again.
                    await self._persist(lambda: self._services.turns.checkpoint(self.turn, Checkpoint(0, ()), ""))
                call_id, name = chunk["toolCallId"], chunk["toolName"]
                await self._persist(lambda: self._services.turns.call_tool(self.turn, call_id, name))  # noqa: B023 - awaited here

    async def _close(self, items: AsyncIterator[AnswerItem]) -> None:
        """End the request to the provider."""
        close = getattr(items, "aclose", None)  # an iterator that is no generator may lack it
        if close is None:
            return
        try:
            await close()
        except Exception as error:
            logger.warning("a responder failed while it was closed", exc_info=error, extra=self._facts)

    async def _cancel_at_provider(self) -> None:
        if self._ref is None or not isinstance(self._responder, ResumableResponder):
            return
        try:
            async with asyncio.timeout(_CLEANUP_S):
                await self._responder.cancel(self._ref)
        except (ResponderFailure, TimeoutError) as error:
            logger.warning("an answer goes on at its provider: %s", error, extra=self._facts)

    # --- Stops ---

    async def _listen(self) -> None:
        """Receive the signal of a stop. Without it, the heartbeat notices the stop."""

        def on_signal(payload: bytes) -> None:
            if decode_stop(payload) == self.turn.claim.turn_id:
                self.interrupt(Interruption.STOP)

        try:
            self._subscription = await self._services.log.subscribe(self.turn.chat_id, _ignore_entries, on_signal)
        except LogUnavailable as error:
            logger.info("stops of an AI turn are noticed late: %s", error, extra=self._facts)

    async def _clean_up(self, work: asyncio.Task[Verdict], listening: asyncio.Task[None]) -> None:
        tasks: list[asyncio.Task[Any]] = [work, listening]
        if self._saving is not None:
            tasks.append(self._saving)
        for task in tasks:
            task.cancel()
        _, late = await asyncio.wait(tasks, timeout=_CLEANUP_S)
        if late:
            logger.warning("a responder did not end when it was cancelled", extra=self._facts)
        if self._subscription is not None:
            await self._subscription.close()

    # --- The database ---

    async def _save_soon(self) -> None:
        try:
            await self._save()
        except TurnLost:
            self.interrupt(Interruption.LOST)
        except StoreUnavailable as error:
            logger.info("cannot save a partial answer: %s", error, extra=self._facts)

    async def _save(self) -> None:
        self._saved_items, self._saved_at = self._items, self._loop.time()
        publisher, answer = self._publisher, self._answer
        checkpoint = Checkpoint(publisher.last, answer.parts(), publisher.ref)
        await self._services.turns.checkpoint(self.turn, checkpoint, answer.content())

    async def _hand_over(self) -> None:
        """Let another worker claim the turn at once."""
        if self._publisher.started and not self._withheld:
            await self._publisher.finish()
            await self._save()
        await self._services.store.release_turn(self.turn.claim)
        self._counters.ends["handed over"] += 1

    async def _review(self, verdict: Verdict) -> Verdict:
        """Have the answer reviewed. A masked one is the masked text alone; of a refused one nothing is left."""
        moderation, answer = self._services.moderation, self._answer
        if moderation is None or verdict.status is TurnStatus.FAILED or not answer.parts():
            return verdict
        others = [part for part in answer.parts() if part["type"] not in {"text", "step-start"}]
        try:
            masked = await moderation.review_answer(self.turn.chat_id, answer.content(), others)
        except (MessageRefused, ModerationUnavailable) as error:
            refused = isinstance(error, MessageRefused)
            verdict = Verdict(TurnStatus.FAILED, TurnReason.REFUSED if refused else TurnReason.NOT_REVIEWED)
            answer = Answer()
        else:
            if masked is not None:
                answer = Answer.from_parts([{"type": "text", "text": masked, "state": "done"}])
            elif not self._withheld:
                return verdict
        if self._publisher.started or answer.parts():
            await self._publish_reviewed(answer)
        return verdict

    async def _publish_reviewed(self, answer: Answer) -> None:
        """Replace what is stored and streamed, with a number that viewers do not have: they read the stream again."""
        answer.begin(self.turn.claim.turn_id)
        self._publisher.abandon()
        last = max(self._publisher.last + 1, len(answer.snapshot()) - 1)
        self._answer = answer
        self._publisher = self._new_publisher()
        self._publisher.take_over(last, None, "reviewed")
        await self._persist(self._save)

    async def _end(self, verdict: Verdict) -> None:
        verdict = await self._review(verdict)
        started = self._publisher.started
        if started:
            self._publisher.add(self._answer.end(ending_chunk(verdict.status, verdict.reason)))
        failed = verdict.status is TurnStatus.FAILED
        ending = Ending(
            verdict.status,
            verdict.reason,
            content="" if failed else self._answer.content(),
            parts=() if failed else self._answer.parts(),
            last=await self._publisher.finish(),
            input_tokens=None if self._usage is None else self._usage.input_tokens,
            output_tokens=None if self._usage is None else self._usage.output_tokens,
        )
        await self._persist(lambda: self._services.turns.end(self.turn, ending))
        self._count(verdict)
        if started:
            try:
                await self._services.streams.expire(self.turn.chat_id, self.turn.claim.turn_id)
            except LogUnavailable as error:
                logger.debug("the stream of an AI turn remains until its TTL: %s", error, extra=self._facts)

    def _count(self, verdict: Verdict) -> None:
        self._counters.ends[" ".join(filter(None, (verdict.status, verdict.reason)))] += 1
        if self._usage is not None:
            self._counters.tokens["input"] += self._usage.input_tokens
            self._counters.tokens["output"] += self._usage.output_tokens

    async def _persist(self, write: Callable[[], Awaitable[_T]]) -> _T:
        """Repeat a use of the database while it is away.

        Raises:
            TurnLost: the claim is void.
            StoreUnavailable: the database was away for `WorkerOptions.store_patience_s`.
        """
        backoff = Backoff(self._options.retry_s, _MAX_STORE_PAUSE_S)
        give_up_at = self._loop.time() + self._options.store_patience_s
        while True:
            try:
                return await write()
            except StoreUnavailable as error:
                if self._loop.time() >= give_up_at:
                    raise
                pause_s = backoff.next_s()
                if should_log(backoff.failures):
                    logger.warning("the database is away, retrying in %.1f s: %s", pause_s, error, extra=self._facts)
                await asyncio.sleep(pause_s)

    def _new_publisher(self) -> ChunkPublisher:
        return ChunkPublisher(
            self._services.streams,
            self.turn,
            self._answer,
            before_first=lambda: self._persist(self._save),
            lease_held=lambda: self._loop.time() < self.lease_until,
            on_failure=self._on_publisher_failure,
            options=self._options,
            counters=self._counters,
        )

    def _on_publisher_failure(self, error: Exception) -> None:
        if isinstance(error, TurnLost):
            self.interrupt(Interruption.LOST)
        else:
            # The turn goes on: its end has the whole text.
            logger.error("cannot publish an answer", exc_info=error, extra=self._facts)


def _ignore_entries(_epoch: str, _entries: Sequence[LogEntry]) -> None:
    pass
