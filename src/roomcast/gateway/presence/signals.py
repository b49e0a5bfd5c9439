"""Signals between gateways, sent on a chat's channel: users that entered or left, and users that are typing.

Signals are delivered at most once and never stored (`EventLog.signal`). Any client of the Redis can publish one, so
each is validated like a client's payload, and it affects only the chat on whose channel it arrived.

Layer: gateway.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from typing import Annotated, Final, Literal

from pydantic import Field, StringConstraints, TypeAdapter, ValidationError

from roomcast.backoff import should_log
from roomcast.chat.ports import MAX_SIGNAL_BYTES, EventLog, LogUnavailable
from roomcast.contract.model import Payload
from roomcast.contract.text import QualifiedId

logger = logging.getLogger(__name__)

_VERSION: Final = 1
# `Signals.send_soon` drops signals beyond these limits.
_MAX_QUEUED_CHATS: Final = 256
_MAX_QUEUED_SIGNALS: Final = 32
# The other fields of a signal take about 100 bytes.
_MAX_USER_ID_BYTES: Final = MAX_SIGNAL_BYTES - 512
# Two quotes and a comma around each id.
_JSON_OVERHEAD_BYTES: Final = 3

NodeId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{8}$")]


class PresenceSignal(Payload):
    """Users entered or left a chat through one gateway."""

    v: Literal[1] = _VERSION
    type: Literal["moved"] = "moved"
    node: NodeId
    entered: tuple[QualifiedId, ...] = Field(default=(), strict=False)
    left: tuple[QualifiedId, ...] = Field(default=(), strict=False)


class TypingSignal(Payload):
    """A user of a gateway started or stopped typing."""

    v: Literal[1] = _VERSION
    type: Literal["wrote"] = "wrote"
    node: NodeId
    user: QualifiedId
    typing: bool


_SIGNAL: Final[TypeAdapter[PresenceSignal | TypingSignal]] = TypeAdapter(
    Annotated[PresenceSignal | TypingSignal, Field(discriminator="type")]
)

OnPresence = Callable[[str, PresenceSignal], None]
OnTyping = Callable[[str, TypingSignal], None]


def user_batches(users: Iterable[str]) -> Iterator[tuple[str, ...]]:
    """Split user ids into batches that fit into one signal each."""
    batch: list[str] = []
    size = 0
    for user in users:
        user_size = len(user.encode()) + user.count('"') + user.count("\\") + _JSON_OVERHEAD_BYTES
        if batch and size + user_size > _MAX_USER_ID_BYTES:
            yield tuple(batch)
            batch, size = [], 0
        batch.append(user)
        size += user_size
    if batch:
        yield tuple(batch)


class Signals:
    """Sends signals, and dispatches the signals of other gateways.

    Args:
        log: Carries the signals.
        node_id: This gateway's id; received signals with this id are ignored.

    Attributes:
        on_presence: Called with ``(chat_id, signal)`` in the loop turn in which the signal arrived.
        on_typing: Called in the same way.
        counters: Signals ``sent``, ``heard`` from other gateways, ``malformed`` and ``dropped``.
    """

    def __init__(self, log: EventLog, node_id: str) -> None:
        self._log = log
        self._node_id = node_id
        # By chat; the first signal of a queue is being sent.
        self._queues: dict[str, deque[PresenceSignal | TypingSignal]] = {}
        self._senders: set[asyncio.Task[None]] = set()
        self.on_presence: OnPresence = lambda _chat_id, _signal: None
        self.on_typing: OnTyping = lambda _chat_id, _signal: None
        self.counters: Counter[str] = Counter()

    async def send(self, chat_id: str, signal: PresenceSignal | TypingSignal) -> bool:
        """Send a signal to the other gateways; False if it was dropped because the log is unavailable."""
        try:
            await self._log.signal(chat_id, signal.model_dump_json(by_alias=True).encode())
        except LogUnavailable:
            self.counters["dropped"] += 1
            return False
        self.counters["sent"] += 1
        return True

    def send_soon(self, chat_id: str, signal: PresenceSignal | TypingSignal) -> None:
        """Send a signal in the background, after earlier signals of the same chat."""
        queue = self._queues.get(chat_id)
        if queue is None:
            if len(self._queues) >= _MAX_QUEUED_CHATS:
                self.counters["dropped"] += 1
                return
            queue = self._queues[chat_id] = deque([signal])
            sender = asyncio.create_task(self._send_queued(chat_id, queue), name="signals")
            self._senders.add(sender)
            sender.add_done_callback(self._senders.discard)
        elif len(queue) >= _MAX_QUEUED_SIGNALS:
            self.counters["dropped"] += 1
        else:
            queue.append(signal)

    async def _send_queued(self, chat_id: str, queue: deque[PresenceSignal | TypingSignal]) -> None:
        try:
            while queue:
                sent = await self.send(chat_id, queue[0])
                queue.popleft()
                if not sent:
                    # Signals are ephemeral: after an outage the queued signals are out of date.
                    self.counters["dropped"] += len(queue)
                    break
        finally:
            del self._queues[chat_id]

    def take(self, chat_id: str, payload: bytes) -> None:
        """Receive a signal of a chat (a `SignalSink`). Never raises."""
        try:
            signal = _SIGNAL.validate_json(payload)
        except ValidationError:
            self.counters["malformed"] += 1
            if should_log(self.counters["malformed"]):
                facts = {"chat_id": chat_id, "count": self.counters["malformed"]}
                logger.warning("malformed signal", extra=facts)
            return
        if signal.node == self._node_id:
            return
        self.counters["heard"] += 1
        if isinstance(signal, PresenceSignal):
            self.on_presence(chat_id, signal)
        else:
            self.on_typing(chat_id, signal)

    async def close(self) -> None:
        """Cancel the signals that are being sent."""
        senders = list(self._senders)
        for sender in senders:
            sender.cancel()
        await asyncio.gather(*senders, return_exceptions=True)
