"""The services of a Compose file as plain processes: commands, variables and secrets come from the files themselves.

Each service has a loopback address of its own in the place of its name, so that all ports are those of the files.
"""

from __future__ import annotations

import contextlib
import os
import random
import re
import shlex
import socket
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from roomcast.auth.options import AuthOptions
from roomcast.auth.tokens import TokenIssuer
from support.postgres_server import PostgresServer
from support.processes import Roomcast, clean_environment
from support.programs import find_program
from support.redis_server import require_redis_server

ROOT: Final = Path(__file__).resolve().parents[2]
DEPLOY: Final = ROOT / "deploy"
SECRETS: Final = "/run/secrets"


def dockerfile(name: str = "Dockerfile") -> list[tuple[str, str]]:
    """The instructions of a Dockerfile: ``(name, arguments)``, continued lines joined."""
    text = re.sub(r"\\\n\s*", "", (DEPLOY / "docker" / name).read_text())
    lines = (line for line in text.splitlines() if line and not line.startswith("#"))
    return [(word, rest) for word, _, rest in (line.partition(" ") for line in lines)]


def image_environment(name: str = "Dockerfile") -> dict[str, str]:
    """The variables that an image sets, except PATH."""
    items = [item for word, rest in dockerfile(name) if word == "ENV" for item in shlex.split(rest)]
    return {key: value for key, _, value in (item.partition("=") for item in items) if key != "PATH"}


def interpolate(text: str, variables: dict[str, str]) -> str:
    """Replace ``${NAME:-default}`` and ``$$`` as Compose does."""

    def value(found: re.Match[str]) -> str:
        return "$" if found[0] == "$$" else variables.get(found[1]) or found[2]

    return re.sub(r"\$\$|\$\{(\w+):-([^}]*)\}", value, text)


def load(name: str) -> dict[str, Any]:
    """A Compose file, with its anchors resolved."""
    loaded: dict[str, Any] = yaml.safe_load((DEPLOY / "compose" / name).read_text())
    return loaded


def environment_of(service: dict[str, Any]) -> dict[str, str]:
    """The variables of a service; a file may write them as a list or as a mapping."""
    declared = service.get("environment") or {}
    if isinstance(declared, list):
        return {name: value for name, _, value in (item.partition("=") for item in declared)}
    return {name: str(value) for name, value in declared.items()}


class Compose:
    """The services of one file.

    Args:
        name: The file's name.
        directory: For the secrets and the files of servers.
        variables: See below.

    Attributes:
        services: By name, as in the file.
        hosts: The loopback address of each service.
        secrets: The directory of the secrets, made by `make-secrets` if the file has any.
        variables: For the interpolation of the file.
    """

    def __init__(self, name: str, directory: Path, **variables: str) -> None:
        loaded = load(name)
        self.services: dict[str, dict[str, Any]] = loaded["services"]
        self.directory = directory
        self.secrets = directory / "secrets"
        self.variables = variables
        # At random: another run of the tests may use the same ports.
        network = f"127.{random.randint(1, 254)}.{random.randint(0, 255)}"
        self.hosts = {service: f"{network}.{number}" for number, service in enumerate(self.services, 1)}
        if "secrets" in loaded:
            subprocess.run([DEPLOY / "compose" / "make-secrets", self.secrets], check=True)

    def secret(self, name: str) -> str:
        """The value of a secret."""
        return (self.secrets / name).read_text().strip()

    def text(self, service: str, value: str) -> str:
        """A value of the file, for a process of this service."""
        value = interpolate(value, self.variables).replace(SECRETS, str(self.secrets))
        value = value.replace("file:///data", f"file://{self.directory}/data")
        if value == "0.0.0.0":
            return self.hosts[service]
        return re.sub(
            r"(?<=//)[a-z][\w-]*|(?<=@)[a-z][\w-]*|^[a-z][\w-]*$", lambda name: self._host(service, name[0]), value
        )

    def _host(self, service: str, name: str) -> str:
        if name in self.hosts:
            return self.hosts[name]
        # A name of several services: each client gets one of them.
        shared = [other for other, text in self.services.items() if name in aliases(text)]
        return self.hosts[shared[int(service[-1], 36) % len(shared)]] if shared else name

    def environment(self, service: str) -> dict[str, str]:
        """The variables of a service's process, with those of the image."""
        image = image_environment() if "roomcast" in self.services[service]["image"] else {}
        declared = {**image, **environment_of(self.services[service])}
        return {name: self.text(service, value) for name, value in declared.items()}

    def roomcast(self, service: str, **env: str) -> Roomcast:
        """The process of a service that runs the image; not started."""
        command = [str(word) for word in self.services[service]["command"]]
        return Roomcast(command, api_port=None, gateway_port=None, env={**self.environment(service), **env})

    def url(self, service: str, port: int) -> str:
        """The address of a service's port."""
        return f"http://{self.hosts[service]}:{port}"

    def redis_command(self) -> list[str]:
        """The command of the service ``redis``, on its address."""
        declared = self.services["redis"]["command"]
        words = shlex.split(declared) if isinstance(declared, str) else declared
        place = f"--bind {self.hosts['redis']} --dir {shlex.quote(str(self.directory))}"
        command = [self.text("redis", word) for word in words]
        if words[0] == "sh":
            return [re.sub(r"redis-server( -)?", rf"redis-server\1 {place}", word) for word in command]
        return [*command, *shlex.split(place)]

    def nginx_command(self) -> list[str]:
        """The command of nginx with the file's configuration, on its address."""
        text = (DEPLOY / "compose" / "nginx.conf").read_text()
        text = re.sub(r"^\s*resolver .*\n", "", text, flags=re.MULTILINE).replace(" resolve;", ";")
        text = re.sub(r"server ([a-z][\w-]*):", lambda name: f"server {self.hosts[name[1]]}:", text)
        text = text.replace("listen 8080", f"listen {self.hosts['nginx']}:8080").replace("/tmp/", f"{self.directory}/")
        config = self.directory / "nginx.conf"
        config.write_text(text)
        user = " user root;" if os.geteuid() == 0 else ""
        return [find_program("nginx"), "-p", str(self.directory), "-c", str(config), "-g", f"daemon off;{user}"]


