"""Starts the servers of the benchmarks, each on a core of its own, stopped with the run.

Redis, PostgreSQL and a publishing node share the load generator's core.
"""

from __future__ import annotations

import json
import os
import platform
import pwd
import shutil
import socket
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import psycopg

HERE = Path(__file__).parent
#: Programs that are built for the benchmarks; `make clean` removes them.
BUILD = HERE.parent / ".make/bench"
CENTRIFUGO = "github.com/centrifugal/centrifugo/v6@v6.9.1"
#: The server under test has a core of its own; load generator and receivers use the other.
SERVER_CPU, CLIENT_CPU = 0, 1
_START_S = 20.0


@dataclass
class Target:
    """A started server.

    Attributes:
        port: Where its sockets connect.
        pids: The processes that are measured.
        others: Processes on the load generator's core, as Redis.
        more: Further arguments for the load generator: ``dialect``, ``api``, ``redis``, ``publisher``.
        data: Its database: a directory, or a PostgreSQL URL.
        log: Whether messages go to it through the logs in Redis.
    """

    port: int
    pids: list[int]
    others: list[int] = field(default_factory=list)
    more: dict[str, Any] = field(default_factory=dict)
    data: str = ""
    log: bool = False


def machine() -> str:
    """Processor, cores, system, version of the servers' Python, and whether it was built with optimisation."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [text.partition(":")[2].strip() for text in lines if text.startswith("model name")]
    processor = names[0] if names else platform.processor()
    # As scripts/python decides it: distributions optimise, and some of them keep the flag to themselves.
    flags = sysconfig.get_config_var("CONFIG_ARGS") or ""
    optimised = "--enable-optimizations" in flags or sys.base_prefix == "/usr"
    build = "an optimised build" if optimised else "built without optimisation"
    return f"{processor}, {os.cpu_count()} cores, {platform.platform()}; Python {platform.python_version()}, {build}"


def percentile(values: list[float], share: float) -> float:
    """The value below which that share of the values lies."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def free_port() -> int:
    """A port that no process listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def node_binary() -> str:
    """Path of Node. The ``node`` on the PATH may be a wrapper, which would be pinned and stopped in its place."""
    asked = subprocess.run(["node", "-p", "process.execPath"], capture_output=True, text=True, check=True)
    return asked.stdout.strip()


def spawn(
    command: list[str],
    stack: ExitStack,
    cpu: int | None = None,
    env: dict[str, str] | None = None,
    identity: dict[str, Any] | None = None,
) -> subprocess.Popen[str]:
    """Start a process, with all its threads on one core unless ``cpu`` is None; the stack stops it."""
    if cpu is not None:
        os.sched_setaffinity(0, {cpu})  # inherited by the process
    process = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, **(env or {})},
        **(identity or {}),
    )
    if cpu is not None:
        os.sched_setaffinity(0, {CLIENT_CPU})

    def stop() -> None:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    stack.callback(stop)
    return process


def next_line(stream: IO[str] | None) -> str:
    """The next line of a process that is not empty.

    Raises:
        RuntimeError: the process has ended.
    """
    while text := "" if stream is None else stream.readline():
        if text.strip():
            return text.strip()
    raise RuntimeError("a process ended")


def wait_for(process: subprocess.Popen[str], mark: str) -> None:
    """Read the output of a process up to a line that contains ``mark``."""
    while mark not in next_line(process.stdout):
        pass


def _until(ready: Callable[[], object], error: type[Exception]) -> None:
    deadline = time.monotonic() + _START_S
    while True:
        try:
            ready()
        except error:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)  # no event says when another process listens
        else:
            return


def start_redis(stack: ExitStack) -> tuple[int, int]:
    """A Redis without persistence; its port and process id."""
    program = os.environ.get("REDIS_SERVER") or shutil.which("redis-server")
    if program is None:
        raise SystemExit("no redis-server here: apt-get install redis-server, or set REDIS_SERVER to its path")
    port = free_port()
    directory = stack.enter_context(tempfile.TemporaryDirectory())
    command = [program, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", directory]
    process = spawn(command, stack, CLIENT_CPU)
    wait_for(process, "Ready to accept connections")
    return port, process.pid


def start_postgres(stack: ExitStack) -> tuple[str, int]:
    """A PostgreSQL that syncs each commit to the disk; its URL and process id."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: path.parent.name)
    if config := shutil.which("pg_config"):
        found.append(Path(subprocess.check_output([config, "--bindir"], text=True).strip()))
    found = [path for path in found if (path / "initdb").exists()]
    if not found:
        raise SystemExit("no PostgreSQL server here: apt-get install postgresql, or put pg_config on the PATH")
    directory = Path(stack.enter_context(tempfile.TemporaryDirectory(ignore_cleanup_errors=True)))
    identity: dict[str, Any] = {"cwd": "/"}
    if os.geteuid() == 0:  # PostgreSQL refuses to run as root
        entry = pwd.getpwnam("postgres")
        os.chown(directory, entry.pw_uid, entry.pw_gid)
        identity |= {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}
    create = [
        str(found[-1] / "initdb"),
        "-D",
        str(directory),
        "-U",
        "roomcast",
        "-A",
        "trust",
        "--encoding=UTF8",
        "--locale=C",
    ]
    subprocess.run(create, check=True, stdout=subprocess.DEVNULL, **identity)
    port = free_port()
    command = [str(found[-1] / "postgres"), "-D", str(directory), "-p", str(port), "-k", str(directory)]
    command += ["-c", "listen_addresses=127.0.0.1", "-c", "shared_buffers=256MB", "-c", "log_min_messages=fatal"]
    process = spawn(command, stack, CLIENT_CPU, identity={**identity, "stderr": subprocess.DEVNULL})
    url = f"postgresql://roomcast@127.0.0.1:{port}/postgres"
    _until(lambda: psycopg.connect(url).close(), psycopg.OperationalError)
    return url, process.pid


