"""`roomcast publish` and a real server: stored once, whatever happens to requests; its output, its exit codes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from support.commands import Command, invoke
from support.processes import Roomcast
from support.tcp_proxy import TcpProxy


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Roomcast]:
    with Roomcast.up(tmp_path_factory.mktemp("data"), "--responder", "none") as server:
        yield server


def contents(server: Roomcast, chat: str) -> list[str]:
    page = httpx.get(f"{server.api_url}/api/chats/{chat}/messages").json()
    return [message["content"] for message in page["messages"]]


def test_a_message_is_stored_once_per_id_and_its_position_is_printed(server: Roomcast) -> None:
    args = ("publish", "ids", "Hello", "--id", "build-77", "--user", "alice", "--url", server.api_url)
    first, again = invoke(*args), invoke(*args)
    assert (first.exit_code, first.stdout.startswith("seq 1, id ")) == (0, True)
    assert again.stdout == f"{first.stdout.rstrip()} (already stored)\n"
    shown = json.loads(invoke(*args, "--json").stdout)
    assert shown["stored"] is False
    assert shown["message"]["userId"] == "alice"
    assert first.stdout == f"seq 1, id {shown['message']['id']}\n"
    assert contents(server, "ids") == ["Hello"]


@pytest.mark.parametrize("args", [(), ("-",)])
def test_the_text_is_read_from_the_standard_input(server: Roomcast, args: tuple[str, ...]) -> None:
    chat = f"input{len(args)}"
    done = invoke("publish", chat, *args, "--url", server.api_url, text="two\nlines é\n".encode())
    assert done.exit_code == 0, done.stderr
    assert contents(server, chat) == ["two\nlines é"]


async def test_a_lost_answer_is_repeated_and_stores_nothing_twice(server: Roomcast) -> None:
    assert server.api_port is not None
    async with TcpProxy(server.api_port) as proxy:
        proxy.lose_answer_to(b"POST /api/chat/messages")
        with Command("publish", "lost", "Hello", "--url", f"http://127.0.0.1:{proxy.port}") as publish:
            assert (await publish.until_lines(1))[0].endswith("(already stored)\n")
            assert publish.wait() == 0
    assert any("trying again" in line for line in publish.errors)
    assert contents(server, "lost") == ["Hello"]


async def test_a_server_that_returns_in_time_gets_the_message(tmp_path: Path) -> None:
    server = Roomcast.up(tmp_path / "data", "--responder", "none")
    with Command("publish", "later", "Hello", "--timeout", "60", "--url", server.api_url) as publish:
        await publish.until_error("Connection refused; trying again for 60 s")
        with server:
            assert publish.wait() == 0
            assert contents(server, "later") == ["Hello"]


def test_a_server_that_stays_away_gives_the_id_to_repeat_with() -> None:
    done = invoke("publish", "team", "x", "--id", "k", "--timeout", "0.5", "--url", "http://127.0.0.1:1")
    assert done.exit_code == 5
    assert "repeat with --id k" in done.stderr


def test_a_refused_message_exits_with_3_and_the_reason(server: Roomcast) -> None:
    done = invoke("publish", "team", "   ", "--url", server.api_url)
    assert done.exit_code == 3
    assert "invalid" in done.stderr
