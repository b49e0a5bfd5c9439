"""What gateways tell each other about a chat in passing: who came or went, who is writing.

Signals travel on the chat's channel, once and unstored (`EventLog.signal`). Whoever can publish to Redis can send one,
so that a signal is checked like a client's payload, and changes nothing but the chat that it came for.

Layer: gateway.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from typing import Annotated, Final, Literal

from pydantic import Field, StringConstraints, TypeAdapter, ValidationError

from roomcast.chat.ports import MAX_SIGNAL_BYTES, EventLog, LogUnavailable
from roomcast.contract.model import Payload
from roomcast.contract.text import UserId

logger = logging.getLogger(__name__)

_VERSION: Final = 1
#: Chats whose signals wait for Redis at one time, and signals of one chat; what is beyond it is dropped.
_MAX_CHATS_WAITING: Final = 256
_MAX_WAITING: Final = 32
#: Bytes of the user ids in one signal; what is around them is some 100 more.
_MAX_USERS_BYTES: Final = MAX_SIGNAL_BYTES - 512
#: Of an id in JSON: two quotes and a comma.
_AROUND_ID_BYTES: Final = 3

NodeId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{8}$")]


class Moved(Payload):
    """Users have entered a chat through a gateway, or left it there."""

    v: Literal[1] = _VERSION
    type: Literal["moved"] = "moved"
    node: NodeId
    entered: tuple[UserId, ...] = Field(default=(), strict=False)
    left: tuple[UserId, ...] = Field(default=(), strict=False)


class Wrote(Payload):
    """A user has begun or stopped to write, on a gateway."""

    v: Literal[1] = _VERSION
    type: Literal["wrote"] = "wrote"
    node: NodeId
    user: UserId
    typing: bool


Signal = Annotated[Moved | Wrote, Field(discriminator="type")]
_SIGNAL: Final[TypeAdapter[Moved | Wrote]] = TypeAdapter(Signal)

OnMoved = Callable[[str, Moved], None]
OnWrote = Callable[[str, Wrote], None]


def portions(users: Iterable[str]) -> Iterator[tuple[str, ...]]:
    """User ids in portions that one signal carries."""
    portion: list[str] = []
    size = 0
    for user in users:
        size_of_user = len(user.encode()) + user.count('"') + user.count("\\") + _AROUND_ID_BYTES
        if portion and size + size_of_user > _MAX_USERS_BYTES:
            yield tuple(portion)
            portion, size = [], 0
        portion.append(user)
        size += size_of_user
    if portion:
        yield tuple(portion)


class Signals:
    """Sends signals, and hands those of other gateways on.

    Args:
        log: What carries them.
        node_id: Of this gateway; what it hears of itself is passed over.

    Attributes:
        on_moved: Takes ``(chat_id, signal)``; called in the turn in which it came.
        on_wrote: Likewise.
        counters: ``sent``, ``heard``, ``malformed`` and ``dropped`` so far.
    """

    def __init__(self, log: EventLog, node_id: str) -> None:
        self._log = log
        self._node_id = node_id
        # What waits in each chat, the one under way first.
        self._waiting: dict[str, deque[Moved | Wrote]] = {}
        self._senders: set[asyncio.Task[None]] = set()
        self.on_moved: OnMoved = lambda _chat_id, _signal: None
        self.on_wrote: OnWrote = lambda _chat_id, _signal: None
        self.counters: Counter[str] = Counter()

    async def send(self, chat_id: str, signal: Moved | Wrote) -> bool:
        """Tell the other gateways; whether that could be done. What cannot be told now is not told."""
        try:
            await self._log.signal(chat_id, signal.model_dump_json(by_alias=True).encode())
        except LogUnavailable:
            self.counters["dropped"] += 1
            return False
        self.counters["sent"] += 1
        return True

    def send_soon(self, chat_id: str, signal: Moved | Wrote) -> None:
        """See `send`, in the background; those of one chat go one after the other."""
        waiting = self._waiting.get(chat_id)
        if waiting is None:
            if len(self._waiting) >= _MAX_CHATS_WAITING:
                self.counters["dropped"] += 1
                return
            waiting = self._waiting[chat_id] = deque([signal])
            sender = asyncio.create_task(self._send_waiting(chat_id, waiting), name="signals")
            self._senders.add(sender)
            sender.add_done_callback(self._senders.discard)
        elif len(waiting) >= _MAX_WAITING:
            self.counters["dropped"] += 1
        else:
            waiting.append(signal)

    async def _send_waiting(self, chat_id: str, waiting: deque[Moved | Wrote]) -> None:
        try:
            while waiting:
                told = await self.send(chat_id, waiting[0])
                waiting.popleft()
                if not told:
                    # A word of the moment is none any more when Redis is back.
                    self.counters["dropped"] += len(waiting)
                    break
        finally:
            del self._waiting[chat_id]

    def take(self, chat_id: str, payload: bytes) -> None:
        """The `SignalSink` of a chat. Never raises."""
        try:
            signal = _SIGNAL.validate_json(payload)
        except ValidationError:
            self.counters["malformed"] += 1
            count = self.counters["malformed"]
            if count & (count - 1) == 0:
                logger.warning("a signal cannot be read", extra={"chat_id": chat_id, "count": count})
            return
        if signal.node == self._node_id:
            return
        self.counters["heard"] += 1
        if isinstance(signal, Moved):
            self.on_moved(chat_id, signal)
        else:
            self.on_wrote(chat_id, signal)

    async def close(self) -> None:
        """Let go of what is under way."""
        senders = list(self._senders)
        for sender in senders:
            sender.cancel()
        await asyncio.gather(*senders, return_exceptions=True)
