"""`roomcast doctor`: checks what one process would use, without starting it.

Each check is a small function that yields findings; it has a time limit, changes nothing, and raises nothing that a
wrong set-up can cause. A finding that is no success has a remedy, which names the setting to change.

Layer: app.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Final

from roomcast.app.addresses import LOOPBACK_NAMES
from roomcast.app.config import ProcessConfig, api_config, gateway_config, up_config, worker_config
from roomcast.app.doctor.findings import Finding, Role, fault, ok, warning
from roomcast.app.errors import AppError
from roomcast.app.parts.responders import build_responders
from roomcast.auth.tokens import TokenIssuer
from roomcast.gateway.ports import ApiRefused, ApiUnavailable
from roomcast.realtime.requests.origins import OriginPolicy
from roomcast.realtime.serving.descriptors import most_open_files
from roomcast.setting_values import SettingsError
from roomcast.settings import Settings, misspelt, read_settings

#: A gateway with fewer descriptors serves fewer than a thousand clients.
_FEW_FILES: Final = 1_200


async def examine(
    environ: Mapping[str, str],
    role: Role,
    *,
    data: Path | None = None,
    url: str | None = None,
    origin: str | None = None,
) -> AsyncIterator[Finding]:
    """Check the set-up of one process.

    Args:
        environ: The variables.
        role: The command whose process is checked.
        data: The option ``--data`` of `roomcast up` and `api`.
        url: The public address of the page or of the gateway, which is then tried as a browser does.
        origin: The origin of a page that shall be able to connect.
    """
    for line in misspelt(environ):
        yield warning("configuration", line, "correct or remove the variable")
    try:
        settings = read_settings(environ)
        config = _config(settings, role, data)
    except SettingsError as error:
        yield fault(
            "configuration", str(error), "correct this variable; docs/reference/configuration.md lists all of them"
        )
        return
    yield ok("configuration", f"valid for `roomcast {role}`")
    yield _secret(config)
    yield _files(most_open_files())
    async for finding in _services(config, role):
        yield finding
    if origin is not None:
        yield _origin(config, origin, url)
    if url is not None:
        from roomcast.app.doctor.proxy import check_public_url

        issuer = None if settings.auth is None else TokenIssuer(settings.auth)
        token = None if issuer is None else issuer.issue("roomcast-doctor", ttl_s=60)
        async for finding in check_public_url(url, origin, token=token):
            yield finding


async def _services(config: ProcessConfig, role: Role) -> AsyncIterator[Finding]:
    settings = config.settings
    if settings.redis is not None:
        # Imported here, as everywhere: a process without Redis does not load redis-py.
        from roomcast.app.doctor.redis import check_redis

        async for finding in check_redis(settings.redis, guide_ingress=settings.guide_ingress):
            yield finding
    elif role != Role.UP:
        remedy = "set REDIS_HOST or REDIS_URL, or use `roomcast up`, which runs everything in one process"
        yield warning("redis", "not configured: this process exchanges no events with others", remedy)
    if config.database is not None:
        from roomcast.app.doctor.database import check_database

        for finding in await asyncio.to_thread(lambda database: list(check_database(database)), config.database):
            yield finding
        yield await asyncio.to_thread(_responders, settings)
    if role == Role.GATEWAY:
        yield await _api(settings)


def _config(settings: Settings, role: Role, data: Path | None) -> ProcessConfig:
    if role == Role.GATEWAY:
        return gateway_config(settings)
    if role == Role.WORKER:
        return worker_config(settings)
    return (up_config if role == Role.UP else api_config)(settings, data=data)


def _secret(config: ProcessConfig) -> Finding:
    if config.settings.auth is not None:
        return ok("secret", "set and strong enough")
    if not config.listen.loopback:
        text = "authentication is off, and other machines can connect: every client can read and write every chat"
        return warning("secret", text, "set ROOMCAST_SECRET (`openssl rand -hex 32`) in every process")
    return ok("secret", "not set: authentication is off, for this machine only")


def _files(most: int | None) -> Finding:
    if most is not None and most < _FEW_FILES:
        remedy = "raise the limit of open files: `ulimit -n 65536`, or LimitNOFILE= in systemd"
        return warning("open files", f"at most {most}: a gateway needs one for each client", remedy)
    return ok("open files", "unlimited" if most is None else f"at most {most}")


def _responders(settings: Settings) -> Finding:
    try:
        names = build_responders(settings)
    except AppError as error:
        return fault("responder", str(error), "correct ROOMCAST_RESPONDER, or install the module for this Python")
    return ok("responder", ", ".join(names) or "none")


async def _api(settings: Settings) -> Finding:
    if settings.api_url is None:
        remedy = "set API_URL to the internal address of the API (port 3002), unless this is intended"
        return warning("api", "API_URL is not set: every client may join every chat", remedy)
    from roomcast.gateway.api.admission import HttpAdmission
    from roomcast.gateway.api.client import ApiClient, ApiClientOptions

    issuer = None if settings.auth is None else TokenIssuer(settings.auth)
    client = ApiClient(ApiClientOptions(url=settings.api_url), issuer)
    admission = HttpAdmission(client)
    try:
        await admission.check()
    except ApiRefused as error:
        return fault("api", f"{settings.api_url} refuses this gateway", str(error))
    except ApiUnavailable as error:
        return fault("api", str(error), "start the API, or correct API_URL: its internal address, port 3002")
    finally:
        await admission.close()
        client.close()
    return ok("api", f"{settings.api_url} accepts this gateway")


def _origin(config: ProcessConfig, origin: str, url: str | None) -> Finding:
    scheme, _, host = (url or "").partition("://")
    hosts = [host.partition("/")[0]] if url else list(LOOPBACK_NAMES)
    policy = OriginPolicy(config.gateway.server)
    if config.gateway_port is None:
        # An API alone serves the page, and allows its own origin.
        policy = OriginPolicy(type(config.gateway.server)(cors_allowed_origins=config.api.allowed_origins))
    if any(policy.allows_origin(origin, name, secure=scheme == "https") for name in hosts):
        return ok("origin", f"{origin} may connect")
    return fault("origin", f"pages of {origin} may not connect", f"add {origin} to ALLOWED_ORIGINS")