def _start(stack: ExitStack, command: list[str], mark: str, env: dict[str, str] | None = None) -> int:
    process = spawn(command, stack, SERVER_CPU, {"ROOMCAST_RESPONDER": "none", "LOG_LEVEL": "error", **(env or {})})
    wait_for(process, mark)
    return process.pid


def _bare(stack: ExitStack) -> Target:
    port = free_port()
    return Target(port, [_start(stack, [sys.executable, str(HERE / "bare_server.py"), str(port)], "ready")])


def start_up(stack: ExitStack, data: str = "", env: dict[str, str] | None = None) -> Target:
    """`roomcast up`, on a new or the given data directory."""
    api, port = free_port(), free_port()
    if not data and env is None:
        data = stack.enter_context(tempfile.TemporaryDirectory())
    place = ["--data", data] if data else []
    ports = ["--api-port", str(api), "--gateway-port", str(port)]
    command = [sys.executable, "-m", "roomcast", "up", *place, *ports]
    return Target(port, [_start(stack, command, "Ctrl-C", env)], [], {"api": api}, data)


def start_up_postgres(stack: ExitStack, url: str = "") -> Target:
    """`roomcast up` on a new or the given PostgreSQL."""
    others = []
    if not url:
        url, pid = start_postgres(stack)
        others = [pid]
    target = start_up(stack, env={"DATABASE_URL": url})
    target.others, target.data = others, url
    return target


def _gateway(stack: ExitStack) -> Target:
    redis, pid = start_redis(stack)
    port = free_port()
    env = {"REDIS_HOST": "127.0.0.1", "REDIS_PORT": str(redis)}
    gateway = _start(stack, [sys.executable, "-m", "roomcast", "gateway", "--port", str(port)], "Ctrl-C", env)
    return Target(port, [gateway], [pid], {"redis": redis}, log=True)


def _cluster(stack: ExitStack) -> Target:
    """A gateway and an API on one core, Redis on the other."""
    redis, pid = start_redis(stack)
    data = stack.enter_context(tempfile.TemporaryDirectory())
    api, internal, port = free_port(), free_port(), free_port()
    env = {"REDIS_HOST": "127.0.0.1", "REDIS_PORT": str(redis), "ROOMCAST_INTERNAL_PORT": str(internal)}
    command = [sys.executable, "-m", "roomcast", "api", "--data", data, "--api-port", str(api)]
    pids = [_start(stack, command, "Ctrl-C", env)]
    env |= {"API_URL": f"http://127.0.0.1:{internal}", "ROOMCAST_INTERNAL_PORT": str(free_port())}
    pids.append(_start(stack, [sys.executable, "-m", "roomcast", "gateway", "--port", str(port)], "Ctrl-C", env))
    return Target(port, pids, [pid], {"api": api}, data)


def _node(stack: ExitStack, *options: str) -> Target:
    port = free_port()
    return Target(port, [_start(stack, [node_binary(), str(HERE / "node/server.mjs"), str(port), *options], "ready")])


def _node_redis(stack: ExitStack) -> Target:
    redis, pid = start_redis(stack)
    target = _node(stack, f"redis={redis}")
    target.others, target.more = [pid], {"redis": redis}
    return target


def _node_sqlite(stack: ExitStack) -> Target:
    data = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "node.db"
    target = _node(stack, f"sqlite={data}")
    target.more = {"api": target.port}
    return target


