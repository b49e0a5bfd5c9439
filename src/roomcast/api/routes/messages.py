"""The routes: each translates between HTTP and a use case. They contain no business rules.

Events are sent as the bytes that were encoded at their commit.

Layer: api.
"""

from __future__ import annotations

import base64
import binascii
import json
import logging
import re
from datetime import UTC, datetime
from typing import Annotated, Any, Final

from fastapi import APIRouter, Query, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BeforeValidator, Field, TypeAdapter
from starlette.responses import Response

from roomcast import __version__
from roomcast.api.callers import CurrentCaller
from roomcast.api.options import ApiOptions
from roomcast.api.services import ApiServices
from roomcast.chat.delivery.encoding import encode_message
from roomcast.chat.files.options import FileOptions
from roomcast.chat.model import Caller, ChatPosition, ChatState, Committed, MessageFilter, StoredChat
from roomcast.chat.ports import Tracer
from roomcast.chat.use_cases.writing import ChatWriter
from roomcast.contract import rest
from roomcast.contract.errors import Problem
from roomcast.contract.events import Message, Role
from roomcast.contract.model import Output
from roomcast.contract.text import MAX_SEQ, ChatId, Epoch, NewUserId, QualifiedId, UserId
from roomcast.observability.log_context import add_to_log_context

logger = logging.getLogger(__name__)

DEFAULT_PAGE: Final = 50
MAX_PAGE: Final = 200
MAX_EVENTS: Final = 2_000


def _only_digits(value: object) -> object:
    """Reject the other spellings of a number that Pydantic accepts: ``1_0``, ``+10``, ``10.0``, spaces."""
    if isinstance(value, str) and not (value.isascii() and value.isdigit()):
        raise ValueError("must consist of the digits 0 to 9")
    return value


#: Follows the limits of a number: Pydantic leaves those behind a validator out of the OpenAPI document.
DIGITS: Final = BeforeValidator(_only_digits)
SeqParam = Annotated[int, Field(ge=0, le=MAX_SEQ), DIGITS]
PageLimit = Annotated[int, Field(ge=1, le=MAX_PAGE), DIGITS]
#: The user that acts, while authentication is off or with a service token.
ActingUser = Annotated[NewUserId | None, Query(alias="userId")]
_TRACEPARENT: Final = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")
#: The path of `send_message`.
SEND_PATH: Final = "/api/chat/messages"
# The rule of `rest.SendMessage` for a text that may be empty; the types of the browser cannot express it.
_TEXT_OR_FILES: Final = {
    "anyOf": [
        {"properties": {"content": {"minLength": 1}}},
        {"properties": {"files": {"minItems": 1}}, "required": ["files"]},
    ]
}
PROBLEMS: Final[dict[int | str, dict[str, Any]]] = {
    "default": {"model": Problem, "description": "Problem details (RFC 9457)"}
}

router = APIRouter(responses=PROBLEMS)


def services_of(request: Request) -> ApiServices:
    """The use cases that the composition passed to the application."""
    services: ApiServices = request.app.state.services
    return services


def as_json(body: bytes | Output, status: int = 200) -> Response:
    """A response with a JSON body, which no cache stores."""
    content = body if isinstance(body, bytes) else body.model_dump_json().encode()
    return Response(content, status, headers={"Cache-Control": "no-store"}, media_type="application/json")


def trace_of(request: Request) -> str | None:
    """The W3C ``traceparent`` of the span of the request, or of its header; None if it is absent or invalid."""
    return current_trace(services_of(request).tracer, request.headers.get("traceparent", ""))


def current_trace(tracer: Tracer | None, given: str) -> str | None:
    """The same with the value of the header; empty: it is absent."""
    if tracer is not None and (current := tracer.current) is not None:
        return current
    return given if _TRACEPARENT.fullmatch(given) else None


