"""`roomcast doctor --url`: faults of real proxies in front of a real process."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from roomcast.app.doctor.findings import Finding
from roomcast.app.doctor.proxy import check_public_url
from roomcast.auth.options import AuthOptions
from roomcast.auth.tokens import TokenIssuer
from support.load_balancers import load_balancer
from support.ports import free_port
from support.processes import Roomcast
from support.redis_server import RedisServer, environment
from support.tcp_proxy import TcpProxy

SECRET = "a secret of more than thirty-two bytes"
CHECKS = ["page", "streams", "polling", "websocket", "idle timeout", "idle polling"]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Roomcast]:
    """Everything on one port."""
    with Roomcast.up(tmp_path_factory.mktemp("data"), one_port=True, env={"ROOMCAST_RESPONDER": "none"}) as running:
        yield running


async def tried(url: str, origin: str | None = None, *, token: str | None = None, idle_s: float = 0.3) -> list[Finding]:
    return [finding async for finding in check_public_url(url, origin, token=token, idle_s=idle_s)]


async def the_problem(url: str, origin: str | None = None, *, idle_s: float = 0.3) -> Finding:
    (found,) = (finding for finding in await tried(url, origin, idle_s=idle_s) if finding.status != "ok")
    return found


@contextlib.contextmanager
def nginx(directory: Path, server: Roomcast, *changes: tuple[str, str]) -> Iterator[str]:
    """nginx with another configuration than the tests have; its URL."""
    with load_balancer("nginx", directory, [server.gateway_port], changes=changes) as port:
        yield f"http://127.0.0.1:{port}"


@pytest.mark.parametrize("kind", ["nginx", "haproxy"])
async def test_a_healthy_proxy_has_no_problem(tmp_path: Path, server: Roomcast, kind: str) -> None:
    with load_balancer(kind, tmp_path / kind, [server.gateway_port]) as port:
        found = await tried(f"http://127.0.0.1:{port}")
    assert [(finding.check, finding.status) for finding in found] == [(check, "ok") for check in CHECKS]


async def test_the_page_names_its_gateway_and_the_gateway_alone_is_tried_too(tmp_path: Path) -> None:
    with Roomcast.up(tmp_path / "data", env={"ROOMCAST_RESPONDER": "none"}) as server:
        page = await tried(server.api_url)
        assert [(finding.check, finding.status) for finding in page] == [(check, "ok") for check in CHECKS]
        assert server.gateway_url in page[0].text
        alone = await tried(server.gateway_url)
        assert [(finding.check, finding.status) for finding in alone] == [(check, "ok") for check in CHECKS[2:]]
        refused = await the_problem(server.gateway_url, "https://other.example")
        assert (refused.status, "ALLOWED_ORIGINS" in refused.remedy) == ("fault", True)
    assert "start the gateway" in (await the_problem(server.gateway_url)).remedy


async def test_a_gateway_that_closes_connections_without_a_token_has_no_idle_timeout(tmp_path: Path) -> None:
    env = {"ROOMCAST_RESPONDER": "none", "ROOMCAST_SECRET": SECRET}
    with Roomcast.up(tmp_path, env=env) as gateway:
        token = TokenIssuer(AuthOptions(SECRET)).issue("ann", ttl_s=60)
        for given, waits in ((token, True), (None, False)):
            found = {one.check: one for one in await tried(gateway.gateway_url, token=given)}
            assert {one.status for one in found.values()} == {"ok"}
            for check in ("idle timeout", "idle polling"):
                assert ("not tried" not in found[check].text) == waits


async def test_a_gateway_that_a_page_cannot_use_is_found(tmp_path: Path) -> None:
    env = {"ROOMCAST_RESPONDER": "none", "ROOMCAST_SECRET": SECRET}
    with (
        Roomcast.gateway(env={"ALLOWED_ORIGINS": "https://elsewhere.example"}) as gateway,
        Roomcast.api(tmp_path / "data", env=env | {"GATEWAY_URL": gateway.gateway_url}) as api,
    ):
        foreign = await the_problem(api.api_url)
        assert (foreign.check, "ALLOWED_ORIGINS" in foreign.remedy) == ("polling", True)
        streams = [
            next(one for one in await tried(api.api_url, token=token) if one.check == "streams")
            for token in (None, TokenIssuer(AuthOptions(SECRET)).issue("ann", ttl_s=60))
        ]
        assert ["not tried" in one.text for one in streams] == [True, False]
        gateway.kill()
        assert "start the gateway" in (await the_problem(api.api_url)).remedy


@pytest.mark.parametrize(
    ("old", "new", "check", "remedy"),
    [
        ("proxy_set_header Upgrade $http_upgrade;", "", "websocket", "headers Upgrade and Connection"),
        ("proxy_read_timeout 3600s;", "proxy_read_timeout 1s;", "idle polling", "proxy_read_timeout"),
        (
            "proxy_buffering off;",
            "proxy_buffering on; proxy_ignore_headers X-Accel-Buffering; gzip on; gzip_types *; gzip_min_length 1;",
            "streams",
            "proxy_buffering off",
        ),
        ("location / {", "location /api/ai/ { return 200; } location / {", "streams", "proxy_buffering off"),
        ("location / {", "location /socket.io/ { return 404; } location / {", "polling", "/socket.io/"),
        ("location / {", "location / { limit_except GET { deny all; }", "polling", "pass POST"),
    ],
)
async def test_a_wrong_setting_of_nginx_is_found(
    tmp_path: Path, server: Roomcast, old: str, new: str, check: str, remedy: str
) -> None:
    with nginx(tmp_path / "nginx", server, (old, new)) as url:
        found = [
            finding for finding in await tried(url, idle_s=2 if "timeout" in new else 0.3) if finding.status != "ok"
        ]
    assert check in {finding.check for finding in found}
    assert all(remedy in finding.remedy for finding in found if finding.check == check)


async def test_buffering_that_nginx_switches_off_for_streams_is_no_problem(tmp_path: Path, server: Roomcast) -> None:
    with nginx(tmp_path / "nginx", server, ("proxy_buffering off;", "proxy_buffering on;")) as url:
        assert [finding.status for finding in await tried(url)] == ["ok"] * len(CHECKS)


@pytest.mark.parametrize(
    ("old", "new", "check"),
    [
        ("timeout tunnel 3600s", "timeout tunnel 1s", "idle timeout"),
        ("timeout server 60s", "timeout server 1500ms", "idle polling"),
    ],
)
async def test_an_idle_timeout_of_haproxy_is_found(
    tmp_path: Path, server: Roomcast, old: str, new: str, check: str
) -> None:
    with load_balancer("haproxy", tmp_path / "haproxy", [server.gateway_port], changes=[(old, new)]) as port:
        found = await the_problem(f"http://127.0.0.1:{port}", idle_s=2.5)
    assert (found.check, found.status, "HAProxy: timeout tunnel" in found.remedy) == (check, "fault", True)


async def test_gateways_that_share_no_sessions_are_found(tmp_path: Path, redis: RedisServer) -> None:
    async def behind_haproxy(name: str, env: dict[str, str]) -> list[Finding]:
        with (
            Roomcast.gateway(env=env) as one,
            Roomcast.gateway(env=env) as other,
            load_balancer("haproxy", tmp_path / name, [one.gateway_port, other.gateway_port]) as port,
        ):
            return await tried(f"http://127.0.0.1:{port}")

    (found,) = await behind_haproxy("apart", {})
    assert (found.check, "one Redis" in found.remedy) == ("polling", True)
    assert {finding.status for finding in await behind_haproxy("together", environment(redis))} == {"ok"}


async def test_a_proxy_that_closes_silent_connections_is_found(server: Roomcast) -> None:
    async with TcpProxy(server.gateway_port) as cutting:
        found = []
        async for finding in check_public_url(f"http://127.0.0.1:{cutting.port}", None, idle_s=10):
            found.append(finding)
            if finding.check == "websocket":
                cutting.cut()
    assert {finding.check for finding in found if finding.status == "fault"} == {"idle timeout", "idle polling"}


@contextlib.contextmanager
def nginx_with_tls(directory: Path, server: Roomcast, days: int) -> Iterator[str]:
    """nginx with a certificate that is valid until this number of days from now; its URL."""
    port, place = free_port(), "client_max_body_size 2m;"
    tls = f"listen 127.0.0.1:{port} ssl; {certificate(directory, days)}"
    forwarded = "proxy_set_header X-Forwarded-Proto $scheme;"
    with nginx(directory / "nginx", server, (place, f"{place} {tls} {forwarded}")):
        yield f"https://localhost:{port}"


def certificate(directory: Path, days: int) -> str:
    """Directives of nginx for a certificate of localhost, its own authority."""
    key, chain, request = directory / "key.pem", directory / "chain.pem", directory / "request.pem"
    made = datetime.now(UTC)
    date = "%Y%m%d%H%M%SZ"
    (directory / "ca.conf").write_text(
        f"[ca]\ndefault_ca=a\n[a]\ndatabase={directory}/index\nserial={directory}/serial\nnew_certs_dir={directory}\n"
        "default_md=sha256\npolicy=p\nx509_extensions=e\n[p]\ncommonName=supplied\n"
        "[e]\nsubjectAltName=DNS:localhost\nbasicConstraints=critical,CA:TRUE\n"
    )
    (directory / "index").touch()
    (directory / "serial").write_text("01")
    asked = ["openssl", "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    asked += ["-subj", "/CN=localhost", "-keyout", str(key), "-out", str(request)]
    signed = ["openssl", "ca", "-batch", "-selfsign", "-config", str(directory / "ca.conf"), "-keyfile", str(key)]
    signed += ["-startdate", (made - timedelta(days=30)).strftime(date)]
    signed += ["-enddate", (made + timedelta(days=days)).strftime(date), "-in", str(request), "-out", str(chain)]
    for command in (asked, signed):
        subprocess.run(command, check=True, capture_output=True)
    return f"ssl_certificate {chain}; ssl_certificate_key {key};"


@pytest.mark.parametrize(
    ("days", "status", "text"),
    [(90, "ok", "valid until"), (5, "warning", "expires on"), (-1, "fault", "certificate has expired")],
)
async def test_the_end_of_a_certificate_is_found(
    tmp_path: Path, server: Roomcast, monkeypatch: pytest.MonkeyPatch, days: int, status: str, text: str
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "chain.pem"))
    with nginx_with_tls(tmp_path, server, days) as url:
        found = await tried(url)
    assert (found[0].check, found[0].status, text in found[0].text) == ("certificate", status, True)
    if status == "fault":
        assert len(found) == 1
    else:
        assert [finding.status for finding in found[1:]] == ["ok"] * len(CHECKS)


async def test_a_certificate_that_browsers_do_not_trust_is_found(tmp_path: Path, server: Roomcast) -> None:
    with nginx_with_tls(tmp_path, server, days=90) as url:
        found = await the_problem(url)
    assert (found.check, found.status, "self-signed" in found.text) == ("certificate", "fault", True)
