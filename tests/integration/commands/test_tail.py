"""`roomcast tail` and real servers: complete and without repeats through kills, its output, its exit codes."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest

from roomcast.auth.options import AuthOptions
from roomcast.auth.tokens import TokenIssuer
from roomcast.contract.tenants import qualify
from support.clients import send
from support.commands import Command, invoke
from support.processes import ROOMCAST, Roomcast, clean_environment
from support.redis_server import RedisServer, environment, running

SECRET = "s" * 32
CHAT = "team"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Roomcast]:
    """A server without AI, with authentication off."""
    with Roomcast.up(tmp_path_factory.mktemp("data"), "--responder", "none") as server:
        yield server


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisServer]:
    with running(RedisServer(tmp_path / "redis")) as redis:
        yield redis


async def test_tail_is_complete_and_repeats_nothing_when_the_gateway_and_the_api_are_killed(
    tmp_path: Path, redis: RedisServer
) -> None:
    with ExitStack() as stack:
        api = stack.enter_context(Roomcast.api(tmp_path / "data", "--responder", "none", env=environment(redis)))
        gateway = stack.enter_context(Roomcast.gateway(env=environment(redis, API_URL=api.internal_url)))
        sent = [f"message {number}" for number in range(30)]
        options = ("--json", "--since", "0", "--url", api.api_url, "--gateway-url", gateway.gateway_url)
        for content in sent[:5]:
            await send(api.api_url, CHAT, content)
        with Command("tail", CHAT, *options) as tail:
            await tail.until_error("following")
            for content in sent[5:10]:
                await send(api.api_url, CHAT, content)
            assert await tail.contents(10) == sent[:10]

            gateway.kill()
            for content in sent[10:20]:
                await send(api.api_url, CHAT, content)
            await tail.until_error("trying again")
            gateway.start()
            assert await tail.contents(20) == sent[:20]

            api.kill()
            api.start()
            for content in sent[20:]:
                await send(api.api_url, CHAT, content)
            assert await tail.contents(30) == sent
            assert tail.interrupt() == 0
    seqs = [json.loads(line)["seq"] for line in tail.lines]
    assert seqs == list(range(1, 31))


async def test_tail_shows_the_past_without_a_gateway_and_is_interrupted_in_error(server: Roomcast) -> None:
    await send(server.api_url, "past", "one")
    options = ("--url", server.api_url, "--gateway-url", "http://127.0.0.1:1")
    with Command("tail", "past", *options) as tail:
        await tail.until_error("http://127.0.0.1:1 does not answer: Connection refused; trying again")
        assert tail.interrupt() == 130
    assert [line.split()[-1] for line in tail.lines] == ["one"]


def post(server: Roomcast, chat: str, *contents: str, **fields: str) -> None:
    with httpx.Client(verify=False) as client:  # noqa: S501 - loopback, and loading authorities takes long
        for content in contents:
            body = {"chatId": chat, "role": "USER", "content": content, **fields}
            client.post(f"{server.api_url}/api/chat/messages", json=body).raise_for_status()


def test_an_event_is_one_line_that_cannot_control_the_terminal(server: Roomcast) -> None:
    post(server, "lines", "plain", userId="alice")
    post(server, "lines", "two\n2026-11-29 00:00:00 forged \x1b[31m\u202e", userId="bob")
    shown = invoke("tail", "lines", "--no-follow", "--url", server.api_url)
    assert (shown.exit_code, shown.stderr) == (0, "")
    first, second, third = shown.stdout.splitlines()
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d +1  alice +plain", first)
    assert re.search(r" 2  bob +two$", second)
    assert third == r"        2026-11-29 00:00:00 forged \x1b[31m\u202e"


def test_tail_begins_where_the_options_say(server: Roomcast) -> None:
    post(server, "many", *map(str, range(1, 21)))
    between = datetime.now(UTC).isoformat()
    post(server, "many", *map(str, range(21, 31)))

    def seqs(*args: str) -> list[int]:
        done = invoke("tail", "many", "--no-follow", "--json", "--url", server.api_url, *args)
        assert done.exit_code == 0, done.stderr
        return [json.loads(line)["seq"] for line in done.stdout.splitlines()]

    assert seqs() == list(range(21, 31))
    assert seqs("-n", "2") == [29, 30]
    assert seqs("-n", "0") == []
    assert seqs("--since", "27") == [28, 29, 30]
    assert seqs("--since", "99") == []
    assert seqs("--since", "1h") == list(range(1, 31))
    assert seqs("--since", between) == list(range(21, 31))
    assert seqs("--since", "1h", "-n", "1") == [30]


def test_tail_ends_when_its_reader_has_ended_even_if_no_event_follows(server: Roomcast) -> None:
    post(server, "head", "one", "two")
    script = f"'{ROOMCAST}' tail head --url {server.api_url} | head -1; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(
        ["bash", "-c", script], env=clean_environment(), capture_output=True, text=True, timeout=20, check=False
    )
    assert done.returncode == 0
    assert done.stdout.endswith(" one\n")
    assert "Traceback" not in done.stderr
    assert "BrokenPipe" not in done.stderr


async def test_an_answer_is_one_event(tmp_path: Path) -> None:
    with (
        Roomcast.up(tmp_path / "data", "--responder", "demo") as server,
        Command("tail", CHAT, "--json", "--url", server.api_url) as tail,
    ):
        await tail.until_error("following")
        await send(server.api_url, CHAT, "Say something.")
        events = [json.loads(line) for line in await tail.until_lines(3)]
    assert [event["event"] for event in events] == ["new-msg", "ai-status", "new-msg"]
    assert "Say something." in events[-1]["data"]["content"]


@pytest.fixture
def protected(tmp_path: Path) -> Iterator[Roomcast]:
    """A server with authentication below a base path, and a chat of ann and ben."""
    env = {"ROOMCAST_SECRET": SECRET, "ROOMCAST_BASE_PATH": "/chat"}
    with Roomcast.up(tmp_path / "data", "--responder", "none", env=env) as server:
        body = {"id": CHAT, "members": ["ann", "ben"]}
        httpx.post(f"{server.api_url}/api/chats", json=body, headers=service()).raise_for_status()
        yield server


def service() -> dict[str, str]:
    return {"Authorization": f"Bearer {TokenIssuer(AuthOptions(SECRET)).issue('setup', ttl_s=600, service=True)}"}


async def test_a_member_that_is_removed_sees_it_and_the_command_ends(protected: Roomcast) -> None:
    env = {"ROOMCAST_SECRET": SECRET, "ROOMCAST_URL": f"{protected.api_url}/chat/"}
    with Command("tail", CHAT, "--user", "ann", env=env) as ann:
        await ann.until_error("following")
        async with httpx.AsyncClient(verify=False) as client:  # noqa: S501 - loopback
            url = f"{protected.api_url}/api/chats/{CHAT}/members/ann"
            (await client.delete(url, headers=service())).raise_for_status()
        assert ann.wait() == 4
    assert ann.lines[-1].endswith(" removed ann\n")


def test_tail_and_publish_say_who_is_refused_and_what_to_change(protected: Roomcast, tmp_path: Path) -> None:
    (tmp_path / "wrong").write_text("wrong\n")
    (tmp_path / "ben").write_text(TokenIssuer(AuthOptions(SECRET)).issue("ben", ttl_s=600))
    here = {"ROOMCAST_URL": f"{protected.api_url}/chat/"}
    secret = {**here, "ROOMCAST_SECRET": SECRET}
    for command in (("publish", CHAT, "Hello"), ("tail", CHAT, "--no-follow")):
        assert invoke(*command, "--user", "ann", env=secret).exit_code == 0
        assert invoke(*command, "--token-file", str(tmp_path / "ben"), env=here).exit_code == 0
        stranger = invoke(*command, "--user", "eve", env=secret)
        assert (stranger.exit_code, "name a member with --user" in stranger.stderr) == (4, True)
        no_user = invoke(*command, env=secret)
        assert (no_user.exit_code, "--user is missing" in no_user.stderr) == (2, True)
        if command[0] == "tail":
            both = invoke(*command, "--user", "ann", "--token-file", str(tmp_path / "ben"), env=here)
            assert (both.exit_code, "--user has no effect" in both.stderr) == (2, True)
        wrong = invoke(*command, "--token-file", str(tmp_path / "wrong"), env=here)
        assert (wrong.exit_code, "set ROOMCAST_TOKEN" in wrong.stderr) == (3, True)
        none = invoke(*command, env=here)
        assert (none.exit_code, "set ROOMCAST_TOKEN" in none.stderr) == (3, True)
    lines = invoke("tail", CHAT, "--no-follow", "--user", "ann", env=secret).stdout.splitlines()
    assert [line.split()[-2:] for line in lines[-2:]] == [["ann", "Hello"], ["ben", "Hello"]]


def test_tail_and_publish_reach_the_chats_of_a_tenant(protected: Roomcast, tmp_path: Path) -> None:
    env = {"ROOMCAST_SECRET": SECRET, "ROOMCAST_URL": f"{protected.api_url}/chat/"}
    setup = TokenIssuer(AuthOptions(SECRET)).issue(qualify("acme", "setup"), ttl_s=600, service=True)
    body = {"id": CHAT, "members": ["ann"]}
    headers = {"Authorization": f"Bearer {setup}"}
    httpx.post(f"{protected.api_url}/api/chats", json=body, headers=headers).raise_for_status()
    of_acme = ("--user", "ann", "--tenant", "acme")
    assert invoke("publish", CHAT, "Hello of acme", *of_acme, env=env).exit_code == 0
    assert "Hello of acme" in invoke("tail", CHAT, "--no-follow", *of_acme, env=env).stdout
    # The chat with the same id of the default tenant is another one.
    assert "Hello of acme" not in invoke("tail", CHAT, "--no-follow", "--user", "ann", env=env).stdout
    invalid = invoke("publish", CHAT, "x", "--user", "ann", "--tenant", "a b", env=env)
    assert (invalid.exit_code, "--tenant is 'a b'" in invalid.stderr) == (2, True)
    (tmp_path / "token").write_text(setup)
    useless = invoke("tail", CHAT, "--token-file", str(tmp_path / "token"), "--tenant", "acme", env=env)
    assert (useless.exit_code, "--tenant has no effect" in useless.stderr) == (2, True)


@pytest.mark.parametrize(
    ("args", "named"),
    [
        (("a b",), "CHAT is 'a b'"),
        ((CHAT, "--since", "yesterday"), "--since is 'yesterday'"),
        ((CHAT, "--url", "ftp://host"), "--url is 'ftp://host'"),
        ((CHAT, "--token-file", "absent"), "--token-file names absent"),
    ],
)
def test_an_invalid_option_is_named(args: tuple[str, ...], named: str) -> None:
    done = invoke("tail", *args)
    assert done.exit_code == 2
    assert done.stderr.startswith(f"roomcast: {named}")


def test_a_server_that_does_not_answer_or_is_another_one_is_named(server: Roomcast) -> None:
    away = invoke("tail", CHAT, env={"ROOMCAST_URL": "http://127.0.0.1:1"})
    assert away.exit_code == 5
    assert "http://127.0.0.1:1 does not answer" in away.stderr
    other = invoke("tail", CHAT, "--url", server.gateway_url)
    assert other.exit_code == 5
    assert "is not the API of Roomcast" in other.stderr
