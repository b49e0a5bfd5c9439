"""`roomcast gateway` as its own service, and the gateway's events, with real processes and clients."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import httpx
import pytest
import socketio

from roomcast.auth.options import AuthOptions
from roomcast.auth.tokens import TokenIssuer
from support.asgi_servers import ASGI_SERVERS
from support.clients import ChatClient, get, http_session, send
from support.processes import Roomcast, run_roomcast
from support.redis_server import RedisServer, environment
from support.waiting import until

SECRET = "a secret of more than thirty-two bytes"
NO_ANSWERS = {"ROOMCAST_RESPONDER": "none"}


@pytest.fixture(scope="module")
def gateway():
    """A gateway without API and Redis, as in the guide."""
    with Roomcast.gateway() as server:
        yield server


@pytest.fixture(scope="module")
def guarded(tmp_path_factory):
    """Everything in one process, with authentication."""
    env = {**NO_ANSWERS, "ROOMCAST_SECRET": SECRET}
    with Roomcast.up(tmp_path_factory.mktemp("guarded") / "data", env=env) as server:
        yield server


def token(user_id: str, *, ttl_s: float = 60.0, service: bool = False) -> str:
    return TokenIssuer(AuthOptions(SECRET)).issue(user_id, ttl_s=ttl_s, service=service)


async def publish(redis: RedisServer, **event: Any) -> None:
    """Publish an event for the guide's channel, once the gateway has subscribed to it."""
    published = json.dumps({"chatId": "support-7", **event})
    await until(lambda: redis.command("PUBLISH", "chat:events", published) == b":1", step_s=0.05)


async def create_chat(server: Roomcast, chat_id: str, *members: str) -> None:
    async with httpx.AsyncClient() as client:
        headers = {"Authorization": f"Bearer {token('backend', service=True)}"}
        body = {"id": chat_id, "members": list(members)}
        (await client.post(f"{server.api_url}/api/chats", json=body, headers=headers)).raise_for_status()


async def test_health_has_the_guides_words_and_counts_connections(gateway) -> None:
    async with ChatClient(gateway.gateway_url), ChatClient(gateway.gateway_url, transports=("polling",)):
        health = await get(f"{gateway.gateway_url}/health")
    assert health == {"status": "healthy", "service": "websocket-server", "connections": 2}


@pytest.mark.parametrize(("method", "path"), [("GET", "/"), ("GET", "/api/chats"), ("POST", "/health")])
def test_other_paths_are_not_found(gateway, method, path) -> None:
    answer = httpx.request(method, gateway.gateway_url + path)
    assert (answer.status_code, answer.text) == (404, "Not Found")


def test_without_redis_it_warns_that_no_chat_events_arrive(gateway) -> None:
    assert "Redis not configured - single instance mode: chat events need REDIS_HOST" in gateway.output
    assert "API_URL is not set: every client may join every chat" in gateway.output


async def test_the_guides_events_work_with_and_without_acks(gateway) -> None:
    async with ChatClient(gateway.gateway_url) as ada:
        await ada.emit("join-user", "ada")
        await ada.emit("join-chat", "c1")
        assert await ada.call("ping") == "pong"
        assert await ada.call("ping", "whatever", 1) == "pong"
        assert await ada.call("join-user", "ada") == {"ok": True, "userId": "ada"}
        ack = await ada.join("c1")
        assert (ack["ok"], ack["seq"], ack["recovered"]) == (True, 0, True)
        assert await ada.call("leave-chat", "c1") == {"ok": True, "chatId": "c1"}
        assert await ada.call("leave-chat", {"chatId": "never-joined"}) == {"ok": True, "chatId": "never-joined"}


@pytest.mark.parametrize(
    ("event", "args"),
    [
        ("join-chat", ()),
        ("join-chat", (None,)),
        ("join-chat", (5,)),
        ("join-chat", ([],)),
        ("join-chat", ("",)),
        ("join-chat", ("a b",)),
        ("join-chat", ("x" * 129,)),
        ("join-chat", ("nul\0",)),
        ("join-chat", ({"chatId": 5},)),
        ("join-chat", ({"chatId": "c1", "since": 3},)),
        ("join-chat", ({"chatId": "c1", "since": {"epoch": "e", "seq": "3"}},)),
        ("join-chat", ({"chatId": "c1", "since": {"epoch": "e", "seq": -1}},)),
        ("join-chat", ({"chatId": "c1", "since": {"epoch": "e", "seq": 1.5}},)),
        ("join-chat", ({"chatId": "c1", "since": {"epoch": "e", "seq": True}},)),
        ("leave-chat", (7,)),
        ("join-user", ({},)),
        ("join-user", ("line\nbreak",)),
    ],
)
async def test_a_wrong_payload_is_refused_with_what_to_send(gateway, event, args) -> None:
    async with ChatClient(gateway.gateway_url) as ada:
        ack = await ada.call(event, *args)
        assert ack["ok"] is False
        assert ack["error"]["code"] == "invalid"
        assert "send " in ack["error"]["message"]
        # Without an ack the error is an event.
        await ada.emit(event, *args)
        name, error = await ada.next_event()
        assert (name, error) == ("error", ack["error"])
        assert await ada.call("ping") == "pong"


