"""The guide's ingress: what any program publishes to ``chat:events`` reaches the chat's members, live and once.

Every gateway hears every event and emits it to its own sockets only, so that N gateways deliver it once to each member
(the guide's server re-broadcasts it from every pod). It has no seq and is outside the promise: durable publishing is
``POST /api/chat/messages``.

Layer: gateway. Source: the guide's ``event-handler.ts``; DESIGN §4.7.
"""

from __future__ import annotations

import logging
from collections import Counter
from typing import Any, Final, Literal

from pydantic import ValidationError

from roomcast.contract.model import Payload
from roomcast.contract.text import ChatId
from roomcast.gateway.delivery.chat_feed import chat_room
from roomcast.gateway.ports import Rooms
from roomcast.realtime.fanout.message import EncodedEvent
from roomcast.wire.errors import EncodeError

logger = logging.getLogger(__name__)

CHANNEL: Final = "chat:events"
#: The guide's event for both of its types.
EVENT: Final = "new-msg"


class PublishedEvent(Payload):
    """What is published: the guide's ``ChatEvent``. Only ``chat_id`` and ``data`` are passed on."""

    type: Literal["MESSAGE_CREATED", "AI_RESPONSE_GENERATED"]
    chat_id: ChatId
    data: Any


class Ingress:
    """Hands published events to the rooms.

    Args:
        rooms: The gateway's own sockets.

    Attributes:
        counters: ``delivered`` and ``malformed`` so far.
    """

    def __init__(self, rooms: Rooms) -> None:
        self._rooms = rooms
        self.counters: Counter[str] = Counter()

    def take(self, published: bytes) -> None:
        """Emit one published event. Never raises: whoever can publish must not be able to end the listener."""
        try:
            event = PublishedEvent.model_validate_json(published)
            self._rooms.broadcast(chat_room(event.chat_id), EncodedEvent.from_args(EVENT, event.data))
        except (ValidationError, EncodeError, ValueError, RecursionError) as error:
            self._refused(len(published), type(error).__name__)
            return
        self.counters["delivered"] += 1

    def _refused(self, size_bytes: int, error: str) -> None:
        """Count it, and tell of the 1st, 2nd, 4th, 8th…: never what it says, which people may have written."""
        self.counters["malformed"] += 1
        refused = self.counters["malformed"]
        if refused & (refused - 1) == 0:
            facts = {"channel": CHANNEL, "size_bytes": size_bytes, "error": error, "refused": refused}
            logger.warning("a published event cannot be read", extra=facts)
