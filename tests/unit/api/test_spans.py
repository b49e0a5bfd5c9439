"""The spans of requests, of their commits, and of the publishing of their events."""

from __future__ import annotations

from typing import Any

import pytest
from opentelemetry.trace import StatusCode

from roomcast.api.app import create_internal_api
from support.api_client import bearer, open_api
from support.spans import SAMPLED, TRACE_ID, UNSAMPLED, is_child, recorded_spans, trace_id

CONTENT = "recognisable-content"
MESSAGE = {"chatId": "lobby", "content": CONTENT, "role": "USER", "userId": "recognisable-name"}


@pytest.fixture
async def spans():
    async with recorded_spans() as spans:
        yield spans


async def send(api: Any, trace: str | None = SAMPLED) -> Any:
    headers = {} if trace is None else {"traceparent": trace}
    return await api.post("/api/chat/messages", json=MESSAGE, headers=headers)


async def test_a_post_is_one_trace_with_its_commit_and_its_publishing(spans, tmp_path) -> None:
    async with open_api(tmp_path, tracer=spans.tracer) as (api, backend):
        assert (await send(api)).status_code == 201
        published = await spans.wait_for("publish event")
        (event,) = await backend.store.chats.recent_events("lobby", 1)
    request, commit = spans.one("POST /api/chat/messages"), spans.one("commit")
    assert trace_id(request) == TRACE_ID
    assert is_child(commit, request)
    assert is_child(published, request)
    assert event.trace.split("-")[2] == f"{request.context.span_id:016x}"
    assert (request.kind.name, commit.kind.name, published.kind.name) == ("SERVER", "CLIENT", "PRODUCER")
    assert dict(request.attributes) == {
        "http.request.method": "POST",
        "http.route": "/api/chat/messages",
        "http.response.status_code": 201,
    }
    assert commit.attributes["db.system.name"] == "sqlite"
    assert published.attributes["roomcast.event.seq"] == 1


async def test_a_request_without_a_traceparent_begins_a_trace(spans, tmp_path) -> None:
    async with open_api(tmp_path, tracer=spans.tracer) as (api, _):
        await send(api, None)
        await send(api, "garbage")
    first, second = spans.named("POST /api/chat/messages")
    assert first.parent is second.parent is None
    assert trace_id(first) != trace_id(second)


async def test_an_unsampled_request_is_not_traced_and_its_event_says_so(spans, tmp_path) -> None:
    async with open_api(tmp_path, tracer=spans.tracer) as (api, backend):
        await send(api, UNSAMPLED)
        await backend.relay.publish_now("lobby")
        (event,) = await backend.store.chats.recent_events("lobby", 1)
    assert spans.all() == ()
    assert event.trace.startswith(f"00-{TRACE_ID}-")
    assert event.trace.endswith("-00")


async def test_a_span_has_the_template_of_the_route_and_no_text_of_the_client(spans, tmp_path) -> None:
    async with open_api(tmp_path, auth=True, tracer=spans.tracer) as (api, _):
        caller = bearer("recognisable-name")
        for path in ("/api/chats/recognisable-chat?x=recognisable-query", "/api/recognisable-path"):
            assert (await api.get(path, headers=caller)).status_code == 404
        await api.request("RECOGNISABLE", "/api/chats", headers=caller)
        await api.get("/recognisable-page")
    assert [span.name for span in spans.all()] == ["GET /api/chats/{chat_id}", "GET", "_OTHER /api/chats"]
    assert all(span.status.status_code is StatusCode.UNSET for span in spans.all())
    text = "".join(span.to_json() for span in spans.all())
    assert "recognisable" not in text.lower()
    assert caller["Authorization"].split()[1] not in text


async def test_an_error_of_the_server_fails_the_span(spans, tmp_path) -> None:
    async with open_api(tmp_path, tracer=spans.tracer) as (api, backend):
        backend.relay.offer = None  # a bug
        assert (await send(api)).status_code == 500
    request = spans.one("POST /api/chat/messages")
    assert request.status.status_code is StatusCode.ERROR
    assert request.attributes["error.type"] == "TypeError"


async def test_a_change_of_a_member_carries_its_trace(spans, tmp_path) -> None:
    async with open_api(tmp_path, tracer=spans.tracer) as (api, backend):
        await send(api)
        await api.put("/api/chats/lobby/members/ann", headers={"traceparent": SAMPLED})
        event = (await backend.store.chats.recent_events("lobby", 1))[0]
    assert event.trace.startswith(f"00-{TRACE_ID}-")


async def test_the_internal_api_continues_traces_and_begins_none(spans, tmp_path) -> None:
    async with open_api(tmp_path, tracer=spans.tracer, create=create_internal_api) as (api, _):
        for headers in ({}, {"traceparent": SAMPLED}):
            await api.post("/api/internal/admissions", json={"asks": []}, headers=headers)
    assert trace_id(spans.one("POST /api/internal/admissions")) == TRACE_ID
    assert len(spans.all()) == 1
