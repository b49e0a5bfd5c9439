"""The settings: the only module that reads the environment.

Variables have the names of the reference guide where it defines one (``PORT``, ``ALLOWED_ORIGINS``, ``REDIS_…``,
``DATABASE_URL``, ``API_URL``). An invalid or unsupported value raises `SettingsError`; no value is ignored.

Layer: settings.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Final, get_args

from roomcast.auth.options import AuthOptions
from roomcast.chat.files.options import FileOptions
from roomcast.chat.notifications.endpoints import EndpointRules
from roomcast.chat.policies.additions import LEAST_ADDITIONS, AdditionLimits
from roomcast.chat.policies.quotas import Quotas
from roomcast.chat.policies.rates import RateLimits
from roomcast.chat.use_cases.moderation import AnswerReviews, ModerationLimits, WhenAway
from roomcast.contract.text import MAX_RETENTION_DAYS
from roomcast.gateway.connection_limits import OpenConnectionLimits
from roomcast.moderation.options import ModerationOptions
from roomcast.observability.logs import LogFormat, LogLevel, LogOptions
from roomcast.outgoing.addresses import Network
from roomcast.push.options import PushOptions
from roomcast.responders.options import EndpointOptions, OpenAiOptions
from roomcast.setting_groups import (
    OWN_FUNCTION,
    read_auth,
    read_database,
    read_endpoint,
    read_openai,
    read_redis,
    read_responders,
    read_sign_in,
    read_tracing,
)
from roomcast.setting_values import (
    SettingsError,
    check_base_path,
    check_text,
    check_url,
    read_choice,
    read_content,
    read_count,
    read_host,
    read_hosts,
    read_networks,
    read_number,
    read_origins,
    read_port,
    read_proxies,
    read_seconds,
    read_token,
    read_url,
    split_items,
)
from roomcast.wire.standard_webhooks import LEAST_KEY_BYTES, decode_secret

if TYPE_CHECKING:
    from roomcast.auth.open_id import OpenIdOptions
    from roomcast.redis_client import RedisOptions

DEFAULT_GATEWAY_PORT: Final = 3001
DEFAULT_API_PORT: Final = 3000
#: Of an API with Redis, whose gateways must know the port.
DEFAULT_API_INTERNAL_PORT: Final = 3002
#: The reference guide's default.
DEFAULT_ORIGINS: Final = ("http://localhost:3000",)
DEFAULT_DATA_DIR: Final = Path("data")
#: Fits into the context of every current model, with room for the answer.
DEFAULT_TOKEN_BUDGET: Final = 16_000
#: They mostly wait for their providers. A model on this machine may need a lower number.
DEFAULT_WORKER_TURNS: Final = 256
MAX_WORKER_TURNS: Final = 10_000
#: One day, and 30 days.
DEFAULT_WEBHOOK_GIVE_UP_S: Final = 86_400
MAX_WEBHOOK_GIVE_UP_S: Final = 2_592_000

#: The settings that may be secrets. ``NAME_FILE`` names a file with the value of ``NAME``, as Docker and Kubernetes
#: mount secrets.
SECRETS: Final = (
    "ROOMCAST_SECRET",
    "ROOMCAST_JWT_SECRET",
    "ROOMCAST_JWT_PUBLIC_KEY",
    "ROOMCAST_OIDC_CLIENT_SECRET",
    "DATABASE_URL",
    "REDIS_URL",
    "REDIS_PASSWORD",
    "REDIS_SENTINEL_PASSWORD",
    "OPENAI_API_KEY",
    "ROOMCAST_AGUI_TOKEN",
    "ROOMCAST_HTTP_TOKEN",
    "ROOMCAST_MODERATION_SECRET",
    "ROOMCAST_TOKEN",
    "ROOMCAST_VAPID_KEY",
)
#: Every variable that this module reads.
VARIABLES: Final = (
    *SECRETS,
    *(f"{name}_FILE" for name in SECRETS),
    "PORT",
    "API_PORT",
    "ALLOWED_ORIGINS",
    "ALLOWED_HOSTS",
    "TRUSTED_PROXIES",
    "API_URL",
    "GATEWAY_URL",
    "REDIS_HOST",
    "REDIS_PORT",
    "REDIS_SENTINEL_USERNAME",
    "OPENAI_MODEL",
    "OPENAI_BASE_URL",
    "LOG_LEVEL",
    "LOG_FORMAT",
    # OpenTelemetry's SDK reads further ones.
    "OTEL_EXPORTER_OTLP_ENDPOINT",
    "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
    "OTEL_EXPORTER_OTLP_PROTOCOL",
    "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL",
    "OTEL_TRACES_EXPORTER",
    "OTEL_SDK_DISABLED",
    "OTEL_TRACES_SAMPLER",
    "ROOMCAST_JWT_ISSUER",
    "ROOMCAST_JWT_AUDIENCE",
    "ROOMCAST_JWT_ALGORITHMS",
    "ROOMCAST_JWT_JWKS_URL",
    "ROOMCAST_JWT_USER_CLAIM",
    "ROOMCAST_JWT_NAME_CLAIM",
    "ROOMCAST_JWT_SCOPE_CLAIM",
    "ROOMCAST_JWT_TENANT_CLAIM",
    "ROOMCAST_TOKEN_LEEWAY_S",
    "ROOMCAST_OIDC_ISSUER",
    "ROOMCAST_OIDC_CLIENT_ID",
    "ROOMCAST_OIDC_TENANT_CLAIM",
    "ROOMCAST_OIDC_USER_CLAIM",
    "ROOMCAST_PAGE_URL",
    "ROOMCAST_HOST",
    "ROOMCAST_BASE_PATH",
    "ROOMCAST_INSECURE",
    "ROOMCAST_ONE_PORT",
    "ROOMCAST_GATEWAY_PROCESSES",
    "ROOMCAST_DATA",
    "ROOMCAST_INTERNAL_HOST",
    "ROOMCAST_INTERNAL_PORT",
    "ROOMCAST_UNREADY_S",
    "ROOMCAST_DRAIN_S",
    "ROOMCAST_INGRESS",
    "ROOMCAST_RESPONDER",
    "ROOMCAST_OPENAI_API",
    "ROOMCAST_AGUI_URL",
    "ROOMCAST_HTTP_URL",
    "ROOMCAST_SYSTEM_PROMPT",
    "ROOMCAST_TOKEN_BUDGET",
    "ROOMCAST_WORKER",
    "ROOMCAST_WORKER_TURNS",
    "ROOMCAST_ADD_LIMIT_SAME_USER",
    "ROOMCAST_ADD_LIMIT_ALL_USERS",
    "ROOMCAST_RETENTION_DAYS",
    "ROOMCAST_QUOTA_USER_TURNS",
    "ROOMCAST_QUOTA_USER_TOKENS",
    "ROOMCAST_QUOTA_TENANT_TURNS",
    "ROOMCAST_QUOTA_TENANT_TOKENS",
    "ROOMCAST_QUOTA_WINDOW_S",
    "ROOMCAST_LIMIT_MESSAGES",
    "ROOMCAST_LIMIT_BYTES",
    "ROOMCAST_LIMIT_CHAT_MESSAGES",
    "ROOMCAST_LIMIT_REQUESTS",
    "ROOMCAST_LIMIT_ADDRESS_REQUESTS",
    "ROOMCAST_LIMIT_UPLOADS",
    "ROOMCAST_LIMIT_JOINS",
    "ROOMCAST_LIMIT_TYPING",
    "ROOMCAST_LIMIT_EVENTS",
    "ROOMCAST_LIMIT_CONNECTIONS",
    "ROOMCAST_LIMIT_ADDRESS_CONNECTIONS",
    "ROOMCAST_LIMIT_OPEN_CONNECTIONS",
    "ROOMCAST_LIMIT_OPEN_ADDRESS_CONNECTIONS",
    "ROOMCAST_MODERATION",
    "ROOMCAST_MODERATION_ANSWERS",
    "ROOMCAST_MODERATION_AWAY",
    "ROOMCAST_MODERATION_DEADLINE_S",
    "ROOMCAST_WEBHOOK_NETWORKS",
    "ROOMCAST_WEBHOOK_GIVE_UP_S",
    "ROOMCAST_FILES_URL",
    "ROOMCAST_FILES_MAX_BYTES",
    "ROOMCAST_FILES_MAX_UNSENT_BYTES",
    "ROOMCAST_FILES_TYPES",
    "ROOMCAST_FILES_MAX_USER_BYTES",
    "ROOMCAST_FILES_REDIRECT",
    "ROOMCAST_AI_FILE_BYTES",
    "ROOMCAST_URL",
    "ROOMCAST_VAPID_SUBJECT",
    "ROOMCAST_PUSH_NETWORKS",
    "ROOMCAST_PUSH_DELAY_S",
)
MAX_GATEWAY_PROCESSES: Final = 64
#: Largest size of a file.
MAX_FILE_BYTES: Final = 5_000_000_000
#: Largest total size of the images of a prompt, which a worker holds in memory.
MAX_PROMPT_BYTES: Final = 50_000_000
FILE_SCHEMES: Final = ("file://", "s3://", "gs://", "az://")
_MEDIA_TYPE: Final = re.compile(r"[a-z]+/(?:\*|[a-z0-9.+-]+)")
#: Largest value of a limit per minute.
MAX_RATE: Final = 999_999_999

_PREFIX: Final = "ROOMCAST_"
#: Other programs have variables with these beginnings, too: only one that resembles a variable of this module counts.
_SHARED_PREFIXES: Final = ("REDIS_", "OPENAI_", "DATABASE_", "ALLOWED_", "TRUSTED_", "GATEWAY_")
#: Similarity of two names, from 0 to 1: one or two letters differ.
_RESEMBLES: Final = 0.88
#: What Kubernetes sets in every pod for a service, for example one named ``roomcast-api``.
_SERVICE_LINK: Final = re.compile(
    r"_SERVICE_HOST$|_SERVICE_PORT(_|$)|_PORT_[0-9]+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?$"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The values read from the environment. None means that the variable is not set.

    Attributes:
        host: ``ROOMCAST_HOST``: address that API and gateway listen on.
        base_path: ``ROOMCAST_BASE_PATH``: path below which a proxy serves page, API and gateway; None: none.
        insecure: ``ROOMCAST_INSECURE``: whether other machines may connect while authentication is off.
        one_port: ``ROOMCAST_ONE_PORT``: whether `roomcast up` serves the gateway on the port of the API.
        gateway_processes: ``ROOMCAST_GATEWAY_PROCESSES``: number of processes of `roomcast gateway` on its port.
        gateway_port: ``PORT``.
        api_port: ``API_PORT``.
        allowed_origins: ``ALLOWED_ORIGINS``, as browsers send them; if empty, every cross-origin request is rejected.
        allowed_hosts: ``ALLOWED_HOSTS``: accepted values of the Host header without port; None: the loopback names
            without authentication on loopback, otherwise all.
        trusted_proxies: ``TRUSTED_PROXIES``: addresses and networks whose forwarded headers are trusted.
        api_url: ``API_URL``: URL of the API's internal address, which authorises joins; for a gateway in a process
            of its own.
        gateway_url: ``GATEWAY_URL``: URL at which browsers reach the gateway, for example through a proxy. Without a
            path it has the base path.
        data_dir: ``ROOMCAST_DATA``: directory of the embedded database.
        database: ``DATABASE_URL``: path of an SQLite file, or a PostgreSQL URL, which may contain a password. Takes
            precedence over ``data_dir``.
        redis: ``REDIS_URL`` or ``REDIS_HOST``, and ``REDIS_SENTINEL_…``; None: the process runs alone, without Redis.
        internal_host: ``ROOMCAST_INTERNAL_HOST``: listen address for metrics and for requests from gateways.
        internal_port: ``ROOMCAST_INTERNAL_PORT``; None: with Redis, 3002 for an API alone, any free port for a gateway;
            without Redis, no internal address.
        unready_s: ``ROOMCAST_UNREADY_S``: on SIGTERM, seconds for which ``/ready`` fails before connections are closed.
        drain_s: ``ROOMCAST_DRAIN_S``: time limit in seconds for closing connections.
        guide_ingress: ``ROOMCAST_INGRESS``: whether gateways accept the guide's ``PUBLISH chat:events``. Turn it off
            where the guide's Node servers share the Redis: they broadcast these events themselves.
        auth: ``ROOMCAST_SECRET``, ``ROOMCAST_TOKEN_LEEWAY_S``, and the tokens of an identity provider:
            ``ROOMCAST_JWT_…``; None: authentication is off.
        sign_in: ``ROOMCAST_OIDC_…``, ``ROOMCAST_PAGE_URL``: where users of the page sign in; None: nowhere.
        responders: ``ROOMCAST_RESPONDER``: names of the responders that chats may use; the first answers in chats that
            name none. Empty: no message is answered.
        openai: ``OPENAI_MODEL``, ``OPENAI_API_KEY``, ``OPENAI_BASE_URL``, ``ROOMCAST_OPENAI_API``; None unless the
            responder ``openai`` is named.
        agui: ``ROOMCAST_AGUI_URL``, ``ROOMCAST_AGUI_TOKEN``; None unless the responder ``agui`` is named.
        http: ``ROOMCAST_HTTP_URL``, ``ROOMCAST_HTTP_TOKEN``; None unless the responder ``http`` is named.
        system_prompt: ``ROOMCAST_SYSTEM_PROMPT``: instructions for the model in chats that have none.
        token_budget: ``ROOMCAST_TOKEN_BUDGET``: maximum number of tokens that a model receives, in chats that
            have none.
        worker: ``ROOMCAST_WORKER``: whether `roomcast up` and `api` answer AI turns; off: `roomcast worker` does.
        worker_turns: ``ROOMCAST_WORKER_TURNS``: maximum number of turns that a worker answers at the same time.
        additions: ``ROOMCAST_ADD_LIMIT_SAME_USER``, ``ROOMCAST_ADD_LIMIT_ALL_USERS``: how often per day a user may add
            one and the same other user to chats, and all other users together; 0: no limit.
        retention_days: ``ROOMCAST_RETENTION_DAYS``: after how many days messages are deleted, in chats that do not say
            it; 0: never.
        quotas: ``ROOMCAST_QUOTA_…``: how many AI answers and tokens users and tenants have, with
            authentication.
        rate_limits: ``ROOMCAST_LIMIT_…``: limits per minute of what users, addresses and chats do; 0: no limit.
        open_limits: ``ROOMCAST_LIMIT_OPEN_CONNECTIONS``, ``ROOMCAST_LIMIT_OPEN_ADDRESS_CONNECTIONS``: connections of
            a user and of an address that are open at once in a gateway process; 0: no limit.
        moderation: ``ROOMCAST_MODERATION`` and ``ROOMCAST_MODERATION_…``: the hook that reviews each text before it is
            stored; None: texts are not reviewed.
        push: ``ROOMCAST_VAPID_…``, ``ROOMCAST_PUSH_…``: pushes to the devices of users; without a key, there is one
            beside an SQLite database.
        webhook_networks: ``ROOMCAST_WEBHOOK_NETWORKS``: networks besides the public Internet whose addresses webhooks
            may have, also with http://.
        webhook_give_up_s: ``ROOMCAST_WEBHOOK_GIVE_UP_S``: how long after the first attempt an event is tried again.
        files_url: ``ROOMCAST_FILES_URL``: where the contents of files are, such as ``s3://bucket/path`` or
            ``file:///directory``; None: beside an SQLite database, and nowhere with PostgreSQL.
        files: ``ROOMCAST_FILES_MAX_BYTES``, ``ROOMCAST_FILES_MAX_UNSENT_BYTES``, ``ROOMCAST_FILES_MAX_USER_BYTES``,
            ``ROOMCAST_FILES_TYPES``, ``ROOMCAST_FILES_REDIRECT``, ``ROOMCAST_AI_FILE_BYTES``.
        url: ``ROOMCAST_URL``: base URL of the API for `roomcast tail` and `publish`, which may have a path.
        token: ``ROOMCAST_TOKEN``: access token of `roomcast tail` and `publish`.
        logs: ``LOG_LEVEL`` and ``LOG_FORMAT``.
        tracing: Whether traces are sent: ``OTEL_EXPORTER_OTLP_ENDPOINT``, or the same for traces alone, names a
            collector, and neither ``OTEL_TRACES_EXPORTER`` nor ``OTEL_SDK_DISABLED`` turns them off.
    """

    host: str | None = None
    base_path: str | None = None
    insecure: bool = False
    one_port: bool = False
    gateway_processes: int = 1
    gateway_port: int | None = None
    api_port: int | None = None
    allowed_origins: tuple[str, ...] | None = None
    allowed_hosts: tuple[str, ...] | None = None
    trusted_proxies: tuple[str, ...] = ()
    api_url: str | None = None
    gateway_url: str | None = None
    data_dir: Path = DEFAULT_DATA_DIR
    database: Path | str | None = field(default=None, repr=False)
    redis: RedisOptions | None = None
    internal_host: str | None = None
    internal_port: int | None = None
    unready_s: float = 0.0
    drain_s: float | None = None
    guide_ingress: bool = True
    auth: AuthOptions | None = field(default=None, repr=False)
    sign_in: OpenIdOptions | None = None
    responders: tuple[str, ...] = ("demo",)
    openai: OpenAiOptions | None = None
    agui: EndpointOptions | None = None
    http: EndpointOptions | None = None
    system_prompt: str | None = None
    token_budget: int = DEFAULT_TOKEN_BUDGET
    worker: bool = True
    worker_turns: int = DEFAULT_WORKER_TURNS
    additions: AdditionLimits = field(default_factory=AdditionLimits)
    retention_days: int = 0
    quotas: Quotas = field(default_factory=Quotas)
    rate_limits: RateLimits = field(default_factory=RateLimits)
    open_limits: OpenConnectionLimits = field(default_factory=OpenConnectionLimits)
    moderation: ModerationOptions | None = None
    push: PushOptions = field(default_factory=PushOptions)
    webhook_networks: tuple[Network, ...] = ()
    webhook_give_up_s: int = DEFAULT_WEBHOOK_GIVE_UP_S
    files_url: str | None = field(default=None, repr=False)
    files: FileOptions = field(default_factory=FileOptions)
    url: str | None = None
    token: str | None = field(default=None, repr=False)
    logs: LogOptions = field(default_factory=LogOptions)
    tracing: bool = False


