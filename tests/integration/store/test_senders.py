"""Fifty senders into one chat, over HTTP, with real processes: one order, no gap, none lost."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import pytest

from support.http_senders import check, load
from support.large_store import load_now
from support.postgres_server import PostgresServer
from support.processes import Roomcast

_LIMITS = ("MESSAGES", "CHAT_MESSAGES", "REQUESTS", "ADDRESS_REQUESTS", "BYTES")
ENV = {"ROOMCAST_RESPONDER": "none"} | {f"ROOMCAST_LIMIT_{name}": "0" for name in _LIMITS}


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
async def test_fifty_senders_into_one_chat(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    with ExitStack() as stack:
        if kind == "sqlite":
            apis = [stack.enter_context(Roomcast.up(tmp_path, env=ENV))]
        else:
            postgres: PostgresServer = request.getfixturevalue("postgres")
            env = {**ENV, "DATABASE_URL": postgres.url(postgres.create_database())}
            apis = [stack.enter_context(Roomcast.api(None, env=env)) for _ in range(2)]
        urls = [api.api_url for api in apis]
        tally = await load(urls, "busy", seconds=3, senders=50)
        assert tally.failed == 0
        await check(urls[-1], "busy", tally)
    print(kind, tally.figures, load_now())  # noqa: T201 - figures of the run
