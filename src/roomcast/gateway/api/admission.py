"""Asks the API for admissions over HTTP, and caches grants for short outages of the API.

Layer: gateway. Source: docs/design.md, "Authorization".
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from pydantic import ValidationError

from roomcast.contract.errors import ErrorCode
from roomcast.contract.internal import StopDecision
from roomcast.gateway.api.batches import AdmissionBatches
from roomcast.gateway.api.client import ApiClient
from roomcast.gateway.ports import Admission, AdmissionDenied, ApiUnavailable, Cursor, Head, Refused, UnknownTurn


@dataclass(frozen=True, slots=True, kw_only=True)
class GrantOptions:
    """Options of the cache of granted admissions, which the gateway uses while the API is unavailable.

    Attributes:
        ttl_s: How long a grant is valid.
        max_grants: Size of the cache; the oldest grant is evicted first.
    """

    ttl_s: float = 60.0
    max_grants: int = 10_000


class HttpAdmission:
    """`ChatAdmission` over HTTP.

    Args:
        api: The HTTP client.
        options: Options of the cache.
        clock: Monotonic seconds.
    """

    def __init__(
        self, api: ApiClient, options: GrantOptions | None = None, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._api = api
        self._batches = AdmissionBatches(api)
        self._options = options or GrantOptions()
        self._clock = clock
        # The time and the head of each grant, oldest first.
        self._grants: OrderedDict[tuple[str, str | None], tuple[float, Head]] = OrderedDict()

    async def close(self) -> None:
        """Cancel the requests in progress."""
        await self._batches.close()

    async def admit(self, chat_id: str, user_id: str | None, since: Cursor | None) -> Admission:
        """See the port."""
        try:
            return await self._ask(chat_id, user_id, since)
        except ApiUnavailable:
            head = self._granted((chat_id, user_id))
            # Only the database knows whether a cursor of another epoch belongs to this history.
            if head is None or (since is not None and since.epoch != head.epoch):
                raise
            return Admission(head, reset=False)

    async def check(self) -> None:
        """Ask the API no question, to learn whether it answers this gateway.

        Raises:
            ApiRefused: a setting is wrong.
            ApiUnavailable: no answer.
        """
        await self._api.post("/api/internal/admissions", {"asks": []})

    async def confirm(self, chat_id: str, user_id: str) -> None:
        """See the port."""
        await self._ask(chat_id, user_id, None)

    def revoke(self, chat_id: str, user_id: str) -> None:
        """See the port."""
        self._grants.pop((chat_id, user_id), None)

    async def _ask(self, chat_id: str, user_id: str | None, since: Cursor | None) -> Admission:
        question = {
            "chatId": chat_id,
            "userId": user_id,
            "since": None if since is None else {"epoch": since.epoch, "seq": since.seq},
        }
        decision = await self._batches.ask(question)
        if decision.admitted is not None:
            head = Head(decision.admitted.epoch, decision.admitted.seq)
            self._remember((chat_id, user_id), head)
            return Admission(head, decision.admitted.reset, decision.admitted.silent_until)
        if decision.refused in {ErrorCode.FORBIDDEN, ErrorCode.CHAT_NOT_FOUND}:
            self._grants.pop((chat_id, user_id), None)
            raise AdmissionDenied("the API does not admit the user")
        raise ApiUnavailable("the API cannot decide at the moment")

    async def request_publish(self, chat_id: str) -> None:
        """See the port."""
        await self._api.post("/api/internal/nudges", {"chatId": chat_id})

    async def stop_turn(self, chat_id: str, turn_id: str, user_id: str | None) -> None:
        """See the port."""
        body = {"chatId": chat_id, "turnId": turn_id, "userId": user_id}
        _, answer = await self._api.post("/api/internal/stops", body)
        try:
            decision = StopDecision.model_validate_json(answer)
        except ValidationError as error:
            raise ApiUnavailable(f"the API's answer to a stop is invalid: {error.error_count()} errors") from None
        if decision.refused is ErrorCode.TURN_NOT_FOUND:
            raise UnknownTurn
        if decision.refused in {ErrorCode.FORBIDDEN, ErrorCode.MUTED}:
            raise Refused(decision.refused, decision.message or "you may not stop answers in this chat")
        if decision.refused is not None:
            raise AdmissionDenied("the API does not admit the user")

    def _granted(self, key: tuple[str, str | None]) -> Head | None:
        found = self._grants.get(key)
        return None if found is None or self._clock() - found[0] > self._options.ttl_s else found[1]

    def _remember(self, key: tuple[str, str | None], head: Head) -> None:
        self._grants[key] = (self._clock(), head)
        self._grants.move_to_end(key)
        if len(self._grants) > self._options.max_grants:
            self._grants.popitem(last=False)