@pytest.mark.parametrize("transport", ["polling", "websocket"])
async def test_a_client_that_sends_binary_data_is_disconnected_and_others_are_not(gateway, transport) -> None:
    async with (
        ChatClient(gateway.gateway_url, transports=(transport,)) as ada,
        ChatClient(gateway.gateway_url) as bob,
    ):
        await ada.emit("join-chat", b"bytes")
        async with asyncio.timeout(10):
            await ada.disconnected.wait()
        assert await bob.call("ping") == "pong"


async def test_an_unknown_event_is_refused(gateway) -> None:
    async with ChatClient(gateway.gateway_url) as ada:
        ack = await ada.call("no-such\x1b[31m-event", 1)
        assert ack["error"]["code"] == "unknown-event"
        assert "\x1b" not in ack["error"]["message"]
        await ada.emit("no-such-event")
        name, error = await ada.next_event()
        assert (name, error["code"]) == ("error", "unknown-event")


async def test_events_of_a_client_that_has_disconnected_fail_silently(tmp_path) -> None:
    joins = [f'42["join-chat","c{number}"]' for number in range(40)]  # more than run concurrently, so later events wait
    with Roomcast.up(tmp_path / "data", env=NO_ANSWERS) as server:
        async with httpx.AsyncClient(base_url=server.gateway_url) as http:
            opened = await http.get("/socket.io/?EIO=4&transport=polling")
            session = f"/socket.io/?EIO=4&transport=polling&sid={json.loads(opened.text[1:])['sid']}"
            await http.post(session, content="40")
            await http.post(session, content="\x1e".join([*joins, '42["join-user","ada"]', "41"]))
        async with ChatClient(server.gateway_url) as ada:
            assert (await ada.join("c1"))["ok"]
        assert "Traceback" not in server.output
        assert "failed" not in server.output


async def test_a_socket_follows_a_bounded_number_of_chats(gateway) -> None:
    async with ChatClient(gateway.gateway_url) as ada:
        acks = [await ada.join(f"c{number}") for number in range(129)]
    assert [ack["ok"] for ack in acks] == [True] * 127 + [False] * 2
    assert acks[-1]["error"]["code"] == "limit-reached"


async def test_events_of_one_socket_take_effect_in_order(tmp_path) -> None:
    with Roomcast.up(tmp_path / "data", env=NO_ANSWERS) as server:
        async with ChatClient(server.gateway_url) as ada:
            await asyncio.gather(*(ada.emit("join-chat", "c1"), ada.emit("leave-chat", "c1")))
            assert (await ada.call("leave-chat", "c1"))["ok"]
            await send(server.api_url, "c1", "after leaving")
            await ada.join("c2")
            await send(server.api_url, "c2", "in another chat")
            assert (await ada.next_message())["content"] == "in another chat"


# --- authentication


@pytest.mark.parametrize("auth", [None, {}, {"token": "x"}, {"token": 5}, {"token": ""}])
async def test_a_client_without_a_valid_token_cannot_connect(guarded, auth) -> None:
    refusals: list[object] = []
    async with http_session() as session:
        client = socketio.AsyncClient(reconnection=False, http_session=session)
        client.on("connect_error", refusals.append)
        with pytest.raises(socketio.exceptions.ConnectionError):
            await client.connect(guarded.gateway_url, auth=auth, transports=["websocket"])
        await client.disconnect()
    assert [refusal["data"] for refusal in refusals] == [{"code": "unauthorized"}]
    assert all(isinstance(refusal["message"], str) for refusal in refusals)


