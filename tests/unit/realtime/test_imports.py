"""An application that only mounts a Socket.IO server imports only what that needs."""

from __future__ import annotations

import subprocess
import sys

import pytest

HANDSHAKE = """
import asyncio
from roomcast.realtime import Server
async def main():
    sent = []
    async def receive():
        return {"type": "http.request", "body": b""}
    async def send(event):
        sent.append(event)
    scope = {"type": "http", "method": "GET", "path": "/ws/socket.io/", "root_path": "/ws",
             "query_string": b"EIO=4&transport=polling", "headers": []}
    server = Server()
    await server.asgi()(scope, receive, send)
    assert sent[0]["status"] == 200, sent
    await server.emit("news", {"binary": b"x"})
    await server.shutdown()
asyncio.run(main())
"""


def imported_by(program: str) -> set[str]:
    """The modules that a program imports besides the standard library, of other packages their first part."""
    show = f"import sys\nbefore = set(sys.modules)\n{program}\nprint(*(set(sys.modules) - before))"
    done = subprocess.run([sys.executable, "-c", show], capture_output=True, text=True, check=True)
    modules = {name if name.startswith("roomcast.") else name.partition(".")[0] for name in done.stdout.split()}
    return modules - set(sys.stdlib_module_names) - {"roomcast"}


@pytest.mark.parametrize("program", [HANDSHAKE, "import roomcast.realtime.compat.socketio"])
def test_a_server_that_is_mounted_imports_no_other_package_and_no_other_part_of_roomcast(program: str) -> None:
    modules = imported_by(program)
    parts = {".".join(name.split(".")[:2]) for name in modules}
    assert parts == {"roomcast.realtime", "roomcast.wire"}
    for part in ("serving", "forwarding", "adapters.redis", "transports.websocket"):
        assert f"roomcast.realtime.{part}" not in modules


@pytest.mark.parametrize(
    "program", ["from roomcast.realtime import serve", "from roomcast.realtime.adapters.redis import RedisAdapter"]
)
def test_other_parts_of_the_server_import_neither_database_nor_api(program: str) -> None:
    modules = imported_by(program)
    assert not modules & {"sqlalchemy", "alembic", "fastapi", "starlette", "pydantic", "structlog", "typer", "psycopg"}
    assert {".".join(name.split(".")[:2]) for name in modules if name.startswith("roomcast.")} <= {
        "roomcast.realtime",
        "roomcast.wire",
        "roomcast.redis_client",
        "roomcast.backoff",
        "roomcast.histogram",
    }
