"""The distribution with only the Socket.IO server, in environments that have its dependencies and nothing else."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib.metadata import distribution
from pathlib import Path

import pytest
import socketio
from packaging.requirements import Requirement

from support.packages import ROOT, install, run
from support.processes import clean_environment
from support.programs import unavailable

SERVER = """
import asyncio
from roomcast.realtime import ServeOptions, Server, Site, serve
server = Server()
server.on("echo", lambda sid, text: text)
options = ServeOptions(on_ready=lambda sites: print(sites[0][0][1], flush=True))
asyncio.run(serve([Site(server.asgi(), "127.0.0.1", 0)], options))
"""


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with the wheel and nothing else."""
    folder = tmp_path_factory.mktemp("realtime")
    hatchling = Path(sys.executable).with_name("hatchling")
    run(hatchling, "build", "--target", "wheel", "--directory", folder, cwd=ROOT / "packaging" / "realtime")
    (wheel,) = folder.glob("*.whl")
    install(wheel, folder / "environment", Path(sys.executable), ["--no-deps", "--no-index"])
    return folder / "environment"


def requirements(name: str) -> set[str]:
    """The distributions that one needs here, without extras."""
    needed = map(Requirement, distribution(name).requires or ())
    return {one.name for one in needed if one.marker is None or one.marker.evaluate({"extra": ""})}


def with_extra(environment: Path, folder: Path, extra: str, program: str) -> list[str | Path]:
    """The command that runs a program where only the locked packages of an extra are installed too."""
    (metadata,) = environment.glob("lib/python*/site-packages/roomcast_realtime-*/METADATA")
    lines = [line for line in metadata.read_text().splitlines() if line.startswith("Requires-Dist: ")]
    assert all("; " in line for line in lines), "the distribution alone needs no other"
    waiting = {re.split(r"[^\w.-]", line.split()[1])[0] for line in lines if f"extra == '{extra}'" in line}
    if extra == "redis":
        waiting.add("hiredis")
    done: set[str] = set()
    while waiting:
        name = waiting.pop()
        done.add(name)
        waiting |= requirements(name) - done
        for top in {file.parts[0] for file in distribution(name).files or () if file.parts[0] != ".."}:
            if not (folder / top).exists():
                (folder / top).symlink_to(distribution(name).locate_file(top))
    path = f"import sys; sys.path.append({str(folder)!r})\n"
    return [environment / "bin" / "python", "-I", "-c", path + program]


def test_the_server_alone_needs_no_other_package(environment: Path, tmp_path: Path) -> None:
    python = environment / "bin" / "python"
    handshake = (
        "import asyncio; from roomcast.realtime import Server; import roomcast.realtime.compat.socketio\n"
        "async def main():\n"
        "    sent = []\n"
        "    async def send(event): sent.append(event)\n"
        "    scope = {'type': 'http', 'method': 'GET', 'path': '/socket.io/',"
        " 'query_string': b'EIO=4&transport=polling', 'headers': []}\n"
        "    await Server().asgi()(scope, None, send)\n"
        "    print(sent[0]['status'], sent[1]['body'][:8])\n"
        "asyncio.run(main())"
    )
    assert run(python, "-I", "-c", handshake, cwd=tmp_path).startswith('200 b\'0{"sid":')
    text = run(python, "-I", "-c", "try:\n from roomcast.realtime import serve\nexcept ImportError as e: print(e)")
    assert text.strip() == "serve needs uvicorn: pip install 'roomcast-realtime[serve]'"


async def test_with_the_extra_serve_it_serves_a_client(environment: Path, tmp_path: Path) -> None:
    command = with_extra(environment, tmp_path, "serve", SERVER)
    process = subprocess.Popen(  # noqa: ASYNC220 - it returns at once
        command, stdout=subprocess.PIPE, text=True, env=clean_environment({})
    )
    try:
        assert process.stdout is not None
        port = int(process.stdout.readline())
        async with socketio.AsyncSimpleClient() as client:
            await client.connect(f"http://127.0.0.1:{port}")
            assert await client.call("echo", "hello", timeout=5) == "hello"
    finally:
        process.terminate()
        process.communicate(timeout=10)
    assert process.returncode == 0


def test_with_the_extra_redis_it_has_the_adapter_and_the_directory(environment: Path, tmp_path: Path) -> None:
    program = (
        "from roomcast.realtime.adapters.redis import Emitter, RedisAdapter\n"
        "from roomcast.realtime.forwarding import forwarder, redis_directory\n"
        "from roomcast.realtime import Server; Server(adapter=RedisAdapter()); print('ok')"
    )
    assert run(*with_extra(environment, tmp_path, "redis", program)).strip() == "ok"


@pytest.mark.timeout(120)
def test_redis_py_7_carries_the_cluster_too() -> None:
    older = ROOT / ".make" / "redis-7"
    if not older.exists():
        unavailable("no redis-py 7 here: make .make/dev")
    chosen = ["tests/contract/test_adapter.py", "tests/integration/eventlog/test_redis_topologies.py"]
    env = clean_environment({"PYTHONPATH": str(older)})
    version = [sys.executable, "-c", "import redis; print(redis.__version__)"]
    assert subprocess.run(version, env=env, capture_output=True, text=True, check=True).stdout.startswith("7.")
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-p",
            "no:cacheprovider",
            *chosen,
            "-k",
            "login and default or test_adapter and redis",
        ],
        cwd=ROOT,
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
