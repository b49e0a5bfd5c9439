"""Runs each service of an image whose root file system is mounted at the path given; part of `scripts/image-test`.

A service gets what a container has: a mount and a process namespace in which it is process 1, the root file system
read-only with /data and /tmp writable, its secrets in /run/secrets, the user of the image, and no capability. The
network is that of the machine, so that PostgreSQL, Redis and nginx run beside it.
"""

from __future__ import annotations

import os
import random
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from support import postgres_server

ROOT = Path(__file__).parents[1]
USER = "10001"
LIMIT_S = 40.0
ENTER = r"""
set -e
mount --bind "$ROOT" "$ROOT"
mount -t proc proc "$ROOT/proc"
mount --bind /dev "$ROOT/dev"
mount -t tmpfs tmpfs "$ROOT/tmp" -o mode=1777
mount -t tmpfs tmpfs "$ROOT/data" -o uid=10001,gid=10001
mount -t tmpfs tmpfs "$ROOT/run"
mkdir "$ROOT/run/secrets"
for name in $(env | sed -n 's/^\([A-Z_]*_FILE\)=.*/\1/p'); do
    eval "file=\$$name"
    install -m 444 "$file" "$ROOT/run/secrets/$name"
    export "$name=/run/secrets/$name"
done
mount -o remount,bind,ro "$ROOT"
root=$ROOT
unset ROOT
export PATH=/opt/roomcast/bin:/usr/local/bin:/usr/bin:/bin
# The user changes last: a change of it would forget the signal at the end of the parent.
exec /usr/sbin/chroot "$root" setpriv --reuid 10001 --regid 10001 --clear-groups --no-new-privs --bounding-set=-all \
    --inh-caps=-all --pdeathsig KILL "$@"
"""


# Tests send signals to the command that they start, and kill it: process 1 gets the signals, and ends with it.
WRAPPER = """#!/bin/sh
export ROOT={root}
setpriv --pdeathsig KILL unshare --mount --pid --fork --kill-child sh -c {enter} enter roomcast "$@" &
started=$!
for name in INT TERM; do
    trap "kill -s $name \\$(cat /proc/$started/task/$started/children)" "$name"
done
while wait "$started"; code=$?; kill -0 "$started" 2>/dev/null; do :; done
exit "$code"
"""


def command(root: Path, words: list[str], env: dict[str, str]) -> tuple[list[str], dict[str, str]]:
    """The command line that runs ``words`` inside the image as process 1, and its environment."""
    image = {"PATH": os.environ["PATH"], "ROOMCAST_HOST": "0.0.0.0", "LOG_FORMAT": "json"}
    unshare = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-c", ENTER, "enter", *words]
    return unshare, {**image, **env, "ROOT": str(root)}


class Service:
    """One service of the image."""

    def __init__(self, root: Path, words: list[str], env: dict[str, str], log: Path) -> None:
        self.root, self.words, self.env, self.log = root, words, env, log
        line, variables = command(root, ["roomcast", *words], env)
        with log.open("wb") as output:
            self.process = subprocess.Popen(line, env=variables, stdout=output, stderr=output)

    def inside(self, *words: str) -> int:
        """Run a command of the image in the namespaces of the service; its exit code."""
        target = [
            "nsenter",
            "--target",
            str(self.pid()),
            "--mount",
            "--pid",
            "--root",
            "--setuid",
            USER,
            "--setgid",
            USER,
        ]
        env = {"PATH": "/opt/roomcast/bin:/usr/bin:/bin", **self.env}
        return subprocess.run([*target, *words], env=env, check=False, stderr=subprocess.DEVNULL).returncode

    def children(self) -> list[str]:
        """The process that is process 1 inside, if it has started."""
        return Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()

    def pid(self) -> int:
        """The process that is process 1 inside."""
        return int(self.children()[0])

    def until(self, what: str, condition: Callable[[], bool]) -> None:
        """Wait for a condition."""
        deadline = time.monotonic() + LIMIT_S
        while not condition():
            if time.monotonic() > deadline or self.process.poll() is not None:
                sys.exit(f"{self.words}: not {what}\n{self.log.read_text()[-3_000:]}")
            time.sleep(0.2)  # no event says when another process listens

    def check(self) -> None:
        """Everything that the image promises."""
        self.until("started", lambda: self.children() != [])
        self.until("live", lambda: self.inside("python3", "/opt/roomcast/healthcheck.py") == 0)
        self.until("ready", lambda: self.inside("python3", "/opt/roomcast/healthcheck.py", "/ready") == 0)
        status = dict(line.split(":\t", 1) for line in Path(f"/proc/{self.pid()}/status").read_text().splitlines())
        assert status["Uid"].split() == [USER] * 4, status["Uid"]
        assert status["NSpid"].split()[-1] == "1", status["NSpid"]
        assert int(status["CapEff"], 16) == 0, status["CapEff"]
        assert self.inside("sh", "-c", "! touch /opt/roomcast/x /etc/x /x && touch /tmp/x /data/x") == 0

    def stop(self) -> None:
        """SIGTERM to process 1 ends it with its own exit code, within the drain."""
        began = time.monotonic()
        os.kill(self.pid(), signal.SIGTERM)
        code = self.process.wait(LIMIT_S)
        took = time.monotonic() - began
        print(f"{' '.join(self.words)}: live, ready, uid {USER}, read-only root; SIGTERM: {code} in {took:.1f} s")
        assert code == 0, self.log.read_text()[-3_000:]


def check_services(root: Path, logs: Path, database_url: str) -> None:
    """Run `up` on SQLite, then API, gateway, worker and migrations with Redis and PostgreSQL."""
    ports = iter(random.sample(range(20_000, 30_000), 20))
    redis_port = str(next(ports))
    with subprocess.Popen(["redis-server", "--port", redis_port, "--save", ""], stdout=subprocess.DEVNULL) as redis:
        try:
            shared = {"REDIS_HOST": "127.0.0.1", "REDIS_PORT": redis_port}
            stored = {**shared, "DATABASE_URL": database_url}
            names = ("PORT", "API_PORT", "ROOMCAST_INTERNAL_PORT")
            for words, more in ((["up"], {}), (["api"], stored), (["gateway"], shared), (["worker"], stored)):
                env = {"ROOMCAST_INSECURE": "on", **more, **{name: str(next(ports)) for name in names}}
                service = Service(root, words, env, logs / words[0])
                try:
                    service.check()
                    service.stop()
                finally:
                    service.process.kill()
            line, variables = command(root, ["roomcast", "migrate"], {})
            print("migrate:", subprocess.check_output(line, env=variables, text=True).strip())
        finally:
            redis.terminate()


def main() -> None:
    """Check each service alone, then all services of the Compose files together: their tests run the image."""
    root = Path(sys.argv[1])
    with tempfile.TemporaryDirectory() as directory:
        with postgres_server.running() as postgres:
            check_services(root, Path(directory), postgres.url(postgres.create_database()))
        wrapper = Path(directory) / "roomcast"
        wrapper.write_text(WRAPPER.format(root=shlex.quote(str(root)), enter=shlex.quote(ENTER)))
        wrapper.chmod(0o755)
        tests = [sys.executable, "-m", "pytest", "-q", "tests/integration/deploy/test_compose_cluster.py"]
        sys.exit(subprocess.call(tests, cwd=ROOT, env={**os.environ, "IMAGE_TEST_COMMAND": str(wrapper), "CI": "true"}))


if __name__ == "__main__":
    main()
