"""The routes for gateways. They are served at the internal address only, so no public path reaches them.

Layer: api.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Final

from fastapi import APIRouter, Request
from starlette.exceptions import HTTPException
from starlette.responses import Response

from roomcast.api.callers import GatewayCaller
from roomcast.api.routes.messages import as_json, services_of
from roomcast.api.services import ApiServices
from roomcast.chat.errors import ChatNotFound, Muted, NotAMember, RightMissing, StoreUnavailable, TurnNotFound
from roomcast.chat.model import ANYONE, Caller
from roomcast.chat.use_cases.admission import Admissions
from roomcast.contract import internal
from roomcast.contract.errors import ErrorCode
from roomcast.observability.log_context import add_to_log_context

logger = logging.getLogger(__name__)

internal_router = APIRouter()

ADMISSIONS_PATH: Final = "/api/internal/admissions"


@internal_router.post(ADMISSIONS_PATH, response_model=internal.AdmissionAnswers)
async def admit(request: Request, _service: GatewayCaller, asked: internal.AdmissionRequests) -> Response:
    """Decide for a gateway which users may join which chats, and return the heads of those chats."""
    return as_json(await decide(services_of(request), asked))


async def decide(services: ApiServices, asked: internal.AdmissionRequests) -> internal.AdmissionAnswers:
    """One decision for each question.

    Raises:
        HTTPException: 422, a question lacks its user.
    """
    if services.verifier is not None and any(ask.user_id is None for ask in asked.asks):
        raise HTTPException(422, "userId is required while authentication is on")
    answers = await asyncio.gather(*(_admit(services.admissions, ask) for ask in asked.asks))
    return internal.AdmissionAnswers(answers=answers)


async def _admit(admissions: Admissions, ask: internal.AdmissionRequest) -> internal.AdmissionDecision:
    try:
        admitted = await admissions.admit(ask.chat_id, ask.user_id, ask.since)
    except ChatNotFound:
        return internal.AdmissionDecision(refused=ErrorCode.CHAT_NOT_FOUND)
    except NotAMember:
        return internal.AdmissionDecision(refused=ErrorCode.FORBIDDEN)
    except StoreUnavailable:
        # Only this decision of the batch is unavailable.
        return internal.AdmissionDecision(refused=ErrorCode.UNAVAILABLE)
    except Exception:
        # A bug in one decision must not fail the whole batch, nor each retry of the batch.
        logger.exception("admission failed", extra={"chat_id": ask.chat_id})
        return internal.AdmissionDecision(refused=ErrorCode.UNAVAILABLE)
    answer = internal.AdmissionAnswer(
        epoch=admitted.epoch, seq=admitted.seq, reset=admitted.reset, silent_until=admitted.silent_until
    )
    return internal.AdmissionDecision(admitted=answer)


@internal_router.post("/api/internal/ended-sessions", response_model=internal.EndedSessions)
async def list_ended_sessions(
    request: Request, _service: GatewayCaller, asked: internal.EndedSessionsRequest
) -> Response:
    """List the access tokens that were ended before their expiry, for a gateway."""
    return as_json(await services_of(request).sessions.ended(asked.after))


@internal_router.post("/api/internal/stops", response_model=internal.StopDecision)
async def stop_turn(request: Request, _service: GatewayCaller, asked: internal.StopRequest) -> Response:
    """Stop a turn for a user of a gateway."""
    services = services_of(request)
    if services.verifier is not None and asked.user_id is None:
        raise HTTPException(422, "userId is required while authentication is on")
    add_to_log_context(chat_id=asked.chat_id, user_id=asked.user_id)
    caller = ANYONE if services.verifier is None else Caller(asked.user_id)
    refused = message = None
    try:
        await services.turns.stop(caller, asked.chat_id, asked.turn_id)
    except ChatNotFound:
        refused = ErrorCode.CHAT_NOT_FOUND
    except TurnNotFound:
        refused = ErrorCode.TURN_NOT_FOUND
    except (RightMissing, Muted) as error:
        # Not a 403: that would be about the gateway.
        refused = ErrorCode.MUTED if isinstance(error, Muted) else ErrorCode.FORBIDDEN
        message = str(error)
    return as_json(internal.StopDecision(refused=refused, message=message))


@internal_router.post("/api/internal/nudges", status_code=204)
async def request_publish(request: Request, _service: GatewayCaller, asked: internal.PublishRequest) -> Response:
    """Bring the log of a chat up to date for a gateway that detected a gap. The response is sent after the attempt."""
    add_to_log_context(chat_id=asked.chat_id)
    await services_of(request).admissions.request_publish(asked.chat_id)
    return Response(status_code=204)