def read_settings(environ: Mapping[str, str], responder: str | None = None) -> Settings:
    """Read the environment.

    Args:
        environ: The variables.
        responder: The option ``--responder``, which takes precedence over ``ROOMCAST_RESPONDER``.

    Raises:
        SettingsError: a value is invalid or not supported.
    """
    for name in VARIABLES:
        check_text(name, environ.get(name, ""))
    environ = _with_files(environ)
    responders = read_responders(environ, responder)
    return Settings(
        host=read_host(environ, "ROOMCAST_HOST"),
        base_path=check_base_path("ROOMCAST_BASE_PATH", environ.get("ROOMCAST_BASE_PATH", "").strip()) or None,
        insecure=read_choice(environ, "ROOMCAST_INSECURE", ("on", "off"), "off") == "on",
        one_port=read_choice(environ, "ROOMCAST_ONE_PORT", ("on", "off"), "off") == "on",
        gateway_processes=read_number(environ, "ROOMCAST_GATEWAY_PROCESSES", 1, MAX_GATEWAY_PROCESSES),
        gateway_port=read_port(environ, "PORT"),
        api_port=read_port(environ, "API_PORT"),
        allowed_origins=read_origins(environ, "ALLOWED_ORIGINS"),
        allowed_hosts=read_hosts(environ, "ALLOWED_HOSTS"),
        trusted_proxies=read_proxies(environ, "TRUSTED_PROXIES"),
        api_url=read_url(environ, "API_URL"),
        gateway_url=read_url(environ, "GATEWAY_URL"),
        data_dir=Path(environ.get("ROOMCAST_DATA") or DEFAULT_DATA_DIR),
        database=read_database(environ),
        redis=read_redis(environ),
        internal_host=read_host(environ, "ROOMCAST_INTERNAL_HOST"),
        internal_port=read_port(environ, "ROOMCAST_INTERNAL_PORT"),
        unready_s=read_seconds(environ, "ROOMCAST_UNREADY_S") or 0.0,
        drain_s=read_seconds(environ, "ROOMCAST_DRAIN_S"),
        guide_ingress=read_choice(environ, "ROOMCAST_INGRESS", ("on", "off"), "on") == "on",
        auth=read_auth(environ),
        sign_in=read_sign_in(environ),
        responders=responders,
        openai=read_openai(environ) if "openai" in responders else None,
        agui=read_endpoint(environ, "ROOMCAST_AGUI_URL", "ROOMCAST_AGUI_TOKEN") if "agui" in responders else None,
        http=read_endpoint(environ, "ROOMCAST_HTTP_URL", "ROOMCAST_HTTP_TOKEN") if "http" in responders else None,
        system_prompt=environ.get("ROOMCAST_SYSTEM_PROMPT", "").strip() or None,
        token_budget=read_count(environ, "ROOMCAST_TOKEN_BUDGET", DEFAULT_TOKEN_BUDGET, 256),
        worker=read_choice(environ, "ROOMCAST_WORKER", ("on", "off"), "on") == "on",
        worker_turns=read_number(environ, "ROOMCAST_WORKER_TURNS", DEFAULT_WORKER_TURNS, MAX_WORKER_TURNS),
        additions=_additions(environ),
        retention_days=read_count(environ, "ROOMCAST_RETENTION_DAYS", 0, most=MAX_RETENTION_DAYS),
        quotas=_quotas(environ),
        rate_limits=_rate_limits(environ),
        open_limits=_open_limits(environ),
        moderation=_moderation(environ),
        push=_push(environ),
        webhook_networks=read_networks(environ, "ROOMCAST_WEBHOOK_NETWORKS"),
        webhook_give_up_s=read_number(
            environ, "ROOMCAST_WEBHOOK_GIVE_UP_S", DEFAULT_WEBHOOK_GIVE_UP_S, MAX_WEBHOOK_GIVE_UP_S
        ),
        files_url=_files_url(environ),
        files=_files(environ),
        url=read_url(environ, "ROOMCAST_URL"),
        token=read_token(environ, "ROOMCAST_TOKEN"),
        logs=read_log_options(environ),
        tracing=read_tracing(environ),
    )


