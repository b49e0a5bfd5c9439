"""A mistake in ``DATABASE_URL`` or in the database's privileges: one line, the cause first, and never a traceback."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator

import httpx
import pytest

from support.ports import free_port
from support.postgres_server import PostgresServer
from support.processes import Roomcast, run_roomcast

MESSAGE = {"chatId": "c", "role": "USER", "content": "hello"}


@pytest.fixture
def migrated(postgres: PostgresServer) -> Iterator[str]:
    """The URL of a migrated database, for a role that may read only."""
    name = postgres.create_database()
    done = run_roomcast("migrate", env={"DATABASE_URL": postgres.url(name)})
    assert done.returncode == 0, done.stderr
    role = f"reader_{name}"
    postgres.execute(f"CREATE ROLE {role} LOGIN", name)
    postgres.execute(f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {role}", name)
    yield postgres.url(name).replace("roomcast@", f"{role}@")
    postgres.execute(f"DROP OWNED BY {role}", name)
    postgres.execute(f"DROP ROLE {role}")


@pytest.mark.parametrize("command", ["api", "migrate"])
@pytest.mark.parametrize(
    ("url", "cause"),
    [
        ("postgresql://roomcast@127.0.0.1:{port}/nope", r'FATAL: database "nope" does not exist'),
        ("postgresql://nobody@127.0.0.1:{port}/postgres", r'FATAL: role "nobody" does not exist'),
        ("postgresql://roomcast:hidden@127.0.0.1:1/postgres", r"Connection refused"),
    ],
)
def test_a_wrong_database_url_ends_the_start_with_one_line(
    postgres: PostgresServer, command: str, url: str, cause: str
) -> None:
    url = url.format(port=postgres.port)
    done = run_roomcast(command, env={"DATABASE_URL": url, "API_PORT": str(free_port())})
    shown = re.escape(url.replace("hidden", "***"))
    assert done.returncode == 1
    assert re.fullmatch(rf"roomcast: cannot open the database in DATABASE_URL \({shown}\): {cause}\n", done.stderr)


def test_a_role_that_may_not_write_ends_the_start_with_one_line(migrated: str) -> None:
    done = run_roomcast("api", env={"DATABASE_URL": migrated, "API_PORT": str(free_port())})
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1, done.stderr
    assert "DATABASE_URL" in done.stderr
    assert "permission denied for table" in done.stderr


async def test_privileges_that_are_revoked_while_an_api_runs_give_503_and_no_traceback(
    postgres: PostgresServer, migrated: str
) -> None:
    name, role = migrated.rpartition("/")[2], migrated.partition("://")[2].partition("@")[0]
    postgres.execute(f"GRANT ALL ON ALL TABLES IN SCHEMA public TO {role}", name)
    postgres.execute(f"GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO {role}", name)
    port = free_port()
    api = Roomcast(["api", "--api-port", str(port)], api_port=port, gateway_port=None, env={"DATABASE_URL": migrated})
    with api:
        async with httpx.AsyncClient(base_url=api.api_url) as http:
            assert (await http.post("/api/chat/messages", json=MESSAGE)).status_code == 201
            postgres.execute(f"REVOKE INSERT, UPDATE ON ALL TABLES IN SCHEMA public FROM {role}", name)
            for _ in range(20):
                assert (await http.post("/api/chat/messages", json=MESSAGE)).status_code == 503
            body = (await http.get("/ready")).json()
        assert body["causes"] == {"database": "the login or a privilege is refused: correct DATABASE_URL"}
        assert "Traceback" not in api.output
        assert api.output.count("database unavailable: ") <= 3
        await asyncio.to_thread(api.stop)
