"""Programs that some tests need: their fixtures, and skips or failures where one is missing."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from support import redis_server
from support.postgres_server import PostgresServer, running
from support.redis_server import RedisServer

ROOT = Path(__file__).resolve().parent.parent


def find_chromium() -> str | None:
    """The browser's path: ``CHROMIUM`` if set, else the first known name on the PATH."""
    named = os.environ.get("CHROMIUM")
    if named:
        return named
    found = (shutil.which(name) for name in ("chromium", "chromium-browser", "google-chrome"))
    return next((path for path in found if path), None)


def missing_for(item: pytest.Item) -> str | None:
    """Why this test cannot run on this machine; None if it can."""
    if item.get_closest_marker("browser"):
        if find_chromium() is None:
            return "Chromium not found: apt-get install chromium, or set CHROMIUM to its path"
        if not (ROOT / "src/roomcast/api/page/index.html").exists():
            return "the chat page is not built: make .make/page"
    if item.get_closest_marker("official_clients") and not (ROOT / "tests/e2e/official/dist/index.html").exists():
        return "the page with the official clients is not built: make .make/node-peers"
    if item.get_closest_marker("node"):
        if shutil.which("node") is None:
            return "Node not found on the PATH: run `make test`"
        if not (ROOT / "web/node_modules/socket.io-client").exists():
            return "the web packages are not installed: make .make/web"
    return None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip tests that cannot run on this machine; fail them under ``CI=true``."""
    in_ci = os.environ.get("CI") == "true"
    for item in items:
        reason = missing_for(item)
        if reason is None:
            continue
        if in_ci:
            item.add_marker(pytest.mark.usefixtures("fail_for_missing_program"))
            item.user_properties.append(("missing", reason))
        else:
            item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture
def fail_for_missing_program(request: pytest.FixtureRequest) -> None:
    """Fails a test whose program is missing."""
    pytest.fail(dict(request.node.user_properties)["missing"])


@pytest.fixture(scope="session")
def chromium_path() -> str:
    """Path of the browser for tests marked ``browser``."""
    path = find_chromium()
    assert path is not None, "mark the test with `browser`"
    return path


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisServer]:
    """A Redis for one test, which may kill, pause or flush it."""
    with redis_server.running(RedisServer(tmp_path / "redis")) as server:
        yield server


@pytest.fixture
def own_postgres() -> Iterator[PostgresServer]:
    """A PostgreSQL server of the test's own, to be killed and paused; it waits for the disk, as a real one does."""
    with running(durable=True) as server:
        yield server


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """One PostgreSQL server for all tests that do not kill it; without fsync."""
    with running() as server:
        yield server
