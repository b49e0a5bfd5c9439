"""A database of an earlier version is migrated while its replicas serve; then new ones serve beside them."""

from __future__ import annotations

import asyncio
import itertools
import signal
import subprocess
import time
from collections import Counter, defaultdict
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest

from roomcast.auth.options import AuthOptions
from roomcast.auth.tokens import TokenIssuer
from support.large_store import load_now
from support.packages import ROOT
from support.postgres_server import PostgresServer
from support.processes import ROOMCAST, Roomcast, clean_environment, run_roomcast
from support.programs import unavailable

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(240)]
#: The last commit with the schema 0005.
OLD = "44dd86f"
SECRET = "a secret of more than thirty-two bytes"
CHATS = 3
#: What eve has not read. The replicas have two clocks, so the order of the times is not that of the messages.
UNREAD = """
    SELECT count(*) FROM messages WHERE chat_id = '{0}' AND place > (
        SELECT max(place) FROM messages seen JOIN members ON members.chat_id = seen.chat_id
        WHERE seen.chat_id = '{0}' AND members.user_id = 'eve' AND created_at <= added_at
    )
"""
#: Answers that say to try again.
RETRYABLE = frozenset({429, 503})


@pytest.fixture
def old_source(tmp_path: Path) -> str:
    """The source of the earlier version."""
    archive = subprocess.run(["git", "archive", OLD, "src"], cwd=ROOT, capture_output=True, check=False)
    if archive.returncode:
        unavailable(f"the commit {OLD} is not in this checkout: fetch all of its history")
    subprocess.run(["tar", "-x", "-C", tmp_path], input=archive.stdout, check=True)
    return str(tmp_path / "src")


class Senders:
    """Members that send to all replicas, and repeat a message until it is stored."""

    def __init__(self, apis: list[str]) -> None:
        self.apis = apis
        self.chats: list[str] = []
        self.stored: dict[str, dict[str, int]] = defaultdict(dict)
        self.outcomes: Counter[str] = Counter()
        self.stopping = False
        self.progress = asyncio.Event()
        self.http = httpx.AsyncClient(timeout=30)
        issuer = TokenIssuer(AuthOptions(SECRET))
        self.tokens = {user: issuer.issue(user, ttl_s=3_600) for user in ("ann", "bob", "eve")}

    async def request(self, api: str, user: str, method: str, path: str, body: object = None) -> httpx.Response:
        headers = {"Authorization": f"Bearer {self.tokens[user]}"}
        return await self.http.request(method, f"{api}{path}", json=body, headers=headers)

    async def wait_for(self, messages: int) -> None:
        """Wait until so many more messages are stored."""
        goal = sum(map(len, self.stored.values())) + messages
        async with asyncio.timeout(60):
            while sum(map(len, self.stored.values())) < goal:
                self.progress.clear()
                await self.progress.wait()

    async def events(self, api: str, chat: str) -> list[dict[str, Any]]:
        """All events of a chat."""
        found: list[dict[str, Any]] = []
        while True:
            answer = await self.request(api, "ann", "GET", f"/api/chats/{chat}/events?after={len(found)}&limit=500")
            found += answer.json()["events"]
            if not answer.json()["more"]:
                return found

    async def run(self) -> None:
        """Send until `stopping`."""
        await asyncio.gather(*(self._send(number) for number in range(12)))

    async def _send(self, number: int) -> None:
        for count in itertools.count():
            if self.stopping:
                return
            chat, key = self.chats[(number + count) % len(self.chats)], f"k-{number}-{count}"
            body = {"chatId": chat, "role": "USER", "content": f"{key} @bob", "clientMsgId": key}
            for attempt in itertools.count():
                apis = self.apis  # those that serve now
                api = apis[(number + attempt) % len(apis)]
                try:
                    answer = await self.request(api, "ann", "POST", "/api/chat/messages", body)
                except httpx.TransportError:
                    self.outcomes["no connection"] += 1
                    continue
                self.outcomes[str(answer.status_code)] += 1
                if answer.is_success:
                    self.stored[chat][key] = answer.json()["seq"]
                    self.progress.set()
                    break
                assert answer.status_code in RETRYABLE, answer.text
                await asyncio.sleep(0.05)
            await asyncio.sleep(0.01)


