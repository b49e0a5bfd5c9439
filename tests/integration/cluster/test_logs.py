"""Everything that the processes of a deployment log is JSON, and holds no content, token, password or key."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
import socketio

from roomcast.auth.options import AuthOptions
from roomcast.auth.tokens import TokenIssuer
from support import postgres_server
from support.clients import ChatClient
from support.postgres_server import PostgresServer
from support.processes import Roomcast
from support.provider import DONE, Answer, Request, chat_chunk, event, running_provider
from support.redis_server import RedisServer, running
from support.waiting import until

TESTS: Final = Path(__file__).resolve().parents[2]
#: Each is part of one kind of text that logs must not contain.
MARKS: Final = (
    *("message", "edit", "answer", "title", "system", "typed", "unknown", "query", "cookie", "path"),
    *("secret", "redis", "openai", "bearer", "socket", "invalid", "eventname", "key", "reported", "malformed"),
    *("header", "database"),
)


def mark(name: str) -> str:
    assert name in MARKS
    return f"Zq7{name}7qZ"


def text(name: str) -> str:
    """A text with the mark, and with what encodings escape."""
    return f'é"\\ {mark(name)} %20 \n\u202e'


SECRET: Final = mark("secret") * 3


def token(user_id: str, *, service: bool = False) -> str:
    return TokenIssuer(AuthOptions(SECRET)).issue(user_id, ttl_s=300, service=service)


def leaks(output: str, secrets: list[str]) -> list[str]:
    """The lines that contain a secret or a mark, in any case, in hexadecimal or in Base64 at any position."""
    marks = [mark(name).encode() for name in MARKS]
    parts = [*secrets, *(found.decode() for found in marks), *(found.hex() for found in marks)]
    # Without the characters that depend on the text around them.
    parts += [base64.b64encode(b"x" * shift + found + b"xxx")[4:-6].decode() for found in marks for shift in range(3)]
    searched = re.compile("|".join(map(re.escape, parts)), re.IGNORECASE)
    return [line for line in output.splitlines() if searched.search(line)]


def parsed(output: str) -> list[dict[str, Any]]:
    """The lines, each a strict JSON object of limited size with the fields that all lines have."""
    lines = []
    for line in output.splitlines():
        assert len(line) < 20_000
        try:
            found = json.loads(line, parse_constant=pytest.fail)
        except ValueError:
            pytest.fail(f"not JSON: {line}")
        assert {"event", "level", "timestamp", "logger"} <= set(found), line
        lines.append(found)
    return lines


def refuse(status: int) -> Callable[[Request], Answer]:
    """An error of the provider that repeats the prompt."""

    def answer(request: Request) -> Answer:
        said = {"error": {"message": f"bad input {request.body}", "type": "invalid", "code": text("reported")}}
        return Answer([json.dumps(said).encode()], status)

    return answer


GOOD: Final = Answer([chat_chunk(text("answer")), chat_chunk(finish="stop"), DONE])
ANSWERS: Final = (
    GOOD,
    refuse(400),
    refuse(401),
    Answer([event({"error": {"message": text("reported"), "code": 400}}), DONE]),
    Answer([f"data: {text('malformed')!r}\n\n".encode(), DONE]),
    Answer(headers={f"not a name {mark('header')}": "x"}),  # the worker tries again
    GOOD,
)


async def use_rest(api: str) -> None:
    """Chats that are answered by a provider and by a team's code, an edit, and requests that are refused."""
    async with httpx.AsyncClient(base_url=api, timeout=15, headers={"Authorization": f"Bearer {token('ann')}"}) as http:
        service = {"Authorization": f"Bearer {token('backend', service=True)}"}
        for chat_id, responder in (("c", "openai"), ("d", "support.leaking_responder:leak")):
            ai = {"responder": responder, "systemPrompt": text("system")}
            body = {"id": chat_id, "title": mark("title"), "members": ["ann"], "ai": ai}
            created = await http.post("/api/chats", json=body, headers=service)
            assert created.status_code == 201, created.text

        async def ask(chat_id: str) -> dict[str, Any]:
            body = {"chatId": chat_id, "role": "USER", "content": text("message")}
            sent: dict[str, Any] = (await http.post("/api/chat/messages", json=body)).raise_for_status().json()

            async def ended() -> bool:
                page = await http.get(f"/api/chats/{chat_id}/events", params={"after": sent["seq"]})
                turns = [found["data"].get("turn") or {} for found in page.json()["events"]]
                return any(
                    turn.get("id") == sent["turn"]["id"] and turn["status"] not in {"queued", "streaming"}
                    for turn in turns
                )

            await until(ended, limit_s=30, step_s=0.05)
            return sent

        for _ in ANSWERS:
            sent = await ask("c")
        await ask("d")
        await http.put(f"/api/chats/c/messages/{sent['id']}", json={"content": text("edit")})
        for body in (
            b'{"chatId":"c","role":"USER","content":' + mark("invalid").encode(),
            json.dumps({"chatId": "c", "role": text("invalid"), "content": "x"}).encode(),
            json.dumps({"chatId": "c", "role": "USER", "content": "x", mark("key"): text("invalid")}).encode(),
            json.dumps({"chatId": "c", "role": "USER", "content": text("invalid") * 5_000}).encode(),
        ):
            refused = await http.post("/api/chat/messages", content=body, headers={"Content-Type": "application/json"})
            assert 400 <= refused.status_code < 500
        await http.get(f"/api/{mark('path')}?token={mark('query')}", headers={"Cookie": f"session={mark('cookie')}"})
        await http.get("/api/chats", headers={"Authorization": f"Bearer {mark('bearer')}.x.y"})