def _node_postgres(stack: ExitStack) -> Target:
    """With Redis, as a deployment of several servers has it."""
    url, postgres = start_postgres(stack)
    redis, pid = start_redis(stack)
    target = _node(stack, f"postgres={url}", f"redis={redis}")
    target.others, target.more = [postgres, pid], {"api": target.port}
    return target


def _socketioxide(stack: ExitStack) -> Target:
    port = free_port()
    program = BUILD / "socketioxide/release/roomcast-bench-socketioxide"
    return Target(port, [_start(stack, [str(program), str(port)], "ready")])


def _centrifugo_node(stack: ExitStack, cpu: int, channel: dict[str, Any], redis: int = 0) -> tuple[int, int]:
    port = free_port()
    options: dict[str, Any] = {
        "http_server": {"address": "127.0.0.1", "port": port},
        # Insecure: any client may subscribe and publish. The queue: else a client is disconnected at 1 MB.
        "client": {"insecure": True, "queue_max_size": 1 << 30, "allowed_origins": ["*"]},
        "channel": {"without_namespace": channel},
        "log": {"level": "error"},
    }
    if redis:
        options["engine"] = {"type": "redis", "redis": {"address": [f"redis://127.0.0.1:{redis}"]}}
    file = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "config.json"
    file.write_text(json.dumps(options))
    process = spawn([str(BUILD / "centrifugo"), "-c", str(file)], stack, cpu)
    _until(lambda: socket.create_connection(("127.0.0.1", port)).close(), ConnectionRefusedError)
    return port, process.pid


_HISTORY = {"history_size": 1_000, "history_ttl": "1h", "allow_recovery": True}


def _centrifugo(stack: ExitStack) -> Target:
    port, pid = _centrifugo_node(stack, SERVER_CPU, {})
    return Target(port, [pid], [], {"dialect": "centrifugo"})


def _centrifugo_history(stack: ExitStack) -> Target:
    port, pid = _centrifugo_node(stack, SERVER_CPU, _HISTORY)
    return Target(port, [pid], [], {"dialect": "centrifugo"})


def _centrifugo_redis(stack: ExitStack) -> Target:
    """With history, and another node that publishes."""
    redis, pid = start_redis(stack)
    port, node = _centrifugo_node(stack, SERVER_CPU, _HISTORY, redis)
    publisher, other = _centrifugo_node(stack, CLIENT_CPU, _HISTORY, redis)
    return Target(port, [node], [pid, other], {"dialect": "centrifugo", "publisher": publisher})


SERVERS: dict[str, Callable[[ExitStack], Target]] = {
    "bare": _bare,
    "up": start_up,
    "up-postgres": start_up_postgres,
    "gateway": _gateway,
    "cluster": _cluster,
    "node": _node,
    "node-redis": _node_redis,
    "node-sqlite": _node_sqlite,
    "node-postgres": _node_postgres,
    "centrifugo": _centrifugo,
    "centrifugo-history": _centrifugo_history,
    "centrifugo-redis": _centrifugo_redis,
    "socketioxide": _socketioxide,
}


def build_peers() -> set[str]:
    """Install or build the peers once.

    Returns:
        Names of the columns whose peers are absent, since their toolchain is missing or the build fails.
    """
    if not (HERE / "node/node_modules/pg").exists():
        print("== installing the Node peers (once)", flush=True)
        subprocess.run(["npm", "ci", "--silent", "--no-fund", "--no-audit"], cwd=HERE / "node", check=True)
    BUILD.mkdir(parents=True, exist_ok=True)
    go = {"GOBIN": str(BUILD)}
    crate = ["cargo", "build", "--release", "--quiet", "--target-dir", str(BUILD / "socketioxide")]
    builds = {
        "Centrifugo": (BUILD / "centrifugo", ["go", "install", CENTRIFUGO], go),
        "socketioxide": (BUILD / "socketioxide/release/roomcast-bench-socketioxide", crate, {}),
    }
    absent = set()
    for name, (program, command, env) in builds.items():
        if program.exists():
            continue
        if shutil.which(command[0]) is None:
            print(f"== NO {name.upper()}: {command[0]} is not installed; the rows go without it", flush=True)
            absent.add(name)
            continue
        print(f"== building {name} with {command[0]} (once, some minutes)", flush=True)
        done = subprocess.run(command, cwd=HERE / "socketioxide", env={**os.environ, **env}, check=False)
        if done.returncode:
            print(f"== NO {name.upper()}: its build failed; the rows go without it", flush=True)
            absent.add(name)
    return absent
