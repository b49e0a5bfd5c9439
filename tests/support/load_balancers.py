"""Real nginx and haproxy in front of several gateways, round-robin for each request, no sticky sessions; any nginx."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from support.ports import free_port
from support.programs import find_program

START_LIMIT_S = 10.0
STOP_LIMIT_S = 5.0

# The settings that WebSocket and long-polling need: HTTP/1.1 with the upgrade forwarded, no buffering, long timeouts.
NGINX = """
daemon off;
pid {directory}/nginx.pid;
error_log {directory}/error.log;
{user}
events {{ worker_connections 2048; }}
http {{
    access_log {directory}/access.log;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    map $http_upgrade $connection_upgrade {{ default upgrade; '' ''; }}
    {upstreams}
    server {{
        listen 127.0.0.1:{port};
        client_max_body_size 2m;
        proxy_http_version 1.1;
        proxy_set_header Host $http_host;
        proxy_set_header Upgrade $http_upgrade;
        proxy_set_header Connection $connection_upgrade;
        proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
        proxy_buffering off;
        proxy_read_timeout 3600s;
        proxy_next_upstream off;
        {locations}
    }}
}}
"""

HAPROXY = """
global
    maxconn 4096
defaults
    mode http
    timeout connect 5s
    timeout client 60s
    timeout server 60s
    timeout tunnel 3600s
    option forwardfor
frontend public
    bind 127.0.0.1:{port}
    default_backend gateways
backend gateways
    balance roundrobin
    {servers}
"""


@contextlib.contextmanager
def load_balancer(
    kind: str, directory: Path, gateways: Sequence[int], *, changes: Sequence[tuple[str, str]] = ()
) -> Iterator[int]:
    """Run a proxy in front of the gateways on these ports; its port.

    Args:
        kind: ``nginx`` or ``haproxy``.
        directory: Where it keeps its files.
        gateways: The ports.
        changes: Texts of its configuration, and what replaces each.
    """
    if kind == "nginx":
        servers = " ".join(f"server 127.0.0.1:{gateway} max_fails=0;" for gateway in gateways)
        upstreams = f"upstream gateways {{ {servers} keepalive 32; }}"
        location = "location / { proxy_pass http://gateways; }"
        with nginx(directory, free_port(), location, upstreams, changes=changes) as port:
            yield port
        return
    directory.mkdir(parents=True)
    port = free_port()
    config = directory / f"{kind}.conf"
    servers = "\n    ".join(f"server gateway{number} 127.0.0.1:{p}" for number, p in enumerate(gateways))
    config.write_text(_changed(HAPROXY.format(port=port, servers=servers), changes))
    with _running([find_program(kind), "-db", "-f", str(config)], port, directory / "output.log"):
        yield port


@contextlib.contextmanager
def nginx(
    directory: Path, port: int, locations: str, upstreams: str = "", *, changes: Sequence[tuple[str, str]] = ()
) -> Iterator[int]:
    """Run nginx on a port, with these blocks of its configuration; its port. It logs to ``access.log``."""
    program = find_program("nginx")
    directory.mkdir(parents=True)
    config = directory / "nginx.conf"
    user = "user root;" if os.geteuid() == 0 else ""
    text = NGINX.format(directory=directory, port=port, user=user, locations=locations, upstreams=upstreams)
    config.write_text(_changed(text, changes))
    command = [program, "-p", str(directory), "-c", str(config), "-e", str(directory / "start.log")]
    with _running(command, port, directory / "output.log"):
        yield port


def _changed(text: str, changes: Sequence[tuple[str, str]]) -> str:
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    return text


@contextlib.contextmanager
def _running(command: list[str], port: int, output: Path) -> Iterator[None]:
    with output.open("wb") as log, subprocess.Popen(command, stdout=log, stderr=log) as process:
        try:
            _until_listening(process, port, output)
            yield
        finally:
            process.terminate()
            try:
                process.wait(STOP_LIMIT_S)
            except subprocess.TimeoutExpired:
                process.kill()


def _until_listening(process: subprocess.Popen[bytes], port: int, output: Path) -> None:
    deadline = time.monotonic() + START_LIMIT_S
    while time.monotonic() < deadline:
        if process.poll() is not None:
            break
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.02)
    raise RuntimeError(f"the proxy did not start: {output.read_text()}")
