"""The events that clients send: ``join-…``, ``leave-chat``, ``typing``, ``ai-…``, ``auth-refresh`` and ``ping``.

Each event has an ack. The ack of a refused or unknown event contains an error; a client that requested no ack receives
an ``error`` event instead.

With authentication a client connects with a token (``auth: {token}``, never in the URL), may join its own user's room
only, and is disconnected when the token expires, unless ``auth-refresh`` replaces it by a newer one of the same user.

Layer: gateway. Source: the guide's ``handlers.ts``; contract/gateway.py for payloads and acks.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from roomcast.auth.errors import KeyNotLoaded, KeysUnavailable, SessionEnded, TokenRejected
from roomcast.auth.tokens import Identity, TokenVerifier
from roomcast.chat.errors import RateLimitReached
from roomcast.chat.policies.rates import LimitName, address_key
from roomcast.chat.ports import RateLimiter
from roomcast.contract.errors import AckError, AckFailure, ErrorCode
from roomcast.contract.gateway import (
    PONG,
    Ack,
    InvalidPayload,
    JoinUserAck,
    LeaveChatAck,
    RefreshAuthAck,
    StopAnswer,
    StopAnswerAck,
    TypingAck,
    parse_join_chat,
    parse_join_user,
    parse_leave_chat,
    parse_refresh_auth,
    parse_resume_answer,
    parse_stop_answer,
    parse_typing,
)
from roomcast.contract.tenants import DEFAULT_TENANT, acting_in
from roomcast.gateway.connection_limits import ConnectionLimits, OpenConnectionLimits
from roomcast.gateway.delivery.joins import Joins
from roomcast.gateway.delivery.resumes import Resumes
from roomcast.gateway.ports import AdmissionDenied, ApiUnavailable, ChatAdmission, Refused, UnknownTurn
from roomcast.gateway.presence.tracker import PresenceTracker
from roomcast.gateway.presence.typing import TypingNotices
from roomcast.gateway.rooms import user_room
from roomcast.observability.log_context import log_context
from roomcast.realtime import RoomLimitExceeded, Server, Socket, SocketGone, errors

logger = logging.getLogger(__name__)

#: Event names are untrusted input; an error message repeats at most this many characters of a name.
_NAME_CHARS: Final = 64
#: The time until a token expires is computed again at this interval, since the wall clock may have been adjusted.
_LONGEST_TIMER_S: Final = 30.0
#: The end of the year 9999.
_LAST_SECOND: Final = 253_402_300_799.0


@dataclass(slots=True)
class _Login:
    """The user of an authenticated socket, and the timer that disconnects it when its token expires."""

    identity: Identity
    expiry: asyncio.TimerHandle | None = None


class Handlers:
    """Handles the clients' events; registers itself with a server.

    Args:
        server: The Socket.IO server.
        joins: The chats that sockets follow.
        resumes: Reads answers that are being written.
        admission: Stops turns.
        presence: Receives the user of each socket.
        typing: Receives typing notices.
        verifier: Verifies tokens; None: authentication is off.
        expiry_leeway_s: How long a socket may outlive its token, since clocks may differ.
        clock: Unix seconds.
        limiter: Limits connections and events; None: no limit.
        open_limits: How many connections may be open at once; None: the defaults.
    """

    def __init__(
        self,
        server: Server,
        joins: Joins,
        resumes: Resumes,
        admission: ChatAdmission,
        presence: PresenceTracker,
        typing: TypingNotices,
        verifier: TokenVerifier | None,
        *,
        expiry_leeway_s: float = 0.0,
        clock: Callable[[], float] = time.time,
        limiter: RateLimiter | None = None,
        open_limits: OpenConnectionLimits | None = None,
    ) -> None:
        self._server = server
        self._joins = joins
        self._resumes = resumes
        self._admission = admission
        self._presence = presence
        self._typing = typing
        self._verifier = verifier
        self._expiry_leeway_s = expiry_leeway_s
        self._clock = clock
        self._logins: dict[str, _Login] = {}
        self._limiter = limiter
        self._connections = ConnectionLimits(limiter, open_limits or OpenConnectionLimits())
        # By socket: the user, or without authentication the address. Clients without a key have no limit.
        self._limit_keys: dict[str, str] = {}
        server.on("connect", self.connect)
        server.on("disconnect", self.disconnect)
        server.on("join-user", self._limited(LimitName.EVENTS, self.join_user))
        server.on("join-chat", self._limited(LimitName.JOINS, self.join_chat))
        server.on("leave-chat", self._limited(LimitName.EVENTS, self.leave_chat))
        server.on("typing", self._limited(LimitName.TYPING, self.typing))
        server.on("ai-resume", self._limited(LimitName.EVENTS, self.ai_resume))
        server.on("ai-stop", self._limited(LimitName.EVENTS, self.ai_stop))
        server.on("auth-refresh", self._limited(LimitName.EVENTS, self.auth_refresh))
        server.on("ping", self.ping)
        server.on("*", self.unknown)

    # --- lifecycle

    def connect(self, sid: str, environ: dict[str, Any], auth: Any = None) -> Awaitable[None] | None:
        """Accept a client; with authentication, only if its token is valid."""
        address = None if self._limiter is None else address_key(environ.get("REMOTE_ADDR", ""))
        if address is not None:
            self._count(sid, LimitName.ADDRESS_CONNECTIONS, address)
        if self._verifier is None:
            if address is not None:
                self._limit_keys[sid] = address
            return None
        token = auth.get("token") if isinstance(auth, dict) else None
        try:
            identity = self._verifier.verify(token)
        except KeyNotLoaded:
            return self._connect_later(self._verifier, sid, token)
        except TokenRejected as error:
            self._connections.remove(sid)
            raise _unauthorized(error) from None
        self._log_in(sid, identity)
        return None

    async def _connect_later(self, verifier: TokenVerifier, sid: str, token: object) -> None:
        """Accept or refuse a client after the keys of the identity provider are loaded."""
        try:
            identity = await verifier.authenticate(token)
        except TokenRejected as error:
            self._connections.remove(sid)
            raise _unauthorized(error) from None
        except KeysUnavailable as error:
            self._connections.remove(sid)
            raise errors.ConnectionRefusedError(str(error), {"code": ErrorCode.UNAVAILABLE.value}) from None
        self._log_in(sid, identity)  # if the client has left meanwhile, `disconnect` is called next

    def _count(self, sid: str, limit: LimitName, key: str) -> None:
        try:
            self._connections.add(sid, limit, key)
        except RateLimitReached as error:
            self._connections.remove(sid)
            data = {"code": ErrorCode.RATE_LIMITED.value, "retryAfter": error.retry_after_s}
            raise errors.ConnectionRefusedError(str(error), data) from None

    def _log_in(self, sid: str, identity: Identity) -> None:
        self._count(sid, LimitName.CONNECTIONS, identity.user_id)
        self._limit_keys[sid] = identity.user_id
        login = self._logins[sid] = _Login(identity)
        self._presence.identify(sid, identity.user_id)
        self._schedule_expiry(sid, login)

    def disconnect(self, sid: str, _reason: str) -> None:
        """Forget a client."""
        self._joins.drop(sid)
        self._presence.disconnected(sid)
        self._limit_keys.pop(sid, None)
        self._connections.remove(sid)
        login = self._logins.pop(sid, None)
        if login is not None and login.expiry is not None:
            login.expiry.cancel()

    def _schedule_expiry(self, sid: str, login: _Login) -> None:
        left_s = login.identity.expires_at + self._expiry_leeway_s - self._clock()
        if left_s <= 0:
            self._cut(sid, "the token has expired; connect again with a new one")
            return
        loop = asyncio.get_running_loop()
        login.expiry = loop.call_later(min(left_s, _LONGEST_TIMER_S), self._schedule_expiry, sid, login)

    def _cut(self, sid: str, message: str) -> None:
        try:
            socket = self._server.socket(sid)
        except KeyError:
            return
        _emit_error(socket, ErrorCode.UNAUTHORIZED, message)
        socket.disconnect()

    def close_ended_sessions(self) -> None:
        """Disconnect the clients whose tokens were ended."""
        verifier = self._verifier
        if verifier is None:
            return
        for sid in [sid for sid, login in self._logins.items() if verifier.has_ended(login.identity)]:
            self._cut(sid, str(SessionEnded()))

    # --- events

    def _limited(self, limit: LimitName, handler: Callable[..., Any]) -> Callable[..., Any]:
        """A handler that runs ``handler`` unless the client has reached the limit."""
        limiter, keys, handler = self._limiter, self._limit_keys, self._in_tenant(handler)
        if limiter is None:
            return handler

        def handle(sid: str, *args: Any) -> Any:
            key = keys.get(sid)
            if key is not None:
                try:
                    limiter.charge((limit, key, 1))
                except RateLimitReached as error:
                    return self._refuse_rate(limiter, sid, error)
            return handler(sid, *args)

        return handle

    def _in_tenant(self, handler: Callable[..., Any]) -> Callable[..., Any]:
        """A handler whose payload has the ids of the client's tenant. Handlers read payloads before they wait."""

        def handle(sid: str, *args: Any) -> Any:
            login = self._logins.get(sid)
            with acting_in(DEFAULT_TENANT if login is None else login.identity.tenant):
                return handler(sid, *args)

        return handle

    def _refuse_rate(self, limiter: RateLimiter, sid: str, error: RateLimitReached) -> dict[str, Any] | None:
        """Refuse an event; disconnect a client that keeps sending in spite of refusals."""
        socket = self._server.socket(sid)
        wants_ack = socket.ack_wanted
        try:
            limiter.charge((LimitName.REFUSALS, sid, 1))
        except RateLimitReached:
            _emit_error(socket, ErrorCode.RATE_LIMITED, f"{error}; the client ignores this", error.retry_after_s)
            socket.disconnect()
            return None
        return _refuse(socket, wants_ack, ErrorCode.RATE_LIMITED, str(error), error.retry_after_s)

    def ping(self, _sid: str, *_args: Any) -> str:
        """Answer the string ``pong``: the heartbeat of the guide's client."""
        return PONG

    def join_user(self, sid: str, *args: Any) -> dict[str, Any] | None:
        """Enter a user's room. Payload: the user id; with authentication it must be the client's own."""
        socket = self._server.socket(sid)
        wants_ack = socket.ack_wanted
        try:
            user_id = parse_join_user(_first(args))
        except InvalidPayload as error:
            return _refuse(socket, wants_ack, ErrorCode.INVALID, f"{error}; send the user id, a string")
        login = self._logins.get(sid)
        if self._verifier is not None and (login is None or login.identity.user_id != user_id):
            return _refuse(socket, wants_ack, ErrorCode.FORBIDDEN, "the token belongs to another user")
        try:
            socket.join(user_room(user_id))
        except RoomLimitExceeded as error:
            return _refuse(socket, wants_ack, ErrorCode.LIMIT_REACHED, str(error))
        except SocketGone:
            return None  # the socket has disconnected, so there is no client to answer
        self._presence.identify(sid, user_id)
        return JoinUserAck(user_id=user_id, expires_in=None if login is None else self._left_s(login)).model_dump()

    def auth_refresh(self, sid: str, *args: Any) -> dict[str, Any] | Awaitable[dict[str, Any] | None] | None:
        """Replace the token of a client before it expires. Payload: ``{token}``, a token of the same user."""
        socket = self._server.socket(sid)
        wants_ack = socket.ack_wanted
        try:
            token = parse_refresh_auth(_first(args)).token
        except InvalidPayload as error:
            return _refuse(socket, wants_ack, ErrorCode.INVALID, f"{error}; send {{token}}")
        if self._verifier is None:
            return RefreshAuthAck(expires_at=None, expires_in=None).model_dump(mode="json")
        try:
            identity = self._verifier.verify(token)
        except KeyNotLoaded:
            return self._refresh_later(self._verifier, socket, wants_ack, token)
        except TokenRejected as error:
            return _refuse(socket, wants_ack, ErrorCode.UNAUTHORIZED, str(error))
        return self._refresh(socket, wants_ack, identity)

    async def _refresh_later(
        self, verifier: TokenVerifier, socket: Socket, wants_ack: bool, token: str
    ) -> dict[str, Any] | None:
        try:
            identity = await verifier.authenticate(token)
        except TokenRejected as error:
            return _refuse(socket, wants_ack, ErrorCode.UNAUTHORIZED, str(error))
        except KeysUnavailable as error:
            return _refuse(socket, wants_ack, ErrorCode.UNAVAILABLE, str(error))
        return self._refresh(socket, wants_ack, identity)

    def _refresh(self, socket: Socket, wants_ack: bool, identity: Identity) -> dict[str, Any] | None:
        login = self._logins.get(socket.sid)
        if login is None:
            return None  # the client has left meanwhile
        if identity.user_id != login.identity.user_id:
            message = "the token belongs to another user; connect again to change the user"
            return _refuse(socket, wants_ack, ErrorCode.FORBIDDEN, message)
        # An earlier token that arrives late does not shorten the session.
        if identity.expires_at > login.identity.expires_at:
            login.identity = identity
            if login.expiry is not None:
                login.expiry.cancel()
            self._schedule_expiry(socket.sid, login)
        ack = RefreshAuthAck(expires_at=_utc(login.identity.expires_at), expires_in=self._left_s(login))
        return ack.model_dump(mode="json")

    def _left_s(self, login: _Login) -> float:
        return max(0.0, round(login.identity.expires_at - self._clock(), 3))

    def join_chat(self, sid: str, *args: Any) -> dict[str, Any] | Awaitable[dict[str, Any] | None] | None:
        """Follow a chat. Payload: the chat id, or ``{chatId, since?, stream?}``; see `contract.gateway.JoinChat`."""
        socket = self._server.socket(sid)
        wants_ack = socket.ack_wanted
        try:
            payload = parse_join_chat(_first(args))
        except InvalidPayload as error:
            hint = "send the chat id, or {chatId, since?: {epoch, seq}, stream?: true or false}"
            return _refuse(socket, wants_ack, ErrorCode.INVALID, f"{error}; {hint}")
        login = self._logins.get(sid)
        if login is None and self._verifier is not None:
            # Unreachable: `connect` rejects clients without a login. Without this check a bug there would admit them.
            return _refuse(socket, wants_ack, ErrorCode.UNAUTHORIZED, "connect again with a token")
        user_id = None if login is None else login.identity.user_id
        join = self._joins.join(socket, payload.chat_id, user_id, payload.since, stream=payload.stream)
        return self._answer(socket, wants_ack, join, payload.chat_id)

    def leave_chat(self, sid: str, *args: Any) -> dict[str, Any] | Awaitable[dict[str, Any] | None] | None:
        """Stop following a chat. Payload: the chat id, or ``{chatId}``."""
        socket = self._server.socket(sid)
        wants_ack = socket.ack_wanted
        try:
            payload = parse_leave_chat(_first(args))
        except InvalidPayload as error:
            return _refuse(socket, wants_ack, ErrorCode.INVALID, f"{error}; send the chat id, or {{chatId}}")
        return self._answer(socket, wants_ack, self._leave(socket, payload.chat_id), payload.chat_id)

    def typing(self, sid: str, *args: Any) -> dict[str, Any] | None:
        """Notify the chat's other followers that the user is typing. Payload: the chat id, or ``{chatId, typing}``."""
        socket = self._server.socket(sid)
        wants_ack = socket.ack_wanted
        try:
            payload = parse_typing(_first(args))
            self._typing.set_typing(sid, payload.chat_id, typing=payload.typing)
        except InvalidPayload as error:
            return _refuse(socket, wants_ack, ErrorCode.INVALID, f"{error}; send {{chatId, typing: true or false}}")
        except Refused as error:
            return _refuse(socket, wants_ack, error.code, str(error))
        return TypingAck(chat_id=payload.chat_id).model_dump()

    def ai_resume(self, sid: str, *args: Any) -> dict[str, Any] | Awaitable[dict[str, Any] | None] | None:
        """Read an answer that is being written. Payload: ``{chatId, turnId}``."""
        socket = self._server.socket(sid)
        wants_ack = socket.ack_wanted
        try:
            payload = parse_resume_answer(_first(args))
        except InvalidPayload as error:
            return _refuse(socket, wants_ack, ErrorCode.INVALID, f"{error}; send {{chatId, turnId}}")
        resume = self._resumes.resume(sid, payload.chat_id, payload.turn_id)
        return self._answer(socket, wants_ack, resume, payload.chat_id)

    def ai_stop(self, sid: str, *args: Any) -> dict[str, Any] | Awaitable[dict[str, Any] | None] | None:
        """Stop an answer. Payload: ``{chatId, turnId}``."""
        socket = self._server.socket(sid)
        wants_ack = socket.ack_wanted
        try:
            payload = parse_stop_answer(_first(args))
        except InvalidPayload as error:
            return _refuse(socket, wants_ack, ErrorCode.INVALID, f"{error}; send {{chatId, turnId}}")
        login = self._logins.get(sid)
        if login is None and self._verifier is not None:
            return _refuse(socket, wants_ack, ErrorCode.UNAUTHORIZED, "connect again with a token")  # as in `join_chat`
        stop = self._stop(payload, None if login is None else login.identity.user_id)
        return self._answer(socket, wants_ack, stop, payload.chat_id)

    def unknown(self, event: str, sid: str, *_args: Any) -> dict[str, Any] | None:
        """Refuse an unknown event."""
        socket = self._server.socket(sid)
        message = f"this server has no event {event[:_NAME_CHARS]!r}"
        return _refuse(socket, socket.ack_wanted, ErrorCode.UNKNOWN_EVENT, message)

    async def _leave(self, socket: Socket, chat_id: str) -> LeaveChatAck:
        await self._joins.leave(socket, chat_id)
        return LeaveChatAck(chat_id=chat_id)

    async def _stop(self, payload: StopAnswer, user_id: str | None) -> StopAnswerAck:
        try:
            await self._admission.stop_turn(payload.chat_id, payload.turn_id, user_id)
        except AdmissionDenied:
            message = "there is no such chat, or you are not a member of it"
            raise Refused(ErrorCode.FORBIDDEN, message) from None
        except UnknownTurn:
            raise Refused(ErrorCode.TURN_NOT_FOUND, "the chat has no such turn") from None
        except ApiUnavailable as error:
            message = "the stop cannot be stored at the moment: try again soon"
            raise Refused(ErrorCode.UNAVAILABLE, message) from error
        return StopAnswerAck(turn_id=payload.turn_id)

    def user_of(self, sid: str) -> str | None:
        """The user whose token a socket has presented; None: unknown."""
        login = self._logins.get(sid)
        return None if login is None else login.identity.user_id

    async def _answer(
        self, socket: Socket, wants_ack: bool, work: Awaitable[Ack], chat_id: str
    ) -> dict[str, Any] | None:
        # There must be no await between the end of the work and the ack (see `Joins`).
        with log_context(socket_id=socket.sid, user_id=self.user_of(socket.sid), chat_id=chat_id):
            try:
                ack = await work
            except Refused as error:
                if error.__cause__ is not None:
                    logger.info("an event is refused as unavailable", extra={"error": repr(error.__cause__)})
                return _refuse(socket, wants_ack, error.code, str(error))
            except Exception:
                logger.exception("the handler of an event failed")
                return _refuse(socket, wants_ack, ErrorCode.INTERNAL, "internal error; the server has logged it")
        return ack.model_dump()


def _utc(seconds: float) -> datetime:
    # A token may be valid beyond the last year that can be written.
    return datetime.fromtimestamp(min(seconds, _LAST_SECOND), UTC)


def _unauthorized(error: TokenRejected) -> errors.ConnectionRefusedError:
    return errors.ConnectionRefusedError(str(error), {"code": ErrorCode.UNAUTHORIZED.value})


def _first(args: tuple[Any, ...]) -> Any:
    return args[0] if args else None


def _refuse(
    socket: Socket, wants_ack: bool, code: ErrorCode, message: str, retry_after_s: int | None = None
) -> dict[str, Any] | None:
    if wants_ack:
        error = AckError(code=code, message=message, retry_after=retry_after_s)
        return AckFailure(error=error).model_dump(mode="json", by_alias=True)
    _emit_error(socket, code, message, retry_after_s)
    return None


def _emit_error(socket: Socket, code: ErrorCode, message: str, retry_after_s: int | None = None) -> None:
    error = AckError(code=code, message=message, retry_after=retry_after_s)
    socket.emit("error", error.model_dump(mode="json", by_alias=True))
