"""`roomcast users export` and `erase` over real processes, on both databases."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import stat
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from roomcast.auth.options import AuthOptions
from roomcast.auth.tokens import TokenIssuer
from roomcast.contract.tenants import qualify
from support import postgres_server, redis_server
from support.commands import Command, invoke
from support.processes import ROOMCAST, Roomcast, clean_environment
from support.tcp_proxy import TcpProxy

SECRET = "a secret of more than thirty-two bytes"


@dataclass
class Server:
    """A running API and what it stores."""

    url: str

    def run(self, *args: str, secret: str = SECRET, **env: str) -> Any:
        """Run `roomcast users`."""
        return invoke("users", *args, "--url", self.url, env={"ROOMCAST_SECRET": secret, **env})

    def send(self, user: str, content: str, chat: str, tenant: str = "") -> None:
        """Store a message of a user in a new chat."""
        token = TokenIssuer(AuthOptions(SECRET)).issue(qualify(tenant, user), ttl_s=600, service=True)
        service = {"Authorization": f"Bearer {token}"}
        with httpx.Client(base_url=self.url, headers=service) as http:
            http.post("/api/chats", json={"id": chat, "members": [user]}).raise_for_status()
            message = {"chatId": chat, "role": "USER", "userId": user, "content": content}
            http.post("/api/chat/messages", json=message).raise_for_status()

    def contents(self, chat: str, tenant: str = "") -> list[str]:
        """The texts of a chat."""
        token = TokenIssuer(AuthOptions(SECRET)).issue(qualify(tenant, "reader"), ttl_s=600, service=True)
        page = httpx.get(f"{self.url}/api/chats/{chat}/messages", headers={"Authorization": f"Bearer {token}"})
        return [message["content"] for message in page.json()["messages"]]


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    env = {"ROOMCAST_SECRET": SECRET, "ROOMCAST_RESPONDER": "none"}
    if request.param == "sqlite":
        with Roomcast.up(tmp_path_factory.mktemp("data"), env=env) as up:
            yield Server(up.api_url)
        return
    redis = redis_server.RedisServer(tmp_path_factory.mktemp("redis"))
    with postgres_server.running() as postgres, redis_server.running(redis):
        env = redis_server.environment(redis, DATABASE_URL=postgres.url(postgres.create_database()), **env)
        with Roomcast.api(None, env=env) as api:
            yield Server(api.api_url)


def rows(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def test_an_export_has_the_rows_of_the_user_and_its_end(server: Server, tmp_path: Path) -> None:
    server.send("ann/1", "line\u2028separator", "export-a")
    server.send("bob", "of another", "export-b")
    done = server.run("export", "ann/1")
    assert done.exit_code == 0, done.stderr
    found = rows(done.stdout.replace("\u2028", "|"))
    assert found[-1] == {"table": "end"}
    assert "line|separator" in [row.get("content") for row in found]
    assert "of another" not in done.stdout

    file = tmp_path / "ann.ndjson"
    assert server.run("export", "ann/1", "-o", str(file)).exit_code == 0
    assert file.read_text().encode() == done.stdout.encode()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    again = server.run("export", "ann/1", "-o", str(file))
    assert again.exit_code == 1
    assert "the file exists; name another one" in again.stderr
    assert list(tmp_path.iterdir()) == [file]


def test_an_erasure_is_followed_to_its_end_and_leaves_others(server: Server) -> None:
    server.send("cid", "to erase", "erase-a")
    server.send("dan", "to keep", "erase-b")
    done = server.run("erase", "cid", "--yes")
    assert done.exit_code == 0, done.stderr
    erasure, _, state = done.stdout.partition(": ")
    assert erasure.startswith("erased-")
    assert state.startswith("done, ")
    assert (server.contents("erase-a"), server.contents("erase-b")) == ([""], ["to keep"])
    assert rows(server.run("export", "cid").stdout)[-1] == {"table": "end"}
    requested = server.run("erase", "cid", "--yes", "--no-wait")
    assert (requested.exit_code, requested.stdout.endswith(": requested\n")) == (0, True)


def test_a_tenant_has_users_of_its_own(server: Server) -> None:
    server.send("eve", "of acme", "tenant-a", "acme")
    server.send("eve", "of the default", "tenant-a")
    assert "of acme" in server.run("export", "eve", "--tenant", "acme").stdout
    assert "of acme" not in server.run("export", "eve").stdout
    assert server.run("erase", "eve", "--tenant", "acme", "--yes").exit_code == 0
    assert (server.contents("tenant-a", "acme"), server.contents("tenant-a")) == ([""], ["of the default"])


def test_without_a_terminal_a_confirmation_is_an_option(server: Server) -> None:
    server.send("fay", "stays", "confirm-a")
    done = server.run("erase", "fay")
    assert done.exit_code == 2
    assert "--yes" in done.stderr
    assert server.contents("confirm-a") == ["stays"]


@pytest.mark.parametrize(("answer", "code", "left"), [("n\n", 1, ["stays"]), ("\x04", 1, ["stays"]), ("y\n", 0, [""])])
def test_a_terminal_is_asked(server: Server, answer: str, code: int, left: list[str]) -> None:
    chat = f"asked-{answer.encode().hex()}"
    server.send(f"gus-{chat}", "stays", chat)
    main, terminal = pty.openpty()
    with os.fdopen(main, "wb", buffering=0) as keyboard:
        process = subprocess.Popen(
            [str(ROOMCAST), "users", "erase", f"gus-{chat}", "--url", server.url],
            stdin=terminal,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=clean_environment({"ROOMCAST_SECRET": SECRET}),
        )
        os.close(terminal)
        keyboard.write(answer.encode())
        _, errors = process.communicate(timeout=30)
    assert process.returncode == code, errors
    assert f"'gus-{chat}'".encode() in errors
    assert server.contents(chat) == left


def test_a_token_that_may_not_exits_with_3(server: Server) -> None:
    token = TokenIssuer(AuthOptions(SECRET)).issue("hal", ttl_s=600)
    for args, said in (
        (("erase", "hal", "--yes"), "service token"),
        (("export", "ivy"), "your own data only"),
    ):
        done = server.run(*args, ROOMCAST_TOKEN=token)
        assert done.exit_code == 3
        assert said in done.stderr
    assert server.run("export", "hal", ROOMCAST_TOKEN=token).exit_code == 0
    wrong = server.run("export", "hal", secret="another secret of more than thirty-two bytes")
    assert wrong.exit_code == 3
    assert "ROOMCAST_SECRET" in wrong.stderr
    assert "--user" not in wrong.stderr


async def test_an_export_that_is_cut_off_leaves_no_file_and_exits_with_5(server: Server, tmp_path: Path) -> None:
    for number in range(12):
        server.send("joe", "x" * 30_000, f"cut-{number}")
    chunks = iter(range(4))

    def cut_later() -> float:
        if next(chunks, None) is None:
            raise ConnectionResetError
        return 0.0

    async with TcpProxy(int(server.url.rsplit(":", 1)[1]), cut_later) as proxy:
        url = f"http://127.0.0.1:{proxy.port}"
        args = ("users", "export", "joe", "-o", str(tmp_path / "joe.ndjson"), "--url", url)
        with Command(*args, env={"ROOMCAST_SECRET": SECRET}) as export:
            assert await asyncio.to_thread(export.wait) == 5
    assert any("cut off" in line for line in export.errors)
    assert os.listdir(tmp_path) == []  # noqa: PTH208 - in an async test


def test_a_server_that_does_not_answer_exits_with_5() -> None:
    done = invoke("users", "export", "ann", "--timeout", "0.3", "--url", "http://127.0.0.1:1")
    assert done.exit_code == 5


@pytest.mark.parametrize("user", ["", "a" * 129])
def test_what_is_no_user_id_exits_with_2(user: str) -> None:
    for command in ("export", "erase"):
        assert invoke("users", command, user).exit_code == 2
