"""Sends pushes to push services, each of which has a queue of its own: one that does not answer delays no other.

A push is sent at most once, unless the push service refuses it for now or does not answer: then it is repeated, and
only if the device may still receive it. All queues are in memory: the unread messages are the truth, a push is a hint.

Layer: worker. Source: docs/decisions/0022.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter, deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit

from roomcast.backoff import jittered
from roomcast.chat.errors import StoreUnavailable
from roomcast.chat.ports import Push, PushOutcome, PushSender, PushStore

logger = logging.getLogger(__name__)

#: Push services that are sent to at the same time; pushes to further ones are dropped.
MAX_SERVICES: Final = 200
#: Of them, those that the devices of one user have begun: browsers of one vendor have one.
MAX_SERVICES_OF_USER: Final = 8
#: Pushes that wait for one push service, and for all of them; the oldest ones of the longest queue are dropped.
MAX_WAITING: Final = 2_000
MAX_ALL_WAITING: Final = 20_000
#: Requests to one push service at the same time.
_CONCURRENCY: Final = 4
#: Seconds before each repeat.
_PAUSES_S: Final = (1.0, 5.0, 20.0)
#: A push that has waited for longer than this, in seconds, is checked again before it is sent.
_FRESH_S: Final = 1.0

OUTCOMES: Final = ("sent", "gone", "refused", "failed", "dropped", "outdated")


@dataclass(frozen=True, slots=True)
class Delivery:
    """A push, and whether it may still be sent.

    Attributes:
        push: The push.
        allowed: Asks the database whether the user still is in the chat, has not seen the message, and so on.
        checked_at: Loop time of the last such check.
    """

    push: Push
    allowed: Callable[[], Awaitable[bool]]
    checked_at: float


@dataclass(slots=True)
class _Lane:
    user_id: str
    waiting: deque[Delivery] = field(default_factory=deque)
    tasks: set[asyncio.Task[None]] = field(default_factory=set)


class Deliveries:
    """The queues.

    Args:
        sender: Sends to push services.
        store: Devices that are gone are deleted there.

    Attributes:
        counters: Pushes by `OUTCOMES`; ``repeated``: further attempts.
    """

    def __init__(self, sender: PushSender, store: PushStore) -> None:
        self._sender = sender
        self._store = store
        self._lanes: dict[str, _Lane] = {}
        self._waiting = 0
        self._closing = False
        self.counters: Counter[str] = Counter()

    def add(self, delivery: Delivery) -> None:
        """Send a push soon."""
        device = delivery.push.device
        host = urlsplit(device.endpoint).netloc
        lane = self._lanes.get(host)
        if lane is None:
            begun = sum(one.user_id == device.user_id for one in self._lanes.values())
            if self._closing or len(self._lanes) >= MAX_SERVICES or begun >= MAX_SERVICES_OF_USER:
                self.counters["dropped"] += 1
                return
            lane = self._lanes[host] = _Lane(device.user_id)
        lane.waiting.append(delivery)
        self._waiting += 1
        if len(lane.waiting) > MAX_WAITING:
            self._drop(lane)
        elif self._waiting > MAX_ALL_WAITING:
            self._drop(max(self._lanes.values(), key=lambda one: len(one.waiting)))
        if len(lane.tasks) < _CONCURRENCY:
            lane.tasks.add(asyncio.create_task(self._serve(host, lane), name=f"push-{host}"))

    def _take(self, lane: _Lane) -> Delivery:
        self._waiting -= 1
        return lane.waiting.popleft()

    def _drop(self, lane: _Lane) -> None:
        self._take(lane)
        self.counters["dropped"] += 1

    async def close(self, limit_s: float) -> None:
        """Send what waits for up to ``limit_s``; then drop the rest."""
        self._closing = True
        tasks = {task for lane in self._lanes.values() for task in lane.tasks}
        if tasks:
            await asyncio.wait(tasks, timeout=limit_s)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _serve(self, host: str, lane: _Lane) -> None:
        try:
            while lane.waiting:
                try:
                    await self._deliver(self._take(lane))
                except Exception:
                    # A bug must not stop the other pushes to this service.
                    logger.exception("a push failed", extra={"push_service": host})
        finally:
            task = asyncio.current_task()
            if task is not None:
                lane.tasks.discard(task)
            if not lane.tasks and not lane.waiting:
                self._lanes.pop(host, None)

    async def _deliver(self, delivery: Delivery) -> None:
        loop = asyncio.get_running_loop()
        checked_at = delivery.checked_at
        outcome = PushOutcome("failed")
        for attempt, pause_s in enumerate((0.0, *_PAUSES_S)):
            if attempt:
                self.counters["repeated"] += 1
                await asyncio.sleep(jittered(max(pause_s, outcome.retry_after_s or 0.0)))
            if loop.time() - checked_at > _FRESH_S:
                if not await self._allowed(delivery):
                    self.counters["outdated"] += 1
                    return
                checked_at = loop.time()
            outcome = await self._sender.send(delivery.push)
            if outcome.result != "failed" or self._closing:
                break
        self.counters[outcome.result] += 1
        device = delivery.push.device
        if outcome.result != "sent":
            facts = {"device": device.id, "push_service": urlsplit(device.endpoint).netloc, "result": outcome.result}
            logger.info("a push is not delivered: %s", outcome.detail, extra=facts)
        if outcome.result == "gone":
            try:
                await self._store.remove_device(device.id, None)
            except StoreUnavailable as error:
                # The next push to it has the same outcome.
                logger.info("a device is not deleted: %s", error, extra={"device": device.id})

    async def _allowed(self, delivery: Delivery) -> bool:
        try:
            return await delivery.allowed()
        except StoreUnavailable:
            # The user may have left the chat.
            return False