def aliases(service: dict[str, Any]) -> list[str]:
    """The further names of a service in the network."""
    networks = service.get("networks")
    return [
        name for network in (networks.values() if isinstance(networks, dict) else ()) for name in network["aliases"]
    ]


def first_answers(host: str, port: int, process: subprocess.Popen[bytes], limit_s: float = 10.0) -> None:
    """Wait until a server accepts connections."""
    deadline = time.monotonic() + limit_s
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection((host, port), 1):
            return
        time.sleep(0.01)  # no event says when another process listens
    raise RuntimeError(f"{process.args!r} does not listen on {host}:{port}")


@dataclass
class Cluster:
    """The running services of ``compose.cluster.yaml``.

    Attributes:
        compose: Their addresses and secrets.
        processes: Those that run the image, by service.
        url: The address of nginx.
    """

    compose: Compose
    processes: dict[str, Roomcast]
    url: str

    def token(self, user_id: str, *, service: bool = False) -> str:
        """An access token."""
        return TokenIssuer(AuthOptions(self.compose.secret("secret"))).issue(user_id, ttl_s=3_600, service=service)


@contextlib.contextmanager
def running_cluster(directory: Path, postgres: PostgresServer, **env: str) -> Iterator[Cluster]:
    """Start all services of ``compose.cluster.yaml``, in the order of the file, on a new database."""
    compose = Compose("compose.cluster.yaml", directory)
    url = compose.url("nginx", 8080)
    compose.variables["ROOMCAST_URL"] = url
    # The only part that is not from the file: the tests' server has no password.
    (compose.secrets / "database-url").write_text(postgres.url(postgres.create_database()))
    names = [name for name, service in compose.services.items() if "roomcast" in service["image"]]
    processes = {name: compose.roomcast(name, **env) for name in names}
    require_redis_server()
    with contextlib.ExitStack() as stack:

        def server(command: list[str], service: str, port: int) -> None:
            log = stack.enter_context((directory / f"{service}.log").open("wb"))
            process = stack.enter_context(
                subprocess.Popen(command, stdout=log, stderr=log, env=clean_environment(compose.environment(service)))
            )
            stack.callback(process.terminate)
            first_answers(compose.hosts[service], port, process)

        server(compose.redis_command(), "redis", 6379)
        for process in processes.values():
            stack.push(process)
        with ThreadPoolExecutor(2) as starters:
            list(starters.map(Roomcast.start, processes.values()))
        server(compose.nginx_command(), "nginx", 8080)
        yield Cluster(compose, processes, url)