async def test_only_members_can_follow_a_chat(guarded) -> None:
    await create_chat(guarded, "team", "ada", "bob")
    async with (
        ChatClient(guarded.gateway_url, auth={"token": token("bob")}) as bob,
        ChatClient(guarded.gateway_url, auth={"token": token("eve")}) as eve,
    ):
        assert (await bob.join("team"))["ok"]
        refused = await eve.join("team")
        unknown = await eve.join("no-such-chat")
        assert refused["error"]["code"] == "forbidden"
        # The error does not reveal whether a chat exists.
        assert refused == unknown
        await send(guarded.api_url, "team", "hello", token=token("ada"))
        message = await bob.next_message()
        assert (message["content"], message["userId"]) == ("hello", "ada")
        await eve.call("ping")
        assert eve.messages() == []


async def test_only_the_user_can_join_the_users_room(guarded) -> None:
    async with ChatClient(guarded.gateway_url, auth={"token": token("ada")}) as ada:
        assert (await ada.call("join-user", "ada"))["ok"]
        assert (await ada.call("join-user", "bob"))["error"]["code"] == "forbidden"


async def test_a_socket_is_disconnected_when_its_token_expires(guarded) -> None:
    # The server's leeway is five seconds; a token from four seconds ago shortens the wait.
    issuer = TokenIssuer(AuthOptions(SECRET), clock=_seconds_ago(4.0))
    async with ChatClient(guarded.gateway_url, auth={"token": issuer.issue("ada", ttl_s=1)}) as ada:
        name, error = await ada.next_event()
        assert (name, error["code"]) == ("error", "unauthorized")
        await asyncio.wait_for(ada.disconnected.wait(), 5)


async def test_a_removed_member_receives_no_more_events(guarded) -> None:
    await create_chat(guarded, "club", "ada", "bob")
    async with ChatClient(guarded.gateway_url, auth={"token": token("bob")}) as bob:
        assert (await bob.join("club"))["ok"]
        async with httpx.AsyncClient(headers={"Authorization": f"Bearer {token('ada')}"}) as client:
            (await client.delete(f"{guarded.api_url}/api/chats/club/members/bob")).raise_for_status()
        while (event := await bob.next_event())[0] == "presence":
            pass
        name, change = event
        assert (name, change["userId"]) == ("member-removed", "bob")
        await send(guarded.api_url, "club", "without bob", token=token("ada"))
        await bob.call("ping")
        assert bob.messages() == []


async def test_presence_and_typing_end_with_the_membership(guarded) -> None:
    await create_chat(guarded, "desk", "ada", "bob")
    async with (
        ChatClient(guarded.gateway_url, auth={"token": token("ada")}) as ada,
        ChatClient(guarded.gateway_url, auth={"token": token("bob")}) as bob,
    ):
        # The token identifies the user, so no join-user is needed.
        assert (await ada.join("desk"))["ok"]
        assert (await bob.join("desk"))["ok"]
        online: set[str] = set()
        while online != {"ada", "bob"}:
            name, data = await ada.next_event()
            assert name == "presence"
            online |= set(data["online"])
        assert (await bob.call("typing", "desk"))["ok"]
        assert await ada.next_event() == ("typing", {"chatId": "desk", "userId": "bob", "typing": True})
        async with httpx.AsyncClient(headers={"Authorization": f"Bearer {token('ada')}"}) as client:
            (await client.delete(f"{guarded.api_url}/api/chats/desk/members/bob")).raise_for_status()
        events = [await ada.next_event() for _ in range(3)]
        assert [name for name, _ in events] == ["member-removed", "typing", "presence"]
        assert (events[1][1]["typing"], events[2][1]["offline"]) == (False, ["bob"])
        assert (await bob.call("typing", "desk"))["error"]["code"] == "forbidden"
        assert (await ada.call("typing", "desk"))["ok"]
        await bob.call("ping")
        received = [name for name, _ in bob.received]
        assert set(received[received.index("member-removed") + 1 :]) == {"ack:typing", "ack:ping"}


async def test_an_unidentified_client_cannot_type_and_is_not_in_the_presence(gateway) -> None:
    async with ChatClient(gateway.gateway_url) as unidentified, ChatClient(gateway.gateway_url) as ada:
        assert (await unidentified.join("anonymous"))["ok"]
        refused = await unidentified.call("typing", "anonymous")
        assert (refused["error"]["code"], "join-user" in refused["error"]["message"]) == ("forbidden", True)
        assert (await ada.call("join-user", "ada"))["ok"]
        assert (await ada.join("anonymous"))["ok"]
        name, snapshot = await ada.next_event()
        assert (name, snapshot) == (
            "presence",
            {"chatId": "anonymous", "online": ["ada"], "offline": [], "reset": True},
        )


def _seconds_ago(seconds: float):
    import time

    return lambda: time.time() - seconds


