"""A PostgreSQL of a test's own, to be killed and paused."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from support.postgres_server import PostgresServer, running


@pytest.fixture
def own_postgres() -> Iterator[PostgresServer]:
    """Waits for the disk, as a real one does."""
    with running(durable=True) as server:
        yield server