async def test_old_replicas_serve_while_the_database_is_migrated_and_beside_new_ones(
    postgres: PostgresServer, old_source: str
) -> None:
    name = postgres.create_database()
    env = {"DATABASE_URL": postgres.url(name), "ROOMCAST_SECRET": SECRET, "ROOMCAST_LIMIT_REQUESTS": "0"} | {
        f"ROOMCAST_LIMIT_{limit}": "0" for limit in ("MESSAGES", "CHAT_MESSAGES", "ADDRESS_REQUESTS", "BYTES")
    }
    old_env = {**env, "PYTHONPATH": old_source}
    # Not by `run_roomcast`, which may fork a process that has imported this version.
    command, usual = [ROOMCAST, "migrate"], clean_environment(old_env)
    await asyncio.to_thread(subprocess.run, command, env=usual, check=True, capture_output=True)
    assert postgres.execute("SELECT version_num FROM alembic_version", name) == [("0005",)]
    with ExitStack() as stack:
        old = [Roomcast.api(None, env=old_env) for _ in range(2)]
        for replica in old:
            replica.forked = False
            stack.enter_context(replica)
        senders = Senders([replica.api_url for replica in old])
        async with senders.http:
            for _ in range(CHATS):
                created = await senders.request(old[0].api_url, "ann", "POST", "/api/chats", {"members": ["bob"]})
                assert created.status_code == 201, created.text
                senders.chats.append(created.json()["id"])
            sending = asyncio.create_task(senders.run())
            await senders.wait_for(500)
            began = time.monotonic()
            migrated = await asyncio.to_thread(run_roomcast, "migrate", env=env, timeout_s=60)
            took = time.monotonic() - began
            assert migrated.returncode == 0, migrated.stderr
            await senders.wait_for(300)
            # The owner of this chat is not known to the old replica; eve has no cursor.
            added = await senders.request(old[1].api_url, "ann", "PUT", f"/api/chats/{senders.chats[0]}/members/eve")
            assert added.is_success, added.text
            new = [stack.enter_context(Roomcast.api(None, env=env)) for _ in range(2)]
            senders.apis = [replica.api_url for replica in (*old, *new)]
            await senders.wait_for(1_000)
            senders.apis = [replica.api_url for replica in new]
            for replica in old:
                await asyncio.to_thread(replica.stop, signal.SIGTERM)
            await senders.wait_for(200)
            senders.stopping = True
            await sending
            print(migrated.stdout, migrated.stderr)  # noqa: T201 - steps
            print(f"migrated in {took:.1f} s; answers {dict(senders.outcomes)}; {load_now()}")  # noqa: T201 - figures
            for chat, stored in senders.stored.items():
                found = await senders.events(new[0].api_url, chat)
                assert [event["seq"] for event in found] == list(range(1, len(found) + 1))
                sent = [event for event in found if event["data"].get("role") == "USER"]
                assert {event["data"]["clientMsgId"]: event["seq"] for event in sent} == stored
                assert len(sent) == len(stored)
                members = (await senders.request(new[1].api_url, "ann", "GET", f"/api/chats/{chat}/members")).json()
                roles = {member["userId"]: member["role"] for member in members["members"]}
                assert roles["ann"] == "owner"
                assert roles["bob"] == "member"
            first = senders.chats[0]
            listed = (await senders.request(new[1].api_url, "eve", "GET", "/api/chats")).json()
            (chat_of_eve,) = listed["chats"]
            after = postgres.execute(UNREAD.format(first), name)
            assert chat_of_eve["unread"] == min(after[0][0], 999)
    deadlocks = postgres.execute(f"SELECT deadlocks FROM pg_stat_database WHERE datname = '{name}'")  # noqa: S608 - ids of this test
    assert deadlocks == [(0,)], (postgres.directory / "server.log").read_text()[-8_000:]
