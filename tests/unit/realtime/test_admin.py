from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from typing import Any

import pytest

from roomcast.realtime import Server
from roomcast.realtime.admin import AdminOptions, hash_password, instrument
from roomcast.realtime.core.handlers.dispatch import Dispatcher
from support.waiting import until

OPTIONS = AdminOptions(username="admin", password_hash=hash_password("secret"))


def of(client: Any, event: str) -> list[Any]:
    """The arguments of an event in ``/admin``."""
    head = f'42/admin,["{event}",'
    return [json.loads("[" + text[len(head) :]) for text in client.transport.texts if text.startswith(head)]


async def log_in(client: Any, **auth: str) -> str:
    client.say("40/admin," + json.dumps(auth))
    answers = await until(lambda: [text for text in client.transport.texts if text[:8] in {"40/admin", "44/admin"}])
    return str(answers[0])


def test_a_hash_is_salted_and_anything_else_is_refused_at_the_start() -> None:
    assert hash_password("secret") != hash_password("secret")
    for text in ("secret", "", "$2b$10$abc", "scrypt$1$1$1$!$!"):
        with pytest.raises(ValueError, match="hash_password"):
            instrument(Server(), replace(OPTIONS, password_hash=text))
    with pytest.raises(ValueError, match="bcrypt is not supported"):
        instrument(Server(), replace(OPTIONS, password_hash="$2b$10$abc"))
    assert "scrypt" not in repr(OPTIONS)


def test_a_server_that_is_not_instrumented_has_neither_the_namespace_nor_another_dispatcher() -> None:
    server = Server()
    assert "/admin" not in server.engine.namespaces()
    assert type(server.engine.dispatcher) is Dispatcher


async def test_only_the_right_credentials_or_a_session_are_accepted(peer: Any) -> None:
    server = Server()
    instrument(server, OPTIONS)
    for auth in (
        {"username": "admin", "password": "wrong"},
        {"username": "x", "password": "secret"},
        {"username": "admin", "password": "\ud800"},
        {"username": "\ud800", "password": "secret"},
        {"sessionId": ""},
    ):
        assert "invalid credentials" in await log_in(peer(server), **auth)
    client = peer(server)
    assert (await log_in(client, username="admin", password="secret")).startswith("40")
    ((session,),) = of(client, "session")
    assert (await log_in(peer(server), sessionId=session)).startswith("40")
    (stats,) = of(client, "server_stats")[0]
    assert {"name": "/admin", "socketsCount": 1} in stats["namespaces"]


async def test_many_attempts_at_once_are_refused_without_work(peer: Any) -> None:
    server = Server()
    instrument(server, OPTIONS)
    answers = await asyncio.gather(*(log_in(peer(server), username="admin", password=f"{n}") for n in range(12)))
    assert sum("too many attempts" in answer for answer in answers) == 8


async def test_a_ui_that_may_only_read_has_no_commands(peer: Any, settle: Any) -> None:
    server = Server()
    instrument(server, replace(OPTIONS, read_only=True))
    assert server.engine.registry.find("_disconnect", "/admin") is None
    client = peer(server)
    await log_in(client, username="admin", password="secret")
    assert of(client, "config") == [[{"supportedFeatures": ["AGGREGATED_EVENTS"]}]]
    victim = peer(server)
    await victim.enter()
    client.say('42/admin,["_disconnect","/",true]')
    await settle()
    assert victim.transport.texts == []


async def test_secrets_of_a_handshake_are_hidden_and_any_data_is_shown(peer: Any, settle: Any) -> None:
    server = Server()
    instrument(server, replace(OPTIONS, mode="development"))
    server.on("connect", lambda sid, environ: server.socket(sid).data.update(thing={1, 2}))
    client = peer(server)
    await log_in(client, username="admin", password="secret")
    other = peer(server)
    await other.enter()
    await settle()
    described = next(args[0] for args in of(client, "socket_connected") if args[0]["nsp"] == "/")
    assert described["data"] == {"thing": "{1, 2}"}
    assert described["handshake"]["headers"]["user-agent"] == "test"
    assert other.connection.sid not in json.dumps(described)
    server.socket(described["id"]).emit("n", 1)
    other.say('42["unknown",2]')
    await settle()
    assert [args[:3] for args in of(client, "event_sent")] == [["/", described["id"], ["n", 1]]]
    assert [args[:3] for args in of(client, "event_received")] == [["/", described["id"], ["unknown", 2]]]


async def test_the_timer_ends_with_the_last_connection(peer: Any, settle: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr("roomcast.realtime.admin._STATS_INTERVAL_S", 0.01)
    server = Server()
    instrument(server, OPTIONS)
    client = peer(server)
    await log_in(client, username="admin", password="secret")
    await until(lambda: len(of(client, "server_stats")) >= 3)
    client.connection.transport_closed()
    await settle()
    assert server.connections == 0
    loop = asyncio.get_running_loop()
    started: list[Any] = []
    call_later = loop.call_later

    def recording(delay: float, callback: Any, *args: Any) -> Any:
        started.append(getattr(callback, "__name__", ""))
        return call_later(delay, callback, *args)

    monkeypatch.setattr(loop, "call_later", recording)
    await asyncio.sleep(0.05)  # five intervals
    assert "_tick" not in started