async def commit(writer: ChatWriter, caller: Caller, command: rest.SendMessage, trace: str | None) -> Committed:
    """Send a message and log its commit; errors as for `ChatWriter.send`."""
    add_to_log_context(chat_id=command.chat_id)
    committed = await writer.send(caller, command, trace)
    if logger.isEnabledFor(logging.DEBUG):
        event = committed.event
        facts = {"chat_id": event.chat_id, "seq": event.seq, "trace": event.trace, "repeat": not committed.created}
        logger.debug("message committed", extra=facts)
    return committed


def chat_body(chat: StoredChat, services: ApiServices) -> rest.Chat:
    """The JSON of a chat."""
    ai = chat.ai
    return rest.Chat(
        id=chat.id,
        title=chat.title,
        created_at=chat.created_at,
        last_activity_at=chat.last_activity_at,
        last_seq=chat.last_seq,
        last_message=chat.last_message,
        epoch=services.reader.epoch,
        preview=chat.preview,
        preview_file=chat.preview_file,
        unread=chat.unread,
        mentions=chat.mentions,
        notify="all" if chat.notifications is None else chat.notifications.at(datetime.now(UTC)),
        ai=rest.ChatAi(
            answers=ai.answers,
            when_active=ai.when_active,
            responder=ai.responder or services.default_responder,
            model=ai.model,
            system_prompt=ai.system_prompt,
            token_budget=ai.token_budget,
        ),
        archived=chat.state is ChatState.ARCHIVED,
        direct=chat.direct,
        retention_days=chat.retention_days,
    )


_ID: Final = TypeAdapter(QualifiedId)


def encode_position(position: ChatPosition) -> str:
    """Encode a position in the list of chats as an opaque cursor."""
    text = json.dumps([position.last_activity_ms, position.id])
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def decode_position(cursor: str) -> ChatPosition:
    """Decode a cursor of `encode_position`.

    Raises:
        RequestValidationError: the cursor is invalid.
    """
    try:
        milliseconds, chat_id = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
        # No database accepts a lone surrogate, and PostgreSQL no U+0000.
        chat_id = _ID.validate_python(chat_id)
    except (binascii.Error, ValueError, TypeError, RecursionError):
        milliseconds, chat_id = None, None
    if type(milliseconds) is not int or chat_id is None or abs(milliseconds) > MAX_SEQ:
        raise RequestValidationError(
            [{"type": "cursor", "loc": ("query", "cursor"), "msg": "Use the nextCursor of the previous page"}]
        )
    return ChatPosition(milliseconds, chat_id)


@router.get("/health", response_model=rest.Health, tags=["service"])
async def health() -> Response:
    """Confirm that the process runs."""
    return as_json(rest.Health(service="roomcast-api"))


@router.get("/api/config", response_model=rest.Config, tags=["service"])
async def config(request: Request) -> Response:
    """Read the configuration that a client needs before it connects."""
    services, options = services_of(request), request.app.state.options
    if not isinstance(options, ApiOptions):
        raise TypeError("app.state.options is not ApiOptions")
    return as_json(
        rest.Config(
            auth=services.verifier is not None,
            sign_in=services.sign_in is not None,
            gateway=rest.GatewayAddress(
                url=options.gateway_at(request.scope.get("root_path", "")), port=options.gateway_port
            ),
            files=None if services.files is None else _file_rules(services.files.options),
            epoch=services.reader.epoch,
            version=__version__,
            push_key=services.push_key,
        )
    )


def _file_rules(options: FileOptions) -> rest.FileRules:
    return rest.FileRules(max_bytes=options.max_bytes, types=options.types and list(options.types))


@router.post(
    SEND_PATH,
    status_code=201,
    response_model=Message,
    responses={
        200: {"model": Message, "description": "A message with this clientMsgId exists and is returned unchanged"}
    },
    openapi_extra={"requestBody": {"content": {"application/json": {"schema": _TEXT_OR_FILES}}}},
    tags=["messages"],
)
async def send_message(request: Request, caller: CurrentCaller, command: rest.SendMessage) -> Response:
    """Send a message. The response is sent after the commit."""
    committed = await commit(services_of(request).writer, caller, command, trace_of(request))
    return as_json(committed.event.payload, 201 if committed.created else 200)


