"""From a request of a dialect to the turn that answers it.

The history is the chat's: of the messages that a client sends, only the last one of the user is read. Its id is the
``clientMsgId`` of the stored message, so a repeated request stores nothing and follows the same turn.

Layer: api.
"""

from __future__ import annotations

import json
import re
from collections.abc import AsyncGenerator, Sequence
from typing import Any, Final, TypeVar

from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError

from roomcast.api.callers import authenticate
from roomcast.api.dialects.sending import with_pauses
from roomcast.api.services import ApiServices
from roomcast.auth.scopes import ServiceScope
from roomcast.chat.errors import MessageNotFound, TurnNotFound
from roomcast.chat.model import Caller, Committed, StoredMessage, StoredTurn
from roomcast.chat.ports.responder import Chunk
from roomcast.contract.events import TurnStatus
from roomcast.contract.rest import EditMessage, SendMessage
from roomcast.contract.tenants import acting_in, local_id, qualify
from roomcast.contract.text import TURN_ID
from roomcast.observability.log_context import add_to_log_context

#: How many of the newest messages are searched for the one that a client names.
_SEARCHED: Final = 100
_ACTIVE: Final = frozenset({TurnStatus.QUEUED, TurnStatus.STREAMING})

_Command = TypeVar("_Command", SendMessage, EditMessage)


def invalid(message: str, *path: str | int) -> RequestValidationError:
    """The error of a request with an invalid member."""
    return RequestValidationError([{"type": "value_error", "loc": ("body", *path), "msg": message}])


def text_of(parts: Sequence[Any]) -> str:
    """The text of a message's parts.

    Raises:
        RequestValidationError: it has other parts, such as files.
    """
    texts = [part.get("text") if isinstance(part, dict) and part.get("type") == "text" else None for part in parts]
    if not all(isinstance(text, str) for text in texts):
        raise invalid(
            "messages consist of text: send files to a service of your own, and their URLs as text", "messages"
        )
    return "\n\n".join(text for text in texts if text)


class Conversation:
    """One chat, for the caller of a request.

    Args:
        services: The use cases.
        authorization: The value of the Authorization header, or of its substitute; None: absent.
        needed: The scope that it needs; see `authenticate`.
        caller: Its caller.
        chat_id: The chat.
        trace: W3C ``traceparent`` of the request.
    """

    def __init__(
        self,
        services: ApiServices,
        authorization: str | None,
        needed: ServiceScope,
        caller: Caller,
        chat_id: str,
        trace: str | None,
    ) -> None:
        self._services = services
        self._needed = needed
        self._authorization = authorization
        self._caller = caller
        add_to_log_context(chat_id=chat_id)
        self.chat_id = chat_id
        self._trace = trace

    @classmethod
    async def begin(
        cls,
        services: ApiServices,
        authorization: str | None,
        needed: ServiceScope,
        chat_id: str,
        trace: str | None = None,
    ) -> Conversation:
        """Authenticate the caller of a request; arguments as for the class and `authenticate`.

        Raises:
            HTTPException: see `authenticate`.
        """
        caller = await authenticate(services.verifier, authorization, needed)
        # The caller was unknown when the request was read.
        chat_id = qualify(caller.tenant, local_id(chat_id))
        return cls(services, authorization, needed, caller, chat_id, trace)

    @property
    def epoch(self) -> str:
        """The current epoch."""
        return self._services.reader.epoch

    async def ask(self, message_id: str, text: str) -> str | None:
        """Store the user's message, and return the turn that answers it; None: the chat does not answer.

        Raises:
            RequestValidationError: the text or the id is invalid.
            ChatNotFound: the chat is hidden from the caller or, while authentication is on, does not exist.
            AnswerActive: the chat refuses questions while it is answered.
        """
        fields = {"chatId": local_id(self.chat_id), "role": "USER", "content": text, "clientMsgId": message_id}
        with acting_in(self._caller.tenant):
            command = _validated(SendMessage, fields)
        return _turn_of(await self._services.writer.send(self._caller, command, self._trace))

    async def edit(self, message_id: str, text: str) -> str | None:
        """Replace the text of the user's message, and return the turn that answers it.

        A repeat changes nothing. Errors as for `ask`.

        Raises:
            MessageNotFound: the message is not among the newest ones.
        """
        message = await self.find(message_id)
        if message is None:
            raise MessageNotFound(self.chat_id, message_id)
        if message.content == text:
            return None if message.turn is None else message.turn.id
        # The client keeps the id of the first version; the ids of the others lead `find` to the last one.
        client_msg_id = f"{message_id}#{message.version + 1}"
        command = _validated(EditMessage, {"content": text, "clientMsgId": client_msg_id})
        return _turn_of(await self._services.writer.edit(self._caller, self.chat_id, message.id, command))

    async def regenerate(self, message_id: str) -> str:
        """Answer a question again, and return the turn. A repeat during the new answer follows it.

        Args:
            message_id: The answer, or its question.

        Raises:
            TurnNotFound: there is no such answer.
            AnswerActive: as for `ask`.
        """
        message = await self.find(message_id)
        turn = None if message is None else message.turn
        if turn is not None and turn.status in _ACTIVE:
            return turn.id
        turn_id = message_id if turn is None else turn.id
        if not re.fullmatch(TURN_ID, turn_id):
            raise TurnNotFound(self.chat_id, turn_id)
        return (await self._services.turns.regenerate(self._caller, self.chat_id, turn_id)).id

    async def active(self) -> StoredTurn | None:
        """The turn that is being answered, or waits. While authentication is off, an unknown chat has none.

        Raises:
            ChatNotFound: the chat does not exist or is hidden from the caller.
        """
        if not self._caller.trusted:
            await self._services.reader.chat(self._caller, self.chat_id)
        return await self._services.turns.active(self.chat_id)

    async def find(self, message_id: str) -> StoredMessage | None:
        """The newest version of a message that a client names by its id, the id that it gave it, or its turn's."""
        read = await self._services.reader.messages(
            self._caller, self.chat_id, before=None, after=None, limit=_SEARCHED
        )
        for message in reversed(read.messages):
            given = (message.client_msg_id or "").partition("#")[0]
            turn_id = None if message.turn is None else message.turn.id
            if message_id in {message.id, message.client_msg_id, given, turn_id}:
                return message
        return None

    async def stop(self, turn_id: str) -> None:
        """Stop a turn; see `roomcast.chat.use_cases.turns.Turns.stop`."""
        await self._services.turns.stop(self._caller, self.chat_id, turn_id)

    def follow(self, turn_id: str) -> AsyncGenerator[Chunk | None]:
        """The chunks of a turn from its beginning to its end, and None in pauses.

        It fails when the caller's token expires, or the caller leaves the chat.
        """

        async def check() -> None:
            await authenticate(self._services.verifier, self._authorization, self._needed)
            await self._services.reader.chat(self._caller, self.chat_id)

        return with_pauses(self._services.follower.follow(self.chat_id, turn_id), check)


def _validated(model: type[_Command], value: dict[str, Any]) -> _Command:
    try:
        return model.model_validate(value)
    except ValidationError as error:
        first = error.errors()[0]
        raise invalid(f"{first['loc'][0]}: {first['msg'].removeprefix('Value error, ')}", "messages") from None


def _turn_of(committed: Committed) -> str | None:
    """The turn of a stored USER message."""
    turn = json.loads(committed.event.payload)["turn"]
    return None if turn is None else str(turn["id"])