def read_log_options(environ: Mapping[str, str]) -> LogOptions:
    """``LOG_LEVEL`` and ``LOG_FORMAT``, which are needed to report errors of the other settings.

    Raises:
        SettingsError: one of them is invalid.
    """
    return LogOptions(
        level=read_choice(environ, "LOG_LEVEL", get_args(LogLevel), "info"),
        format=read_choice(environ, "LOG_FORMAT", get_args(LogFormat), "console"),
    )


def misspelt(environ: Mapping[str, str]) -> tuple[str, ...]:
    """One line for each variable that has no effect and probably should, with the nearest name that has one.

    These are warnings, not errors: after a rollback the previous version may meet a variable of the next one.
    """
    lines = []
    for name in sorted(environ.keys() - set(VARIABLES)):
        own = name.startswith(_PREFIX)
        # A link to a service that is named like a program (``ROOMCAST_GATEWAY_PORT``) is a URL, and no setting.
        if _SERVICE_LINK.search(name) or environ[name].startswith(("tcp://", "udp://")):
            continue
        if not own and not name.startswith(_SHARED_PREFIXES):
            continue
        # The common beginning would make any two names resemble each other.
        known = {variable.removeprefix(_PREFIX): variable for variable in VARIABLES}
        nearest = get_close_matches(name.removeprefix(_PREFIX), known, 1, 0.6 if own else _RESEMBLES)
        if nearest:
            lines.append(f"{name} is no setting of Roomcast and has no effect: did you mean {known[nearest[0]]}?")
        elif own:
            lines.append(f"{name} is no setting of this version of Roomcast and has no effect: remove it")
    return tuple(lines)


