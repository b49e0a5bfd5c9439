"""Answers that grow: the frames of a turn become ``ai-chunk`` events, and its end becomes ``ai-end``.

Both are for the sockets that joined with ``stream: true``, which are in two rooms: the chat's room, and its room for
streams. A frame arrives as a signal on the chat's channel, and its chunks are emitted as the bytes that they are: like
an entry of the log, they are JSON of our own workers. The ``new-msg`` at the end of a turn goes whole to the other
sockets and short, as ``ai-end``, to these, at the same place in the order of every socket.

Layer: gateway. Source: docs/decisions/0010-ai-turns.md.
"""

from __future__ import annotations

import json
import logging
import re
from collections import Counter
from collections.abc import Callable
from typing import Final

from roomcast.backoff import should_log
from roomcast.chat.ports import TurnFrame, decode_frame
from roomcast.contract.events import AI_CHUNK, AI_END, AiEnd
from roomcast.contract.tenants import local_id
from roomcast.gateway.ports import Rooms
from roomcast.gateway.rooms import stream_room
from roomcast.realtime.fanout.message import EncodedEvent

logger = logging.getLogger(__name__)

#: The first bytes of an AI's message: the order of the fields is that of `contract.events.Message`.
_AI_MESSAGE: Final = re.compile(rb'\["new-msg",\{"id":"[^"]*","role":"AI",')
#: Part of it: a cheap first check for all other events.
_AI_ROLE: Final = b'"role":"AI",'
_END_FIELDS: Final = tuple(str(field.alias) for field in AiEnd.model_fields.values())


def short_end(args: bytes) -> bytes | None:
    """The ``ai-end`` of the event that ends a turn with a text; None: ``args`` is another event."""
    if _AI_ROLE not in args or _AI_MESSAGE.match(args) is None:
        return None
    message = json.loads(args)[1]
    if message.get("turn") is None:
        return None  # written by a back end through REST
    return json.dumps([AI_END, {name: message[name] for name in _END_FIELDS}], separators=(",", ":")).encode()


class LiveAnswers:
    """Emits the frames of answers.

    Args:
        rooms: Emits to the gateway's own sockets.

    Attributes:
        on_frame: Called with ``(chat_id, frame)`` for each emitted frame.
        frames: Frames since the start: ``emitted`` (once, whatever the number of sockets) or ``malformed``.
    """

    def __init__(self, rooms: Rooms) -> None:
        self.on_frame: Callable[[str, TurnFrame], None] = lambda _chat_id, _frame: None
        self.frames: Counter[str] = Counter()
        self._rooms = rooms

    def take(self, chat_id: str, payload: bytes) -> None:
        """Emit the frame in a signal of a chat. Never raises."""
        frame = decode_frame(payload)
        if frame is None:
            self.frames["malformed"] += 1
            if should_log(self.frames["malformed"]):
                facts = {"chat_id": chat_id, "count": self.frames["malformed"]}
                logger.warning("malformed frame of an answer", extra=facts)
            return
        self.frames["emitted"] += 1
        # The id of a turn needs no escapes (`decode_frame`).
        args = b'["%b",{"chatId":%b,"turnId":"%b",%b"first":%d,"last":%d,"chunks":%b}]' % (
            AI_CHUNK.encode(),
            json.dumps(local_id(chat_id)).encode(),
            frame.turn_id.encode(),
            b"" if frame.generation == 1 else b'"generation":%d,' % frame.generation,
            frame.first,
            frame.last,
            frame.chunks,
        )
        self._rooms.broadcast(stream_room(chat_id), EncodedEvent.from_json(args))
        self.on_frame(chat_id, frame)