async def use_gateway(url: str) -> None:
    """A client that follows a chat and sends what is not understood; clients that are refused."""
    async with ChatClient(f"{url}?token={mark('query')}", auth={"token": token("ann")}) as client:
        assert (await client.call("join-chat", "c"))["ok"] is True
        await client.call("typing", {"chatId": "c", "text": text("typed")})
        await client.call("join-chat", {"chatId": {mark("key"): text("invalid")}})
        await client.emit(mark("eventname"), text("unknown"))
        await client.call("join-chat", "c")
    with pytest.raises(socketio.exceptions.ConnectionError):
        async with ChatClient(url, auth={"token": mark("socket")}):
            pass


async def lose_the_database(api: str, database: PostgresServer) -> None:
    """The database ends; a message is refused."""
    database.kill()
    async with httpx.AsyncClient(base_url=api, timeout=15, headers={"Authorization": f"Bearer {token('ann')}"}) as http:
        body = {"chatId": "c", "role": "USER", "content": text("message")}
        refused = await http.post("/api/chat/messages", json=body)
        assert refused.status_code == 503, refused.text


@pytest.mark.timeout(90)
async def test_no_line_of_a_whole_flow_contains_content_or_secrets(tmp_path: Path) -> None:
    with running(RedisServer(tmp_path)) as redis, postgres_server.running() as database:
        assert redis.command("CONFIG", "SET", "requirepass", mark("redis")) == b"+OK"
        url = database.url(database.create_database()).replace("roomcast@", f"roomcast:{mark('database')}@")
        async with running_provider(*ANSWERS) as provider:
            env = {
                "LOG_LEVEL": "debug",
                "LOG_FORMAT": "json",
                "REDIS_HOST": "127.0.0.1",
                "REDIS_PORT": str(redis.port),
                "REDIS_PASSWORD": mark("redis"),
                "DATABASE_URL": url,
                "ROOMCAST_SECRET": SECRET,
                "ROOMCAST_WORKER": "off",
                "OPENAI_API_KEY": mark("openai"),
                "OPENAI_BASE_URL": provider.url,
                "OPENAI_MODEL": "model",
                "ROOMCAST_RESPONDER": "openai,support.leaking_responder:leak",
                "PYTHONPATH": str(TESTS),
            }
            with Roomcast.api(None, env=env) as api:
                others = env | {"API_URL": api.internal_url}
                del others["DATABASE_URL"]
                with Roomcast.worker(env=env) as worker, Roomcast.gateway(env=others) as gateway:
                    await use_rest(api.api_url)
                    await use_gateway(gateway.gateway_url)
                    await lose_the_database(api.api_url, database)
                    for process in (gateway, worker, api):
                        process.stop()
    secrets = [token("ann").split(".")[0]]
    lines = []
    for process in (api, worker, gateway):
        assert leaks(process.output, secrets) == []
        lines += parsed(process.output)
    events = {line["event"].partition(":")[0] for line in lines}
    assert len(provider.requests) > len(ANSWERS)
    assert {"a responder failed", "a responder raised an exception", "message committed", "request answered"} <= events
    users = {line.get("userId") for line in lines if line.get("chatId") == "c"}
    assert "ann" in users
    assert {"requestId", "socketId", "userAgent", "ip"} <= {name for line in lines for name in line}
    assert {"warning", "info", "debug"} <= {line["level"] for line in lines}
