"""As `test_unread_counts` among the integration tests: 10,000 operations on three devices and two processes."""

from __future__ import annotations

import os
import random
from contextlib import ExitStack
from pathlib import Path

import pytest

from support.postgres_server import PostgresServer
from support.processes import Roomcast
from support.unread_counts import ENV, UnreadCounts

pytestmark = pytest.mark.chaos


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
async def test_counts_equal_a_recount_after_ten_thousand_operations(
    database: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    seed = int(os.environ.get("SEED") or random.randrange(1_000_000))
    print(f"SEED={seed}")  # noqa: T201 - to reproduce a failure
    with ExitStack() as stack:
        if database == "sqlite":
            # One process has the file.
            servers = [stack.enter_context(Roomcast.api(tmp_path / "data", env=ENV))]
        else:
            postgres: PostgresServer = request.getfixturevalue("postgres")
            env = {**ENV, "DATABASE_URL": postgres.url(postgres.create_database())}
            servers = [stack.enter_context(Roomcast.api(None, env=env)) for _ in range(2)]
        counts = UnreadCounts([server.api_url for server in servers], seed, check_every=40)
        try:
            await counts.create()
            await counts.run(int(os.environ.get("OPERATIONS") or 10_000))
        finally:
            await counts.close()
    print(counts.done, counts.checked, counts.unread, counts.mentions)  # noqa: T201 - figures of the run
    assert min(counts.unread, counts.mentions) > 10