def _with_files(environ: Mapping[str, str]) -> Mapping[str, str]:
    """The environment, with the content of the files that ``NAME_FILE`` names as the value of ``NAME``."""
    contents = {}
    for name in SECRETS:
        path = environ.get(f"{name}_FILE")
        if path is None:
            continue
        if environ.get(name, "").strip():
            raise SettingsError(f"{name}_FILE", f"and {name} are both set: set one of them")
        contents[name] = read_content(f"{name}_FILE", path.strip())
    return {**environ, **contents}


def _additions(environ: Mapping[str, str]) -> AdditionLimits:
    defaults = AdditionLimits()
    return AdditionLimits(
        same_user=read_count(environ, "ROOMCAST_ADD_LIMIT_SAME_USER", defaults.same_user),
        all_users=read_count(environ, "ROOMCAST_ADD_LIMIT_ALL_USERS", defaults.all_users, LEAST_ADDITIONS),
    )


def _rate_limits(environ: Mapping[str, str]) -> RateLimits:
    defaults = RateLimits()
    counts = {
        name: read_count(environ, f"ROOMCAST_LIMIT_{name.upper()}", getattr(defaults, name), most=MAX_RATE)
        for name in (field.name for field in fields(RateLimits))
    }
    return RateLimits(**counts)