def test_secrets_are_in_no_log(guarded) -> None:
    assert SECRET not in guarded.output


# --- a gateway and an API as two services


async def test_a_gateway_and_an_api_as_two_services(tmp_path, redis: RedisServer) -> None:
    env = environment(redis, ROOMCAST_SECRET=SECRET)
    with (
        Roomcast.api(tmp_path / "data", env=env) as api,
        Roomcast.gateway(env={**env, "API_URL": api.internal_url}) as gateway,
    ):
        await create_chat(api, "team", "ada", "bob")
        async with (
            ChatClient(gateway.gateway_url, auth={"token": token("bob")}) as bob,
            ChatClient(gateway.gateway_url, auth={"token": token("eve")}) as eve,
        ):
            ack = await bob.join("team")
            assert (ack["ok"], ack["recovered"]) == (True, True)
            assert (await eve.join("team"))["error"]["code"] == "forbidden"
            await send(api.api_url, "team", "live", token=token("ada"))
            assert (await bob.next_message())["content"] == "live"
        async with ChatClient(gateway.gateway_url, auth={"token": token("bob")}) as bob:
            again = await bob.join("team", since={"epoch": ack["epoch"], "seq": ack["seq"]})
            assert again["recovered"] is True
            assert [message["content"] for message in bob.messages()] == ["live"]
            api.kill()
            assert (await bob.join("other"))["error"]["code"] == "unavailable"
            assert (await bob.join("team"))["ok"] is True
            api.start()
            await send(api.api_url, "team", "after", token=token("ada"))
            while (event := await bob.next_event())[0] in {"new-msg", "presence"}:
                pass
            # The embedded database begins a new epoch at each start, so the client resyncs.
            assert event[0] == "resync"


async def test_an_application_replaces_the_api(redis: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROOMCAST_SECRET", SECRET)
    text = (Path(__file__).parents[3] / "docs/integration.md").read_text()
    example: dict[str, Any] = {}
    exec(text.partition('title="chat_members.py"\n')[2].partition("```")[0], example)  # noqa: S102 - our own document
    env = environment(redis, ROOMCAST_SECRET=SECRET)
    async with ASGI_SERVERS["serve"](example["app"]) as port, httpx.AsyncClient() as http:
        url = f"http://127.0.0.1:{port}"
        with Roomcast.gateway(env={**env, "API_URL": url}) as gateway:
            async with (
                ChatClient(gateway.gateway_url, auth={"token": token("ann")}) as ann,
                ChatClient(gateway.gateway_url, auth={"token": token("bob")}) as bob,
                ChatClient(gateway.gateway_url, auth={"token": token("eve")}) as eve,
            ):
                assert (await eve.join("support-7"))["error"]["code"] == "forbidden"
                for client in (ann, bob):
                    ack = await client.join("support-7")
                    assert (ack["ok"], ack["recovered"]) == (True, True)

                await publish(redis, type="MESSAGE_CREATED", data={"content": "one"})
                for client in (ann, bob):
                    assert (await client.next_message())["content"] == "one"
                example["MEMBERS"]["support-7"].discard("bob")
                await publish(redis, type="MEMBER_REMOVED", userId="bob")
                await publish(redis, type="MESSAGE_CREATED", data={"content": "two"})
                assert (await ann.next_message())["content"] == "two"
                assert (await bob.join("support-7"))["error"]["code"] == "forbidden"
                assert [message["content"] for message in bob.messages()] == ["one"]
                assert eve.messages() == []
        asked = {"asks": [{"chatId": "support-7", "userId": "ann", "since": None}]}
        for bearer, status in ((token("ann"), 403), ("forged", 401)):
            headers = {"Authorization": f"Bearer {bearer}"}
            answer = await http.post(f"{url}/api/internal/admissions", json=asked, headers=headers)
            assert answer.status_code == status


def test_a_gateway_with_a_secret_needs_the_api() -> None:
    done = run_roomcast("gateway", env={"ROOMCAST_SECRET": SECRET})
    assert done.returncode == 2
    assert "API_URL" in done.stderr


def test_a_gateway_beside_an_api_does_not_start_without_redis() -> None:
    done = run_roomcast("gateway", env={"API_URL": "http://127.0.0.1:3000"})
    assert done.returncode == 2
    assert done.stderr.startswith("roomcast: API_URL is set but Redis is not")
    assert "REDIS_HOST or REDIS_URL" in done.stderr
    assert "`roomcast up`" in done.stderr
    assert done.stderr.count("\n") == 1