@router.post("/api/chats", status_code=201, response_model=rest.Chat, tags=["chats"])
async def create_chat(request: Request, caller: CurrentCaller, command: rest.CreateChat) -> Response:
    """Create a chat."""
    services = services_of(request)
    chat = await services.writer.create_chat(caller, command)
    return as_json(chat_body(chat, services), 201)


@router.get("/api/chats", response_model=rest.ChatPage, tags=["chats"])
async def list_chats(
    request: Request,
    caller: CurrentCaller,
    limit: PageLimit = DEFAULT_PAGE,
    cursor: Annotated[str | None, Query(max_length=512)] = None,
    archived: bool = False,
    user_id: ActingUser = None,
) -> Response:
    """List the caller's chats, the most recently active first: the archived ones, or the others.

    Each has the user's numbers of unread messages.
    """
    before = None if cursor is None else decode_position(cursor)
    services = services_of(request)
    read = await services.reader.chats(caller, limit, before, user_id, archived=archived)
    return as_json(
        rest.ChatPage(
            chats=[chat_body(chat, services) for chat in read.chats],
            next_cursor=None if read.next is None else encode_position(read.next),
        )
    )


@router.get("/api/chats/{chat_id}", response_model=rest.Chat, tags=["chats"])
async def read_chat(request: Request, caller: CurrentCaller, chat_id: ChatId, user_id: ActingUser = None) -> Response:
    """Read one chat, with the user's number of unread messages."""
    services = services_of(request)
    return as_json(chat_body(await services.reader.chat(caller, chat_id, user_id), services))


@router.get("/api/chats/{chat_id}/events", response_model=rest.EventPage, tags=["messages"])
async def list_events(
    request: Request,
    caller: CurrentCaller,
    chat_id: ChatId,
    after: SeqParam = 0,
    limit: Annotated[int, Field(ge=1, le=MAX_EVENTS), DIGITS] = 100,
    epoch: Annotated[Epoch | None, Query()] = None,
) -> Response:
    """List the events after a cursor, in the form in which the gateway emits them. Clients use this to catch up."""
    read = await services_of(request).reader.events(caller, chat_id, after, limit, epoch)
    return as_json(
        b'{"epoch":%b,"events":[%b],"seq":%d,"more":%b,"reset":%b}'
        % (
            json.dumps(read.epoch).encode(),
            read.items,
            read.head,
            b"true" if read.more else b"false",
            b"true" if read.reset else b"false",
        )
    )


@router.get("/api/chats/{chat_id}/messages", response_model=rest.MessagePage, tags=["messages"])
async def list_messages(
    request: Request,
    caller: CurrentCaller,
    chat_id: ChatId,
    before: SeqParam | None = None,
    after: SeqParam | None = None,
    limit: PageLimit = DEFAULT_PAGE,
    role: Annotated[Role | None, Query()] = None,
    author: Annotated[UserId | None, Query()] = None,
) -> Response:
    """List messages, oldest first; without ``before`` and ``after`` the newest page.

    ``role`` and ``author``, the id of a user, leave out the messages of others.
    """
    if before is not None and after is not None:
        raise RequestValidationError(
            [{"type": "conflict", "loc": ("query", "before"), "msg": "Give before or after, not both"}]
        )
    read = await services_of(request).reader.messages(
        caller, chat_id, before=before, after=after, limit=limit, only=MessageFilter(role, author)
    )
    return as_json(
        b'{"epoch":%b,"seq":%d,"messages":[%b],"hasMore":%b}'
        % (
            json.dumps(read.epoch).encode(),
            read.head,
            b",".join(encode_message(message) for message in read.messages),
            b"true" if read.has_more else b"false",
        )
    )
