"""The guide's ingress: an event that any program publishes to ``chat:events`` is emitted to the chat's members.

Every gateway receives every event and emits it to its own sockets only, so each member receives an event once with any
number of gateways. (In the guide, the server of every pod broadcasts the event.) Such an event is neither stored nor
replayed; ``POST /api/chat/messages`` is the durable alternative.

An object is emitted with the ``chatId`` of its chat, so that a client with several chats knows where it belongs, and
without ``seq`` and ``epoch``: a client would take it for a stored event, and move its cursor.

Layer: gateway. Source: the guide's ``event-handler.ts``; docs/design.md, "The guide's ingress".
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable
from typing import Annotated, Any, Final, Literal

from pydantic import Field, TypeAdapter, ValidationError

from roomcast.backoff import should_log
from roomcast.contract.model import Payload
from roomcast.contract.tenants import DEFAULT_TENANT, TenantId, qualify
from roomcast.contract.text import ChatId, UserId
from roomcast.gateway.ports import Rooms
from roomcast.gateway.rooms import chat_room
from roomcast.realtime.fanout.message import EncodedEvent
from roomcast.wire.errors import EncodeError

logger = logging.getLogger(__name__)

CHANNEL: Final = "chat:events"
#: The guide emits both types as this event.
EVENT: Final = "new-msg"
_OF_STORED_EVENTS: Final = frozenset({"seq", "epoch"})


class PublishedMessage(Payload):
    """The guide's ``ChatEvent``. The gateway uses ``chat_id`` and ``data`` only.

    Attributes:
        tenant: The tenant of the chat; left out: the default tenant. Not part of the guide.
    """

    type: Literal["MESSAGE_CREATED", "AI_RESPONSE_GENERATED"]
    chat_id: ChatId
    data: Any
    tenant: TenantId | None = None


class PublishedRemoval(Payload):
    """A user is no longer a member; for applications that keep the members. Not part of the guide."""

    type: Literal["MEMBER_REMOVED"]
    chat_id: ChatId
    user_id: UserId
    tenant: TenantId | None = None


_PUBLISHED: Final[TypeAdapter[PublishedMessage | PublishedRemoval]] = TypeAdapter(
    Annotated[PublishedMessage | PublishedRemoval, Field(discriminator="type")]
)


class Ingress:
    """Emits published events to the gateway's rooms.

    Args:
        rooms: Emits to the gateway's own sockets.
        remove: Takes the sockets of a user out of a chat's room; see `Memberships.remove`.

    Attributes:
        counters: The numbers of ``delivered`` and ``malformed`` events since the start.
    """

    def __init__(self, rooms: Rooms, remove: Callable[[str, str], None]) -> None:
        self._rooms = rooms
        self._remove = remove
        self.counters: Counter[str] = Counter()

    def emit(self, published: bytes) -> None:
        """Emit one published event. Never raises: invalid bytes from outside must not end the listener."""
        try:
            event = _PUBLISHED.validate_json(published)
            tenant = event.tenant or DEFAULT_TENANT
            chat_id = qualify(tenant, event.chat_id)
            if isinstance(event, PublishedRemoval):
                self._remove(chat_id, qualify(tenant, event.user_id))
                return
            data = event.data
            if isinstance(data, dict):
                kept = {name: value for name, value in data.items() if name not in _OF_STORED_EVENTS}
                data = {**kept, "chatId": event.chat_id}
            self._rooms.broadcast(chat_room(chat_id), EncodedEvent.from_args(EVENT, data))
        except (ValidationError, EncodeError, ValueError, RecursionError) as error:
            self._drop_malformed(len(published), type(error).__name__)
            return
        self.counters["delivered"] += 1
        delivered = self.counters["delivered"]
        if should_log(delivered):
            facts = {"channel": CHANNEL, "chat_id": event.chat_id, "delivered": delivered}
            logger.warning(
                "events on the ingress are not stored: only connected members see them, until they reload the page;"
                " send messages to POST /api/chat/messages, other events to POST /api/events",
                extra=facts,
            )

    def _drop_malformed(self, size_bytes: int, error: str) -> None:
        self.counters["malformed"] += 1
        malformed = self.counters["malformed"]
        if should_log(malformed):
            # The content is not logged, since it may be a user's message.
            facts = {"channel": CHANNEL, "size_bytes": size_bytes, "error": error, "malformed": malformed}
            logger.warning("malformed event on the ingress", extra=facts)
