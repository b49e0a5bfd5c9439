"""Whose tokens are accepted, and the sign-in on the page.

Each function raises `SettingsError` for an invalid value.

Layer: setting_groups.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from roomcast.auth.errors import InvalidOptions, WeakSecret
from roomcast.auth.options import DEFAULT_LEEWAY_S, AuthOptions, ProviderOptions, is_safe_url
from roomcast.setting_values import LINE_END, SettingsError, check_url, read_seconds, split_items

if TYPE_CHECKING:
    from roomcast.auth.open_id import OpenIdOptions


def read_auth(environ: Mapping[str, str]) -> AuthOptions | None:
    """Which tokens are accepted; None: authentication is off."""
    secret = environ.get("ROOMCAST_SECRET")
    if secret is None:
        if name := next((name for name in _PROVIDER if environ.get(name, "").strip()), None):
            raise SettingsError(name, "is set without ROOMCAST_SECRET, which turns authentication on: set both")
        return None
    secret = secret.rstrip(LINE_END)
    if not secret.strip():
        # An empty secret is a deployment error, and must not turn authentication off.
        raise SettingsError("ROOMCAST_SECRET", "is empty; set 32 bytes or more, or unset it")
    try:
        leeway_s = read_seconds(environ, "ROOMCAST_TOKEN_LEEWAY_S")
        return AuthOptions(secret, DEFAULT_LEEWAY_S if leeway_s is None else leeway_s, _provider(environ))
    except WeakSecret as error:
        problem = f"is too weak: {error}; create one with `openssl rand -hex 32`"
        raise SettingsError("ROOMCAST_SECRET", problem) from None


#: The variable of each field of `ProviderOptions`.
_PROVIDER_FIELDS: Final = {
    "issuer": "ROOMCAST_JWT_ISSUER",
    "audiences": "ROOMCAST_JWT_AUDIENCE",
    "algorithms": "ROOMCAST_JWT_ALGORITHMS",
    "secret": "ROOMCAST_JWT_SECRET",
    "public_keys": "ROOMCAST_JWT_PUBLIC_KEY",
    "jwks_url": "ROOMCAST_JWT_JWKS_URL",
    "user_claim": "ROOMCAST_JWT_USER_CLAIM",
    "name_claim": "ROOMCAST_JWT_NAME_CLAIM",
    "scope_claim": "ROOMCAST_JWT_SCOPE_CLAIM",
    "tenant_claim": "ROOMCAST_JWT_TENANT_CLAIM",
}
_PROVIDER: Final = tuple(_PROVIDER_FIELDS.values())


def _provider(environ: Mapping[str, str]) -> ProviderOptions | None:
    values = {name: environ.get(name, "").strip() for name in _PROVIDER}
    if not any(values.values()):
        return None
    if url := values["ROOMCAST_JWT_JWKS_URL"]:
        check_url("ROOMCAST_JWT_JWKS_URL", url, query=True)
    from roomcast.auth.keys import fixed_keys  # loads `cryptography`

    try:
        options = ProviderOptions(
            issuer=values["ROOMCAST_JWT_ISSUER"],
            audiences=split_items(values["ROOMCAST_JWT_AUDIENCE"]),
            algorithms=split_items(values["ROOMCAST_JWT_ALGORITHMS"]),
            secret=environ.get("ROOMCAST_JWT_SECRET", "").rstrip(LINE_END) or None,
            public_keys=values["ROOMCAST_JWT_PUBLIC_KEY"] or None,
            jwks_url=values["ROOMCAST_JWT_JWKS_URL"] or None,
            user_claim=values["ROOMCAST_JWT_USER_CLAIM"] or "sub",
            name_claim=values["ROOMCAST_JWT_NAME_CLAIM"] or "name",
            scope_claim=values["ROOMCAST_JWT_SCOPE_CLAIM"] or None,
            tenant_claim=values["ROOMCAST_JWT_TENANT_CLAIM"] or None,
        )
        if options.jwks_url is None:
            fixed_keys(options)
    except InvalidOptions as error:
        raise SettingsError(_PROVIDER_FIELDS[error.option], error.problem) from None
    return options


def read_sign_in(environ: Mapping[str, str]) -> OpenIdOptions | None:
    """The sign-in on the page by OpenID Connect; None: the page has none."""
    names = ("ROOMCAST_OIDC_ISSUER", "ROOMCAST_OIDC_CLIENT_ID", "ROOMCAST_PAGE_URL")
    values = [environ.get(name, "").strip() for name in names]
    if not any(values) and not environ.get("ROOMCAST_OIDC_CLIENT_SECRET"):
        return None
    for name, value in zip((*names, "ROOMCAST_SECRET"), (*values, environ.get("ROOMCAST_SECRET", "")), strict=True):
        if not value.strip():
            raise SettingsError(name, "is not set; the sign-in on the page needs it")
    issuer, client_id, page_url = values
    check_url(names[0], issuer)
    if not is_safe_url(issuer):
        raise SettingsError(names[0], "must begin with https://; http:// is accepted on loopback only")
    from roomcast.auth.open_id import OpenIdOptions

    return OpenIdOptions(
        issuer=issuer,
        client_id=client_id,
        client_secret=environ.get("ROOMCAST_OIDC_CLIENT_SECRET", "").rstrip(LINE_END) or None,
        page_url=check_url(names[2], page_url),
        user_claim=environ.get("ROOMCAST_OIDC_USER_CLAIM", "").strip() or "sub",
        tenant_claim=environ.get("ROOMCAST_OIDC_TENANT_CLAIM", "").strip() or None,
    )
