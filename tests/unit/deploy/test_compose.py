"""What holds for the Compose files and their nginx, without running them."""

from __future__ import annotations

import re
from typing import Any

import pytest

from roomcast.settings import read_settings
from support.compose import DEPLOY, aliases, environment_of, image_environment, load

FILES = ("compose.yaml", "compose.cluster.yaml")
#: Of the reference guide's Compose file, as they are there.
GUIDE = {
    "app": ("3000:3000", {"REDIS_HOST": "redis"}),
    "websocket": (
        "3001:3001",
        {
            "REDIS_HOST": "redis",
            "REDIS_PORT": "6379",
            "REDIS_PASSWORD": "your_password",
            "ALLOWED_ORIGINS": "http://localhost:3000",
        },
    ),
    "redis": ("6379:6379", {}),
}
SERVICE_KEYS = {
    *("image", "build", "command", "ports", "environment", "depends_on", "healthcheck", "volumes", "secrets"),
    *("restart", "read_only", "tmpfs", "cap_drop", "cap_add", "security_opt", "stop_grace_period", "user", "networks"),
}


@pytest.fixture(params=FILES)
def compose(request: pytest.FixtureRequest) -> dict[str, Any]:
    return load(request.param)


def ours(compose: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The services that run the image."""
    return {name: service for name, service in compose["services"].items() if "roomcast" in service["image"]}


def test_every_service_is_confined(compose: dict[str, Any]) -> None:
    for name, service in compose["services"].items():
        assert set(service) <= SERVICE_KEYS, name
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert service["restart"] == "unless-stopped", name
        # PostgreSQL's entry point changes its user itself.
        assert "cap_add" not in service or name == "postgres", name
        assert "postgres" in name or "roomcast" in service["image"] or re.fullmatch(r"\d+:\d+", service["user"]), name


def test_every_dependency_has_the_condition_that_its_service_can_fulfil(compose: dict[str, Any]) -> None:
    for service in compose["services"].values():
        for name, dependency in service.get("depends_on", {}).items():
            assert dependency == {"condition": "service_healthy"}
            target = compose["services"][name]
            assert "healthcheck" in target or "roomcast" in target["image"]


def test_ports_are_published_on_loopback(compose: dict[str, Any]) -> None:
    for service in compose["services"].values():
        for port in service.get("ports", ()):
            assert port.startswith(("127.0.0.1:", "${ROOMCAST_PORT:-127.0.0.1:")), port


def test_every_variable_is_one_that_roomcast_reads(compose: dict[str, Any]) -> None:
    for service in ours(compose).values():
        env = {**image_environment(), **environment_of(service)}
        # The secrets are files of containers, and the URL has a default.
        plain = {name: value for name, value in env.items() if not name.endswith("_FILE") and "${" not in value}
        read_settings(plain)


def test_every_secret_that_a_service_reads_is_declared_and_mounted(compose: dict[str, Any]) -> None:
    for name, service in compose["services"].items():
        text = str(environment_of(service)) + str(service.get("command")) + str(service.get("healthcheck"))
        used = set(re.findall(r"/run/secrets/([\w-]+)", text))
        assert used <= set(service.get("secrets", ())), name
        assert used <= set(compose.get("secrets", ())), name


def test_a_secret_of_the_cluster_is_never_in_a_variable() -> None:
    for service in load("compose.cluster.yaml")["services"].values():
        names = [name for name in environment_of(service) if re.search(r"SECRET|PASSWORD|DATABASE_URL|TOKEN|KEY", name)]
        assert all(name.endswith("_FILE") for name in names)


def test_the_drain_ends_before_a_service_of_the_cluster_is_killed() -> None:
    for service in ours(load("compose.cluster.yaml")).values():
        drain = float(environment_of(service).get("ROOMCAST_DRAIN_S", 0))
        assert drain + 10 <= float(service["stop_grace_period"].removesuffix("s"))


def test_the_development_file_has_the_ports_and_variables_of_the_guide() -> None:
    services = load("compose.yaml")["services"]
    for name, (port, variables) in GUIDE.items():
        assert services[name]["ports"] == [f"127.0.0.1:{port}"]
        assert environment_of(services[name]).items() >= variables.items()
    assert services["redis"]["command"].startswith("redis-server --requirepass your_password")


def test_nginx_knows_every_gateway_and_api_and_no_other() -> None:
    text = (DEPLOY / "compose" / "nginx.conf").read_text()
    services = load("compose.cluster.yaml")["services"]
    gateways = [f"{name}:3001" for name, service in services.items() if service.get("command") == ["gateway"]]
    apis = [f"{name}:3000" for name, service in services.items() if "api" in aliases(service)]
    assert re.findall(r"server ([\w-]+:\d+)", text) == [*gateways, *apis]
    assert (len(gateways), len(apis)) == (3, 2)


def test_nginx_may_open_a_file_for_each_of_its_connections() -> None:
    text = (DEPLOY / "compose" / "nginx.conf").read_text()
    files, connections = (re.search(rf"{name} (\d+);", text) for name in ("worker_rlimit_nofile", "worker_connections"))
    assert files is not None
    assert connections is not None
    assert int(files[1]) > int(connections[1]) + 500


@pytest.mark.parametrize("file", ["compose/nginx.conf", "nginx/roomcast.conf"])
def test_nginx_passes_websockets_and_streams_on_and_needs_no_sticky_sessions(file: str) -> None:
    text = (DEPLOY / file).read_text()
    for line in (
        "proxy_http_version 1.1;",
        "proxy_set_header Upgrade $http_upgrade;",
        "proxy_set_header Connection $connection_upgrade;",
        "proxy_set_header Host $http_host;",
        "proxy_buffering off;",
        "proxy_read_timeout 3600s;",
        "least_conn;",
    ):
        assert line in text, line
    assert "ip_hash" not in text
    assert "hash $" not in text
