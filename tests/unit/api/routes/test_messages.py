from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from roomcast import __version__
from roomcast.api.options import ApiOptions
from roomcast.api.routes.messages import decode_position, encode_position
from roomcast.chat.errors import StoreUnavailable
from roomcast.chat.model import ChatPosition
from roomcast.contract.events import Message
from roomcast.contract.rest import EventPage, MessagePage
from support.api_client import bearer, open_api, problem

HELLO = {"chatId": "c", "role": "USER", "content": "hello"}


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    """The API with authentication off."""
    async with open_api(tmp_path) as (client, _):
        yield client


@pytest.fixture
async def guarded(tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    """The API with authentication on."""
    async with open_api(tmp_path, auth=True) as (client, _):
        client.headers["X-Request-Id"] = "r"  # else problem documents differ
        yield client


async def send(client: httpx.AsyncClient, **changes: Any) -> httpx.Response:
    return await client.post("/api/chat/messages", json=HELLO | changes)


async def test_health_names_the_service(client: httpx.AsyncClient) -> None:
    response = await client.get("/health")
    assert (response.status_code, response.json()) == (200, {"status": "healthy", "service": "roomcast-api"})


@pytest.mark.parametrize(
    "path",
    ["/health", "/api/config", "/api/chats", "/api/chats/c", "/api/chats/c/events", "/api/chats/c/messages",
     "/api/chats/c/members", "/openapi.json", "/", "/api/nothing"],
)  # fmt: skip
async def test_head_is_answered_as_get_without_the_body(client: httpx.AsyncClient, path: str) -> None:
    await send(client)
    got, head = await client.get(path), await client.head(path)
    assert (head.status_code, head.content) == (got.status_code, b"")
    assert head.headers["content-type"] == got.headers["content-type"]
    assert head.headers["content-length"] == got.headers["content-length"]


async def test_the_config_contains_the_address_of_the_gateway(tmp_path: Path) -> None:
    options = ApiOptions(gateway_port=3001)
    async with open_api(tmp_path, options=options) as (client, backend):
        assert (await client.get("/api/config")).json() == {
            "auth": False,
            "signIn": False,
            "files": {"maxBytes": 25_000_000, "types": None},
            "gateway": {"url": None, "port": 3001},
            "epoch": backend.reader.epoch,
            "version": __version__,
        }


async def test_the_response_to_a_message_is_what_the_gateway_emits(client: httpx.AsyncClient) -> None:
    response = await send(client, userId="ann", clientMsgId="k")
    assert response.status_code == 201
    message = response.json()
    assert message == {
        **HELLO,
        "id": message["id"],
        "time": message["time"],
        "epoch": message["epoch"],
        "seq": 1,
        "place": 1,
        "version": 1,
        "turn": None,
        "parts": None,
        "userId": "ann",
        "clientMsgId": "k",
        "status": "sent",
    }
    Message.model_validate(message)
    assert message["time"].endswith("Z")
    assert (await client.get("/api/chats/c/messages")).json()["messages"] == [message]
    assert (await client.get("/api/chats/c/events")).json()["events"] == [
        {"seq": 1, "type": "message-created", "event": "new-msg", "data": message}
    ]


async def test_a_repeat_answers_200_and_the_first_result(client: httpx.AsyncClient) -> None:
    first = await send(client, clientMsgId="k")
    repeat = await send(client, clientMsgId="k", content="something else")
    assert (first.status_code, repeat.status_code) == (201, 200)
    assert repeat.json() == first.json()


async def test_every_caller_may_send_as_ai_while_authentication_is_off(client: httpx.AsyncClient) -> None:
    assert (await send(client, role="AI")).json()["role"] == "AI"


async def test_events_are_paged_up_to_the_head(client: httpx.AsyncClient) -> None:
    for _ in range(3):
        await send(client)
    first = (await client.get("/api/chats/c/events", params={"limit": 2})).json()
    EventPage.model_validate(first)
    assert ([event["seq"] for event in first["events"]], first["seq"], first["more"]) == ([1, 2], 3, True)
    rest = (await client.get("/api/chats/c/events", params={"after": 2, "epoch": first["epoch"]})).json()
    assert ([event["seq"] for event in rest["events"]], rest["more"], rest["reset"]) == ([3], False, False)


@pytest.mark.parametrize("cursor", [{"epoch": "unknown"}, {"after": 9}])
async def test_a_cursor_of_another_history_is_answered_with_reset(
    client: httpx.AsyncClient, cursor: dict[str, Any]
) -> None:
    epoch = (await send(client)).json()["epoch"]
    page = (await client.get("/api/chats/c/events", params={"epoch": epoch, "after": 1} | cursor)).json()
    assert page == {"epoch": epoch, "events": [], "seq": 1, "more": False, "reset": True}


async def test_large_pages_end_early_with_more_set(client: httpx.AsyncClient) -> None:
    await asyncio.gather(*(send(client, content="界" * 32_768) for _ in range(60)))
    page = (await client.get("/api/chats/c/events", params={"limit": 2_000})).json()
    assert (len(page["events"]), page["more"], page["seq"]) == (11, True, 60)
    rest = (await client.get("/api/chats/c/events", params={"after": 50})).json()
    assert (len(rest["events"]), rest["more"]) == (10, False)


async def test_messages_are_paged_in_both_directions(client: httpx.AsyncClient) -> None:
    for _ in range(5):
        await send(client)

    async def page(**params: int) -> tuple[list[int], bool, int]:
        body = (await client.get("/api/chats/c/messages", params=params)).json()
        MessagePage.model_validate(body)
        return [message["seq"] for message in body["messages"]], body["hasMore"], body["seq"]

    assert await page(limit=2) == ([4, 5], True, 5)
    assert await page(limit=3, before=4) == ([1, 2, 3], False, 5)
    assert await page(limit=2, before=4) == ([2, 3], True, 5)
    assert await page(limit=2, after=1) == ([2, 3], True, 5)
    assert await page(limit=2, after=3) == ([4, 5], False, 5)


@pytest.mark.parametrize(
    ("method", "path", "body", "pointer"),
    [
        ("POST", "/api/chat/messages", {"chatId": "c", "role": "USER", "content": "\u200b"}, "/content"),
        ("POST", "/api/chat/messages", {"chatId": "c", "role": "USER", "content": "x", "userId": "\u2800"}, "/userId"),
        ("POST", "/api/chats", {"title": "\u3164"}, "/title"),
        ("POST", "/api/chats", {"members": [" "]}, "/members/0"),
        ("PUT", "/api/chats/c/members/%E2%80%8B", None, "path:user_id"),
    ],
)
async def test_a_text_that_shows_nothing_is_refused(
    client: httpx.AsyncClient, method: str, path: str, body: object, pointer: str
) -> None:
    response = await client.request(method, path, **({} if body is None else {"json": body}))
    assert response.status_code == 422
    (item,) = response.json()["errors"]
    assert item == {"pointer": pointer, "message": "must contain a visible character"}


async def test_large_pages_of_messages_omit_the_messages_farthest_from_the_cursor(client: httpx.AsyncClient) -> None:
    await asyncio.gather(*(send(client, content="界" * 32_768) for _ in range(12)))

    async def page(**params: int) -> tuple[int, int, bool]:
        body = (await client.get("/api/chats/c/messages", params=params)).json()
        return body["messages"][0]["seq"], body["messages"][-1]["seq"], body["hasMore"]

    assert await page() == (3, 12, True)
    assert await page(before=3) == (1, 2, False)
    assert await page(after=0) == (1, 10, True)
    assert await page(after=10) == (11, 12, False)


async def test_an_unknown_chat_reads_as_empty_while_authentication_is_off(client: httpx.AsyncClient) -> None:
    epoch = (await client.get("/api/config")).json()["epoch"]
    messages = await client.get("/api/chats/none/messages")
    assert messages.json() == {"epoch": epoch, "seq": 0, "messages": [], "hasMore": False}
    events = await client.get("/api/chats/none/events")
    assert events.json() == {"epoch": epoch, "events": [], "seq": 0, "more": False, "reset": False}
    assert problem(await client.get("/api/chats/none"))["code"] == "chat-not-found"


async def test_chats_are_created_read_and_listed(client: httpx.AsyncClient) -> None:
    created = await client.post("/api/chats", json={"id": "c", "title": "標題"})
    assert created.status_code == 201
    chat = created.json()
    assert (chat["id"], chat["title"], chat["lastSeq"]) == ("c", "標題", 0)
    assert (await client.get("/api/chats/c")).json() == chat
    assert problem(await client.post("/api/chats", json={"id": "c"}))["code"] == "chat-exists"
    own = (await client.post("/api/chats", json={})).json()
    await send(client)
    first = (await client.get("/api/chats", params={"limit": 1})).json()
    assert [chat["id"] for chat in first["chats"]] == ["c"]
    second = (await client.get("/api/chats", params={"limit": 1, "cursor": first["nextCursor"]})).json()
    assert ([chat["id"] for chat in second["chats"]], second["nextCursor"]) == ([own["id"]], None)


def test_a_position_survives_its_cursor() -> None:
    position = ChatPosition(1_767_323_045_678, "a:~@b")
    assert decode_position(encode_position(position)) == position


async def test_members_are_added_and_removed(client: httpx.AsyncClient) -> None:
    await send(client)
    path = "/api/chats/c/members/a%2Fb%20%E7%8E%8B"
    assert (await client.put(path)).status_code == 204
    assert (await client.put(path)).status_code == 204
    members = (await client.get("/api/chats/c/members")).json()["members"]
    assert [member["userId"] for member in members] == ["a/b 王"]
    assert (await client.delete(path)).status_code == 204
    events = (await client.get("/api/chats/c/events", params={"after": 1})).json()["events"]
    assert [(event["seq"], event["event"], event["data"]["userId"]) for event in events] == [
        (2, "member-added", "a/b 王"),
        (3, "member-removed", "a/b 王"),
    ]


JSON = {"Content-Type": "application/json"}
MESSAGES = "/api/chat/messages"


@pytest.mark.parametrize(
    ("content", "headers", "status", "code"),
    [
        pytest.param(b'{"chatId":"c","role":"USER","content":"a\\u0000"}', JSON, 422, "invalid", id="U+0000"),
        pytest.param(b'{"chatId":"c","role":"USER","content":"\\ud800"}', JSON, 422, "invalid", id="lone surrogate"),
        pytest.param(b'{"chatId":"c","role":"USER","content":"\xed\xa0\x80"}', JSON, 422, "invalid", id="CESU"),
        pytest.param(b'{"\\ud800":1}', JSON, 422, "invalid", id="lone surrogate in a name"),
        pytest.param(b"[" * 100_000, JSON, 400, "bad-request", id="deep JSON"),
        pytest.param(b'{"a":' * 100_000 + b"1" + b"}" * 100_000, JSON, 400, "bad-request", id="deep object"),
        pytest.param(b"{", JSON, 400, "bad-request", id="broken JSON"),
        pytest.param(b"", JSON, 422, "invalid", id="no body"),
        pytest.param(b"null", JSON, 422, "invalid", id="null"),
        pytest.param(b"[]", JSON, 422, "invalid", id="array"),
        pytest.param(b"NaN", JSON, 422, "invalid", id="NaN"),
        pytest.param(b'{"chatId":"c","role":"USER","content":NaN}', JSON, 422, "invalid", id="NaN inside"),
        pytest.param(b'{"chatId":"c","role":"USER","content":1}', JSON, 422, "invalid", id="number as text"),
        pytest.param(b'{"chatId":"c","role":"USER","content":""}', JSON, 422, "invalid", id="empty content"),
        pytest.param(b'{"chatId":"c","role":"BOSS","content":"x"}', JSON, 422, "invalid", id="unknown role"),
        pytest.param(b'{"chatId":"a b","role":"USER","content":"x"}', JSON, 422, "invalid", id="chat id"),
        pytest.param(b'{"chatId":"..","role":"USER","content":"x"}', JSON, 422, "invalid", id="dot segment"),
        pytest.param(b'{"chatId":"c","role":"USER"}', JSON, 422, "invalid", id="missing member"),
        pytest.param(b'{"chatId":"c","role":"USER","content":"x","x":1}', JSON, 422, "invalid", id="unknown member"),
        pytest.param(
            b'{"chat_id":"c","role":"USER","content":"x"}', JSON, 422, "invalid", id="snake case is not the wire's"
        ),
        pytest.param(b'{"chatId":"c"}', {"Content-Type": "text/plain"}, 415, "unsupported-media-type", id="text"),
        pytest.param(b'{"chatId":"c"}', {}, 415, "unsupported-media-type", id="no type"),
        pytest.param(b"x" * 1_048_577, JSON, 413, "too-large", id="huge"),
    ],
)
async def test_an_invalid_body_is_answered_with_a_problem(
    client: httpx.AsyncClient, content: bytes, headers: dict[str, str], status: int, code: str
) -> None:
    response = await client.post(MESSAGES, content=content, headers=headers)
    assert (response.status_code, problem(response)["code"]) == (status, code)
    assert (await send(client)).status_code == 201


async def test_content_is_accepted_up_to_exactly_the_limit(client: httpx.AsyncClient) -> None:
    assert (await send(client, content="😀" * 32_768)).status_code == 201
    assert problem(await send(client, content="x" * 32_769))["errors"][0]["pointer"] == "/content"


async def test_a_body_without_a_declared_size_is_rejected_while_it_is_read(client: httpx.AsyncClient) -> None:
    async def endless() -> AsyncIterator[bytes]:
        for _ in range(100):
            yield b" " * 65_536

    response = await client.post(MESSAGES, content=endless(), headers=JSON)
    assert (response.status_code, problem(response)["code"]) == (413, "too-large")


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/api/chats?limit=-1", 422),
        ("/api/chats?limit=0", 422),
        ("/api/chats?limit=201", 422),
        ("/api/chats?limit=NaN", 422),
        *(
            (f"/api/chats?limit={number}", 422)
            for number in ("1_0", "%2B10", "%2010", "10%20", "10.0", "1e1", "%D9%A1%D9%A0", "")
        ),
        ("/api/chats?limit=" + "9" * 5_000, 422),
        ("/api/chats/c/messages?before=1_0", 422),
        ("/api/chats/c/messages?after=%2B1", 422),
        ("/api/chats/c/events?after=1_0", 422),
        ("/api/chats/c/events?limit=1_0", 422),
        ("/api/chats/%ff", 400),
        ("/api/chats/c/members/a%ff", 400),
        ("/c/%ff", 400),
        ("/api/chats?cursor=%00", 422),
        ("/api/chats?cursor=WzEsMl0", 422),
        ("/api/chats?cursor=WzAsIlx1ZDgwMCJd", 422),  # [0,"\ud800"]
        ("/api/chats?cursor=WzEsICJcdTAwMDAiXQ", 422),  # [1, "\u0000"]
        ("/api/chats?cursor=" + "W" * 600, 422),
        ("/api/chats/c/messages?before=1&after=1", 422),
        ("/api/chats/c/messages?before=-1", 422),
        ("/api/chats/c/events?after=9007199254740992", 422),
        ("/api/chats/c/events?limit=2001", 422),
        ("/api/chats/c/events?epoch=%20", 422),
        ("/api/chats/a%00b/events", 422),
        ("/api/chats/" + "a" * 129, 422),
        ("/api/chats/%ED%A0%80", 400),
        ("/api/nothing", 404),
        ("/api/chat/messages", 405),
    ],
)
async def test_an_invalid_query_or_path_is_answered_with_a_problem(
    client: httpx.AsyncClient, path: str, status: int
) -> None:
    response = await client.get(path)
    assert problem(response)["status"] == status