def _open_limits(environ: Mapping[str, str]) -> OpenConnectionLimits:
    defaults = OpenConnectionLimits()
    return OpenConnectionLimits(
        per_user=read_count(environ, "ROOMCAST_LIMIT_OPEN_CONNECTIONS", defaults.per_user, most=MAX_RATE),
        per_address=read_count(environ, "ROOMCAST_LIMIT_OPEN_ADDRESS_CONNECTIONS", defaults.per_address, most=MAX_RATE),
    )


def _quotas(environ: Mapping[str, str]) -> Quotas:
    defaults = Quotas()
    counts = {
        field.name: read_count(
            environ, f"ROOMCAST_QUOTA_{field.name.upper()}", getattr(defaults, field.name), most=MAX_RATE
        )
        for field in fields(Quotas)
        if field.name != "window_s"
    }
    window_s = read_count(environ, "ROOMCAST_QUOTA_WINDOW_S", defaults.window_s, 60, 366 * 86_400)
    return Quotas(**counts, window_s=window_s or defaults.window_s)


def _moderation(environ: Mapping[str, str]) -> ModerationOptions | None:
    hook = environ.get("ROOMCAST_MODERATION", "").strip()
    secret = environ.get("ROOMCAST_MODERATION_SECRET", "").strip()
    if not hook:
        return None
    deadline_s = read_seconds(environ, "ROOMCAST_MODERATION_DEADLINE_S") or ModerationLimits().deadline_s
    when_away: WhenAway = read_choice(environ, "ROOMCAST_MODERATION_AWAY", ("refuse", "pass"), "refuse")
    choices: tuple[AnswerReviews, ...] = ("streamed", "withheld", "off")
    answers = read_choice(environ, "ROOMCAST_MODERATION_ANSWERS", choices, "streamed")
    limits = ModerationLimits(when_away, deadline_s, answers=answers)
    if not hook.startswith(("http://", "https://")):
        if not OWN_FUNCTION.fullmatch(hook):
            raise SettingsError("ROOMCAST_MODERATION", f"is {hook!r}; expected an HTTP URL or module:function")
        return ModerationOptions(hook=hook, limits=limits)
    check_url("ROOMCAST_MODERATION", hook, query=True)
    try:
        key = decode_secret(secret)
    except ValueError:
        problem = f"must be whsec_ and the base64 of {LEAST_KEY_BYTES} bytes or more, to sign requests to the URL"
        raise SettingsError(
            "ROOMCAST_MODERATION_SECRET", f"{problem}; create it with `openssl rand -base64 32`"
        ) from None
    return ModerationOptions(hook=hook, secret=key, limits=limits)


