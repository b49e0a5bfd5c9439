from __future__ import annotations

import json
from collections.abc import Callable

import httpx
import pytest

from roomcast.auth.options import AuthOptions
from roomcast.auth.tokens import TokenIssuer, TokenVerifier
from roomcast.gateway.api.admission import GrantOptions, HttpAdmission
from roomcast.gateway.api.client import ApiClient, ApiClientOptions
from roomcast.gateway.ports import (
    Admission,
    AdmissionDenied,
    ApiRefused,
    ApiUnavailable,
    Cursor,
    Head,
    Refused,
    UnknownTurn,
)
from support.api_http import HandledHttp

AUTH = AuthOptions("a secret of more than thirty-two bytes")
GRANTED = httpx.Response(200, json={"answers": [{"admitted": {"epoch": "e1", "seq": 7, "reset": False}}]})


class Api:
    """A fake API and a clock."""

    def __init__(self, answer: httpx.Response | Exception = GRANTED, *, auth: bool = False) -> None:
        self.answer = answer
        self.requests: list[httpx.Request] = []
        self.now = 1_000.0
        self.client = ApiClient(
            ApiClientOptions(url="http://api.test"),
            TokenIssuer(AUTH) if auth else None,
            http=HandledHttp(self._handle),
            clock=self._clock,
        )
        self.admission = HttpAdmission(self.client, GrantOptions(ttl_s=60, max_grants=2), clock=self._clock)

    def _clock(self) -> float:
        return self.now

    def _handle(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


async def test_the_api_receives_the_cursor_and_its_decision_is_returned() -> None:
    api = Api()
    assert await api.admission.admit("c1", "ada", Cursor(epoch="e1", seq=3)) == Admission(Head("e1", 7), reset=False)
    (request,) = api.requests
    assert (request.method, request.url.path) == ("POST", "/api/internal/admissions")
    ask = {"chatId": "c1", "userId": "ada", "since": {"epoch": "e1", "seq": 3}}
    assert json.loads(request.content) == {"asks": [ask]}
    assert "authorization" not in request.headers


async def test_requests_carry_a_service_token_that_is_renewed() -> None:
    api = Api(auth=True)
    await api.admission.admit("c1", "ada", None)
    await api.admission.admit("c1", "ada", None)
    api.now += 301
    await api.admission.admit("c1", "ada", None)
    tokens = [request.headers["authorization"].removeprefix("Bearer ") for request in api.requests]
    assert tokens[0] == tokens[1]
    identity = TokenVerifier(AUTH).verify(tokens[2])
    assert (identity.user_id, identity.service) == ("gateway", True)


@pytest.mark.parametrize("code", ["forbidden", "chat-not-found"])
async def test_a_refusal_is_denied_and_evicts_the_grant(code) -> None:
    api = Api()
    await api.admission.admit("c1", "ada", None)
    api.answer = httpx.Response(200, json={"answers": [{"refused": code}]})
    with pytest.raises(AdmissionDenied):
        await api.admission.admit("c1", "ada", None)
    api.answer = httpx.ConnectError("down")
    with pytest.raises(ApiUnavailable):
        await api.admission.admit("c1", "ada", None)


@pytest.mark.parametrize(
    "answer",
    [
        httpx.ConnectError("down"),
        httpx.ReadTimeout("slow"),
        httpx.Response(401),
        httpx.Response(422),
        httpx.Response(429),
        httpx.Response(500),
        httpx.Response(503),
        httpx.Response(200, text="<html>"),
        httpx.Response(403),
        httpx.Response(404),
        httpx.Response(200, json={"answers": [{"admitted": {"epoch": 5}}]}),
        httpx.Response(200, json={"answers": []}),
        httpx.Response(200, json={"answers": [{"refused": "unavailable"}]}),
        httpx.Response(200, json={"answers": [{}]}),
    ],
)
async def test_no_usable_answer_is_unavailable_never_forbidden(answer) -> None:
    with pytest.raises(ApiUnavailable):
        await Api(answer).admission.admit("c1", "ada", None)


@pytest.mark.parametrize(
    ("status", "setting"),
    [
        (401, "ROOMCAST_SECRET"),
        (403, "ROOMCAST_SECRET"),
        (404, "API_URL"),
        (301, "API_URL"),
        (421, "API_URL"),
        (429, None),
        (500, None),
    ],
)
async def test_an_answer_that_waiting_cannot_mend_names_the_setting_in_one_line(status, setting, caplog) -> None:
    api = Api(httpx.Response(status))
    for _ in range(3):
        with pytest.raises(ApiUnavailable) as unavailable:
            await api.admission.admit("c1", "ada", None)
        with pytest.raises(ApiUnavailable if setting is None else ApiRefused) as refused:
            await api.admission.check()
        assert setting is None or setting in str(refused.value)
        assert type(unavailable.value) is ApiUnavailable
    assert [setting in message for message in caplog.messages] == ([] if setting is None else [True])


async def test_a_check_of_the_api_asks_no_question() -> None:
    await Api(httpx.Response(200, json={"answers": []})).admission.check()


@pytest.mark.parametrize(("age_s", "granted"), [(60.0, True), (60.1, False)])
async def test_a_grant_is_valid_for_a_minute_while_the_api_is_unavailable(age_s, granted) -> None:
    api = Api()
    await api.admission.admit("c1", "ada", None)
    api.answer = httpx.ConnectError("down")
    api.now += age_s

    async def again() -> Admission:
        return await api.admission.admit("c1", "ada", Cursor(epoch="e1", seq=5))

    await expect_grant(again, granted=granted)


@pytest.mark.parametrize(
    ("chat_id", "user_id", "since"),
    [("c2", "ada", None), ("c1", "bob", None), ("c1", None, None), ("c1", "ada", Cursor(epoch="e0", seq=5))],
)
async def test_a_grant_is_valid_for_its_user_chat_and_epoch_only(chat_id, user_id, since) -> None:
    api = Api()
    await api.admission.admit("c1", "ada", None)
    api.answer = httpx.ConnectError("down")
    with pytest.raises(ApiUnavailable):
        await api.admission.admit(chat_id, user_id, since)


async def test_grants_are_bounded() -> None:
    api = Api()
    for chat_id in ("c1", "c2", "c3"):
        await api.admission.admit(chat_id, "ada", None)
    api.answer = httpx.ConnectError("down")
    with pytest.raises(ApiUnavailable):
        await api.admission.admit("c1", "ada", None)
    assert (await api.admission.admit("c3", "ada", None)).head == Head("e1", 7)


async def test_a_request_to_publish_is_sent_to_the_relay() -> None:
    api = Api(httpx.Response(204))
    await api.admission.request_publish("c1")
    assert api.requests[0].url.path == "/api/internal/nudges"


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (httpx.Response(200, json={"refused": None}), None),
        (httpx.Response(200, json={"refused": "chat-not-found"}), AdmissionDenied),
        (httpx.Response(200, json={"refused": "turn-not-found"}), UnknownTurn),
        (httpx.Response(200, json={"refused": "forbidden", "message": "why"}), Refused),
        (httpx.Response(200, json={"refused": "muted"}), Refused),
        (httpx.Response(200, text="no JSON"), ApiUnavailable),
        (httpx.Response(503), ApiUnavailable),
        (httpx.Response(404), ApiRefused),
        (httpx.ConnectError("down"), ApiUnavailable),
    ],
)
async def test_a_stop_is_sent_to_the_api_which_decides(answer, error) -> None:
    api = Api(answer, auth=True)
    stop = api.admission.stop_turn("c1", "t1", "ada")
    if error is None:
        await stop
    else:
        with pytest.raises(error):
            await stop
    (request,) = api.requests
    assert request.url.path == "/api/internal/stops"
    assert json.loads(request.content) == {"chatId": "c1", "turnId": "t1", "userId": "ada"}
    assert request.headers["authorization"].startswith("Bearer ")


async def expect_grant(work: Callable[[], object], *, granted: bool) -> None:
    if granted:
        assert await work() is not None  # type: ignore[misc]
    else:
        with pytest.raises(ApiUnavailable):
            await work()  # type: ignore[misc]
