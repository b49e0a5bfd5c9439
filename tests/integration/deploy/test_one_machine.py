"""The examples of nginx and Caddy with TLS in front of real processes, with a certificate of the test."""

from __future__ import annotations

import contextlib
import os
import re
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import socketio

from support.clients import http_session
from support.compose import DEPLOY, first_answers
from support.ports import free_port
from support.processes import Roomcast, clean_environment
from support.programs import find_program
from support.redis_server import RedisServer, environment, running

NAME = "chat.example.com"
LIMIT_S = 10.0
Ports = dict[str, int]
Pair = tuple[Path, Path]


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, int]]:
    """The ports of the examples, each with the port of a running service."""
    directory = tmp_path_factory.mktemp("machine")
    with contextlib.ExitStack() as stack:
        redis = stack.enter_context(running(RedisServer(directory / "redis")))
        env = environment(redis, TRUSTED_PROXIES="127.0.0.1", ALLOWED_HOSTS="localhost", ROOMCAST_BASE_PATH="/chat")
        api = stack.enter_context(Roomcast.api(directory / "data", env=env))
        env |= {"API_URL": api.internal_url, "ALLOWED_ORIGINS": "*"}
        first, second = (stack.enter_context(Roomcast.gateway(env=env)) for _ in range(2))
        assert api.api_port is not None
        assert first.gateway_port is not None
        assert second.gateway_port is not None
        yield {"3000": api.api_port, "3001": first.gateway_port, "3011": second.gateway_port}


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    directory = tmp_path_factory.mktemp("certificate")
    key, chain = directory / "privkey.pem", directory / "fullchain.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    command += ["-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    subprocess.run([*command, "-keyout", key, "-out", chain], check=True, capture_output=True)
    return key, chain


def on_machine(text: str, machine: dict[str, int]) -> str:
    """The example with the ports of the running services."""
    return re.sub(r"127\.0\.0\.1:(\d+)", lambda place: f"127.0.0.1:{machine[place[1]]}", text)


def nginx(
    directory: Path, machine: dict[str, int], certificate: tuple[Path, Path], ports: tuple[int, int]
) -> list[str]:
    """The command line of nginx with the example, included as Debian's nginx.conf includes it."""
    text = on_machine((DEPLOY / "nginx" / "roomcast.conf").read_text(), machine)
    text = text.replace("listen 80;", f"listen 127.0.0.1:{ports[0]};").replace(
        "listen 443", f"listen 127.0.0.1:{ports[1]}"
    )
    text = text.replace(f"/etc/letsencrypt/live/{NAME}/fullchain.pem", str(certificate[1]))
    text = text.replace(f"/etc/letsencrypt/live/{NAME}/privkey.pem", str(certificate[0]))
    (directory / "roomcast.conf").write_text(text.replace(NAME, "localhost"))
    paths = "".join(
        f"{name}_temp_path {directory}/{name};" for name in ("proxy", "client_body", "fastcgi", "uwsgi", "scgi")
    )
    user = "user root;" if os.geteuid() == 0 else ""
    http = f"access_log off; {paths} include {directory}/roomcast.conf;"
    (directory / "nginx.conf").write_text(f"{user} pid {directory}/pid; events {{}} http {{ {http} }}")
    start = [find_program("nginx"), "-p", str(directory), "-c", str(directory / "nginx.conf"), "-e", "stderr"]
    subprocess.run([*start, "-t"], check=True)
    return [*start, "-g", "daemon off;"]


def caddy(
    directory: Path, machine: dict[str, int], certificate: tuple[Path, Path], ports: tuple[int, int]
) -> list[str]:
    """The command line of Caddy with the example. Only the certificate and the ports are the test's."""
    text = on_machine((DEPLOY / "caddy" / "Caddyfile").read_text(), machine)
    tls = f"localhost {{\n\ttls {certificate[1]} {certificate[0]}"
    options = f"{{\n\tadmin off\n\tskip_install_trust\n\thttp_port {ports[0]}\n\thttps_port {ports[1]}\n}}\n"
    (directory / "Caddyfile").write_text(options + text.replace(f"{NAME} {{", tls))
    program = find_program("caddy")
    subprocess.run([program, "validate", "--config", directory / "Caddyfile"], check=True, env=clean_environment())
    return [program, "run", "--config", str(directory / "Caddyfile")]


@pytest.mark.parametrize("proxy", [nginx, caddy])
async def test_the_flow_of_the_guide_passes_through_the_example(
    proxy, machine: Ports, certificate: Pair, tmp_path: Path
) -> None:
    ports = (free_port(), free_port())
    command = proxy(tmp_path, machine, certificate, ports)
    with proxy_process(command, tmp_path, ports[1]):
        url = f"https://localhost:{ports[1]}"
        trust = ssl.create_default_context(cafile=str(certificate[1]))
        async with contextlib.AsyncExitStack() as stack:
            http = await stack.enter_async_context(httpx.AsyncClient(base_url=url, verify=trust))
            arrived: list[str] = []
            for transport, base_path in (("websocket", ""), ("polling", "/chat")):
                session = await stack.enter_async_context(http_session())
                client = socketio.AsyncSimpleClient(ssl_verify=False, http_session=session)
                path = f"{base_path}/socket.io"
                await client.connect(url, transports=[transport], socketio_path=path, wait_timeout=LIMIT_S)
                stack.push_async_callback(client.disconnect)
                assert client.transport == transport
                assert (await client.call("join-chat", "c1", timeout=LIMIT_S))["ok"] is True
                message = {"chatId": "c1", "role": "USER", "content": transport}
                sent = await http.post(f"{base_path}/api/chat/messages", json=message)
                assert sent.status_code == 201, sent.text
                while not arrived or arrived[-1] != transport:
                    name, data = await client.receive(timeout=LIMIT_S)
                    arrived += [data["content"]] if name == "new-msg" else []
            page = await http.get("/chat/", headers={"X-Forwarded-Prefix": "/forged"})
            assert "text/html" in page.headers["content-type"]
            assert 'src="/chat/assets/' in page.text
            assert page.headers["strict-transport-security"]
            plain = await stack.enter_async_context(httpx.AsyncClient())
            moved = await plain.get(f"http://localhost:{ports[0]}/x")
            assert moved.status_code in {301, 308}
            assert moved.headers["location"].startswith("https://localhost")


@contextlib.contextmanager
def proxy_process(command: list[str], directory: Path, port: int) -> Iterator[None]:
    """The proxy, while it accepts connections."""
    env = {**clean_environment(), "HOME": str(directory)}
    log = directory / "proxy.log"
    with log.open("wb") as output, subprocess.Popen(command, env=env, stdout=output, stderr=output) as process:
        try:
            first_answers("127.0.0.1", port, process)
            yield
        finally:
            process.terminate()
