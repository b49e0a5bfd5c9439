"""Unread messages and mentions equal a recount from the events, with several devices and processes."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import pytest

from support.postgres_server import PostgresServer
from support.processes import Roomcast
from support.unread_counts import ENV, UnreadCounts

SEED = 5


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
async def test_counts_equal_a_recount_from_the_events(
    database: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    with ExitStack() as stack:
        if database == "sqlite":
            # One process has the file.
            servers = [stack.enter_context(Roomcast.api(tmp_path / "data", env=ENV))]
        else:
            postgres: PostgresServer = request.getfixturevalue("postgres")
            env = {**ENV, "DATABASE_URL": postgres.url(postgres.create_database())}
            servers = [stack.enter_context(Roomcast.api(None, env=env)) for _ in range(2)]
        counts = UnreadCounts([server.api_url for server in servers], SEED)
        try:
            await counts.create()
            await counts.run(400)
        finally:
            await counts.close()
        # The comparison is not one of zeros.
        assert min(counts.unread, counts.mentions) > 10