async def test_a_wrong_method_is_answered_with_the_allowed_ones(client: httpx.AsyncClient) -> None:
    for method, path, allowed in (
        ("DELETE", "/api/chats/c/events", "GET, HEAD"),
        ("PUT", "/api/chats", "GET, HEAD, POST"),
        ("HEAD", "/api/chat/messages", "POST"),
        ("POST", "/api/chats/c/members/bob", "DELETE, PATCH, PUT"),
    ):
        response = await client.request(method, path, json={})
        assert response.headers["allow"] == allowed
        assert response.status_code == 405
    assert problem(await client.delete("/api/chats"))["code"] == "method-not-allowed"


async def test_a_member_whose_id_is_not_utf_8_is_not_added(client: httpx.AsyncClient) -> None:
    await send(client)
    assert problem(await client.put("/api/chats/c/members/%ff"))["code"] == "bad-request"
    assert (await client.get("/api/chats/c/members")).json() == {"members": [], "hasMore": False}


async def test_an_unavailable_database_is_503_with_retry_after(
    client: httpx.AsyncClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_api(tmp_path / "other") as (other, backend):

        async def full(*_args: object) -> None:
            raise StoreUnavailable("disk full at /secret/path")

        monkeypatch.setattr(backend.store.chats, "commit", full)
        response = await send(other)
        assert (problem(response)["code"], response.headers["retry-after"]) == ("unavailable", "1")
        assert "secret" not in response.text


async def test_a_bug_is_500_without_details(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_api(tmp_path) as (client, backend):

        async def broken(*_args: object) -> None:
            raise RuntimeError("secret detail")

        monkeypatch.setattr(backend.store.chats, "commit", broken)
        response = await send(client)
        assert problem(response)["code"] == "internal"
        assert "secret" not in response.text


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST"])
@pytest.mark.parametrize(
    "path",
    [
        "/api/internal/admissions",
        "/api/%69nternal/admissions",
        "/%61pi/internal/admissions",
        "/api/internal%2Fadmissions",
        "/api/internal/admissions/",
        "/api/internal//nudges",
        "/api/x/../internal/nudges",
        "/api/Internal/nudges",
    ],
)
async def test_no_spelling_of_an_internal_path_reaches_a_route(
    guarded: httpx.AsyncClient, method: str, path: str
) -> None:
    body = {"json": {"chatId": "c"}} if method == "POST" else {}
    url = httpx.URL(scheme="http", host="localhost", raw_path=path.encode())
    response = await guarded.request(method, url, headers=bearer("gateway", service=True), **body)
    assert (response.status_code, response.headers["content-type"]) == (404, "application/problem+json")


async def test_another_host_is_rejected_if_hosts_are_configured(tmp_path: Path) -> None:
    async with open_api(tmp_path, options=ApiOptions(allowed_hosts=("localhost", "127.0.0.1"))) as (client, _):
        assert (await client.get("/health")).status_code == 200
        response = await client.get("/api/chats", headers={"Host": "evil.example"})
        assert problem(response)["code"] == "misdirected"


@pytest.mark.parametrize(
    ("allowed", "origin", "answered"),
    [
        (("https://chat.example",), "https://chat.example", "https://chat.example"),
        (("https://chat.example",), "https://evil.example", None),
        (("*",), "https://any.example", "*"),
        ((), "https://chat.example", None),
    ],
)
async def test_pages_of_allowed_origins_may_call_the_api(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, allowed: tuple[str, ...], origin: str, answered: str | None
) -> None:
    caplog.set_level("INFO")
    async with open_api(tmp_path, options=ApiOptions(allowed_origins=allowed)) as (client, _):
        asked = {
            "Origin": origin,
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "authorization,content-type",
        }
        preflight = await client.options("/api/chat/messages", headers=asked)
        assert preflight.headers.get("access-control-allow-origin") == answered
        assert preflight.is_success is (answered is not None)
        lines = [record for record in caplog.records if record.getMessage() == "preflight refused"]
        named = [(vars(line)["origin"], vars(line)["setting"]) for line in lines]
        assert named == ([] if answered else [(origin, "ALLOWED_ORIGINS")])
        # An error must be readable, too.
        for response in (await client.get("/api/chats", headers=asked), await client.get("/api/none", headers=asked)):
            assert response.headers.get("access-control-allow-origin") == answered
            assert "access-control-allow-credentials" not in response.headers


async def test_pages_of_allowed_origins_may_read_an_internal_error_and_a_refused_host(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = ApiOptions(allowed_origins=("https://chat.example",), allowed_hosts=("localhost",))

    async def fail(*_: object) -> None:
        raise RuntimeError

    async with open_api(tmp_path, options=options) as (client, backend):
        monkeypatch.setattr(backend.reader, "chats", fail)
        for host, status in (("localhost", 500), ("evil.example", 421)):
            response = await client.get("/api/chats", headers={"Origin": "https://chat.example", "Host": host})
            assert response.status_code == status
            assert response.headers.get("access-control-allow-origin") == "https://chat.example"


async def test_the_description_of_the_api_is_openapi_3_1(client: httpx.AsyncClient) -> None:
    document = (await client.get("/openapi.json")).json()
    assert document["openapi"].startswith("3.1")
    send_it = document["paths"]["/api/chat/messages"]["post"]
    assert set(send_it["responses"]) == {"200", "201", "default"}
    assert list(send_it["responses"]["default"]["content"]) == ["application/problem+json"]
    assert send_it["operationId"] == "send_message"
    assert send_it["security"]


# Authentication on.

ANN, BOB, EVE = bearer("ann"), bearer("bob"), bearer("eve")
SERVICE = bearer("backend", service=True)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/api/chat/messages"),
        ("POST", "/api/chats"),
        ("GET", "/api/chats"),
        ("GET", "/api/chats/c"),
        ("GET", "/api/chats/c/events"),
        ("GET", "/api/chats/c/messages"),
        ("GET", "/api/chats/c/members"),
        ("PUT", "/api/chats/c/members/x"),
        ("DELETE", "/api/chats/c/members/x"),
    ],
)
@pytest.mark.parametrize("header", [None, "Bearer", "Bearer nonsense", "Basic YTpi", "Bearer a.b.c"])
async def test_everything_needs_a_good_token(
    guarded: httpx.AsyncClient, method: str, path: str, header: str | None
) -> None:
    headers = {} if header is None else {"Authorization": header}
    response = await guarded.request(method, path, json=HELLO if method == "POST" else None, headers=headers)
    assert problem(response)["code"] == "unauthorized"
    assert response.headers["www-authenticate"] == "Bearer"


async def test_only_members_read_send_and_manage_and_others_cannot_tell_that_the_chat_exists(
    guarded: httpx.AsyncClient,
) -> None:
    await guarded.post("/api/chats", json={"id": "c", "members": ["ann", "bob"]}, headers=SERVICE)
    for headers in (ANN, BOB, SERVICE):
        assert (await guarded.post(MESSAGES, json=HELLO, headers=headers)).status_code == 201
        assert (await guarded.get("/api/chats/c/messages", headers=headers)).status_code == 200
    for path in ("", "/events", "/messages", "/members"):
        refused = await guarded.get(f"/api/chats/c{path}", headers=EVE)
        unknown = await guarded.get(f"/api/chats/none{path}", headers=EVE)
        assert problem(refused)["code"] == "chat-not-found"
        assert refused.text.replace("'c'", "'none'") == unknown.text
    for response in (
        await guarded.post(MESSAGES, json=HELLO, headers=EVE),
        await guarded.post(MESSAGES, json=HELLO | {"chatId": "none"}, headers=EVE),
        await guarded.put("/api/chats/c/members/eve", headers=EVE),
    ):
        assert problem(response)["code"] == "chat-not-found"
    assert (await guarded.get("/api/chats", headers=EVE)).json()["chats"] == []
    assert len((await guarded.get("/api/chats", headers=BOB)).json()["chats"]) == 1


async def test_creating_a_chat_does_not_disclose_whether_an_id_is_taken(guarded: httpx.AsyncClient) -> None:
    await guarded.post("/api/chats", json={"id": "taken", "members": ["ann"]}, headers=SERVICE)
    answers = [
        await guarded.post("/api/chats", json={"id": chat_id}, headers=headers)
        for headers in (ANN, EVE)
        for chat_id in ("taken", "free")
    ]
    assert len({(answer.status_code, answer.text) for answer in answers}) == 1
    assert problem(answers[0])["code"] == "forbidden"
    created = (await guarded.post("/api/chats", json={"title": "Mine"}, headers=EVE)).json()
    assert (await guarded.get(f"/api/chats/{created['id']}", headers=EVE)).json() == created
    # A service may read every chat anyway.
    assert problem(await guarded.post("/api/chats", json={"id": "taken"}, headers=SERVICE))["code"] == "chat-exists"


async def test_access_follows_membership_changes(guarded: httpx.AsyncClient) -> None:
    await guarded.post("/api/chats", json={"id": "c", "members": ["ann"]}, headers=SERVICE)
    assert (await guarded.put("/api/chats/c/members/bob", headers=ANN)).status_code == 204
    assert (await guarded.post(MESSAGES, json=HELLO, headers=BOB)).json()["userId"] == "bob"
    assert (await guarded.delete("/api/chats/c/members/bob", headers=BOB)).status_code == 204
    assert (await guarded.get("/api/chats/c/events", headers=BOB)).status_code == 404


async def test_the_token_determines_the_sender(guarded: httpx.AsyncClient) -> None:
    await guarded.post("/api/chats", json={"id": "c", "members": ["ann"]}, headers=SERVICE)
    assert (await guarded.post(MESSAGES, json=HELLO, headers=ANN)).json()["userId"] == "ann"
    forged = await guarded.post(MESSAGES, json=HELLO | {"userId": "bob"}, headers=ANN)
    assert problem(forged)["code"] == "forbidden"
    as_ai = await guarded.post(MESSAGES, json=HELLO | {"role": "AI"}, headers=ANN)
    assert problem(as_ai)["code"] == "forbidden"
    assert (await guarded.post(MESSAGES, json=HELLO | {"role": "AI"}, headers=SERVICE)).json()["userId"] is None
    assert (await guarded.post(MESSAGES, json=HELLO | {"userId": "bob"}, headers=SERVICE)).json()["userId"] == "bob"


async def test_a_user_cannot_flood_the_list_of_another_user(guarded: httpx.AsyncClient) -> None:
    answers = [await guarded.post("/api/chats", json={"members": ["bob"]}, headers=EVE) for _ in range(30)]
    assert [answer.status_code for answer in answers] == [201] * 20 + [429] * 10
    assert problem(answers[-1])["code"] == "addition-limit"
    assert "bob" in answers[-1].json()["detail"]
    assert 4_000 < int(answers[-1].headers["retry-after"]) <= 4_320
    assert len((await guarded.get("/api/chats", headers=BOB)).json()["chats"]) == 20
    own = (await guarded.post("/api/chats", json={}, headers=EVE)).json()["id"]
    added = await guarded.put(f"/api/chats/{own}/members/bob", headers=EVE)
    assert problem(added)["code"] == "addition-limit"
    # After a removal, a member is not put back again and again either.
    club = answers[0].json()["id"]
    assert (await guarded.delete(f"/api/chats/{club}/members/bob", headers=BOB)).status_code == 204
    assert (await guarded.put(f"/api/chats/{club}/members/bob", headers=EVE)).status_code == 429
    for headers in (ANN, SERVICE):
        assert (await guarded.post("/api/chats", json={"members": ["bob"]}, headers=headers)).status_code == 201
