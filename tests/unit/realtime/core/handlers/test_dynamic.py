from __future__ import annotations

import asyncio
import json
import re
from typing import Any

import pytest

from roomcast.realtime import Server, ServerOptions

NUMBERED = re.compile(r"^/n-\d+$")


async def test_handlers_of_a_dynamic_namespace_serve_each_child_after_its_own_and_before_those_for_any_name(
    peer: Any, settle: Any
) -> None:
    server = Server(ServerOptions(namespaces=("*",)))
    numbered = server.dynamic_namespace(NUMBERED)
    server.on("own", lambda sid: "by name", "/n-1")
    for event in ("own", "shared"):
        numbered.on(event)(lambda namespace, sid: f"shared {namespace}")
    numbered.on("*")(lambda event, namespace, sid: f"{event} {namespace}")
    server.on("shared", lambda namespace, sid: f"any {namespace}", "*")
    client = peer(server)
    answers = []
    for namespace in ("/n-1", "/n-2", "/x"):
        await client.enter(namespace)
        for event in ("own", "shared", "other"):
            client.say(f'42{namespace},1["{event}"]')
        await settle()
        answers.append([json.loads(text.partition(",1")[2])[0] for text in client.transport.texts])
        client.transport.messages.clear()
    assert answers == [
        ["by name", "shared /n-1", "other /n-1"],
        ["shared /n-2", "shared /n-2", "other /n-2"],
        ["any /x"],
    ]
    assert sorted(numbered.children) == ["/n-1", "/n-2"]


async def test_the_dynamic_namespace_that_was_added_first_wins_and_the_next_is_asked_if_a_rule_refuses_or_fails(
    peer: Any, settle: Any, caplog: pytest.LogCaptureFixture
) -> None:
    server = Server()
    asked = []

    async def refuses(name: str, auth: Any) -> bool:
        asked.append((name, auth))
        await asyncio.sleep(0)
        return False

    async def fails(name: str, auth: Any) -> bool:
        raise LookupError("on purpose")

    def fails_at_once(name: str, auth: Any) -> bool:
        raise LookupError("on purpose")

    for rule in (refuses, fails, fails_at_once):
        server.dynamic_namespace(rule)
    first, second = server.dynamic_namespace(NUMBERED), server.dynamic_namespace(NUMBERED)
    client = peer(server)
    client.say('40/n-1,{"k":1}')
    await settle(20)
    assert (first.children, second.children) == (["/n-1"], [])
    assert asked == [("/n-1", {"k": 1})]
    assert len(caplog.records) == 2
    client.say("40/x,")
    await settle(20)
    assert client.transport.texts[-1] == '44/x,{"message":"Invalid namespace"}'


@pytest.mark.parametrize("cleanup", [True, False])
async def test_an_empty_child_is_removed_if_the_option_says_so(peer: Any, settle: Any, cleanup: bool) -> None:
    server = Server(ServerOptions(cleanup_empty_child_namespaces=cleanup))
    asked = []
    dynamic = server.dynamic_namespace(lambda name, auth: asked.append(name) is None)
    client = peer(server)
    for _ in range(2):
        await client.enter("/child")
        client.say("41/child,")
        await settle()
    assert dynamic.children == ([] if cleanup else ["/child"])
    assert len(asked) == (2 if cleanup else 1)


@pytest.mark.parametrize("event", ["close", "refuse"])
async def test_a_child_that_gets_no_socket_is_removed(peer: Any, settle: Any, event: str) -> None:
    server = Server()
    decided = asyncio.get_running_loop().create_future()

    async def rule(name: str, auth: Any) -> bool:
        return bool(await decided)

    dynamic = server.dynamic_namespace(rule)
    connected = []
    dynamic.on("connect")(lambda namespace, sid, environ: connected.append(sid) is not None)  # False: refused
    client = peer(server)
    client.say("40/child,")
    await settle()
    if event == "close":
        client.connection.transport_closed()
    decided.set_result(True)
    await settle()
    assert len(connected) == (event == "refuse")
    assert dynamic.children == []
    assert server.engine.used_hub("/child") is None


async def test_the_children_that_are_kept_are_limited(peer: Any, settle: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr("roomcast.realtime.core.handlers.dynamic._MAX_KEPT", 3)
    server = Server(ServerOptions(cleanup_empty_child_namespaces=False))
    dynamic = server.dynamic_namespace(NUMBERED)
    client = peer(server)
    for number in range(10):
        await client.enter(f"/n-{number}")
        client.say(f"41/n-{number},")
        await settle()
    assert len(dynamic.children) == 3