def _push(environ: Mapping[str, str]) -> PushOptions:
    key = environ.get("ROOMCAST_VAPID_KEY", "").strip() or None
    subject = environ.get("ROOMCAST_VAPID_SUBJECT", "").strip() or None
    if key is not None:
        from roomcast.push.vapid import Vapid  # loads `cryptography`

        try:
            Vapid(key, subject)
        except ValueError as error:
            problem = f"is invalid: {error}; create one with `roomcast vapid`"
            raise SettingsError("ROOMCAST_VAPID_KEY", problem) from None
    if subject is not None and not subject.startswith(("mailto:", "https://")):
        raise SettingsError("ROOMCAST_VAPID_SUBJECT", f"is {subject!r}; expected mailto:ADDRESS or an https:// URL")
    delay_s = read_seconds(environ, "ROOMCAST_PUSH_DELAY_S")
    return PushOptions(
        key=key,
        subject=subject,
        rules=EndpointRules(read_networks(environ, "ROOMCAST_PUSH_NETWORKS")),
        delay_s=PushOptions().delay_s if delay_s is None else delay_s,
    )


def _files(environ: Mapping[str, str]) -> FileOptions:
    default = FileOptions()
    types = tuple(item.lower() for item in split_items(environ.get("ROOMCAST_FILES_TYPES", "")))
    for item in types:
        if not _MEDIA_TYPE.fullmatch(item):
            raise SettingsError(
                "ROOMCAST_FILES_TYPES", f"{item!r} is no media type, such as image/* or application/pdf"
            )
    return FileOptions(
        max_bytes=read_number(environ, "ROOMCAST_FILES_MAX_BYTES", default.max_bytes, MAX_FILE_BYTES),
        max_unsent_bytes=read_number(
            environ, "ROOMCAST_FILES_MAX_UNSENT_BYTES", default.max_unsent_bytes, 1_000 * MAX_FILE_BYTES
        ),
        max_user_bytes=read_number(
            environ, "ROOMCAST_FILES_MAX_USER_BYTES", default.max_user_bytes, 1_000_000 * MAX_FILE_BYTES
        ),
        types=types or None,
        redirects=read_choice(environ, "ROOMCAST_FILES_REDIRECT", ("true", "false"), "true") == "true",
        max_prompt_bytes=read_number(
            environ, "ROOMCAST_AI_FILE_BYTES", default.max_prompt_bytes, MAX_PROMPT_BYTES, least=0
        ),
    )


def _files_url(environ: Mapping[str, str]) -> str | None:
    url = environ.get("ROOMCAST_FILES_URL", "").strip()
    if url and not url.startswith(FILE_SCHEMES):
        raise SettingsError("ROOMCAST_FILES_URL", f"must begin with one of {', '.join(FILE_SCHEMES)}")
    return url or None
