"""What answers the messages.

Each function raises `SettingsError` for an invalid value.

Layer: setting_groups.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final, get_args

from roomcast.responders.options import OPENAI_URL, EndpointOptions, OpenAiApi, OpenAiOptions
from roomcast.setting_values import SettingsError, read_choice, read_token, read_url, split_items

#: The responders that `roomcast` has; others are ``module:name``.
RESPONDERS: Final = ("demo", "openai", "agui", "http")
#: A function of the user's own module.
OWN_FUNCTION: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_.]*:[A-Za-z_][A-Za-z0-9_.]*")
_MAX_RESPONDER_CHARS: Final = 64


def read_responders(environ: Mapping[str, str], given: str | None) -> tuple[str, ...]:
    """The names of the responders: of the option ``--responder`` if it is given; empty: ``none``."""
    name = "ROOMCAST_RESPONDER" if given is None else "--responder"
    value = environ.get(name, "") if given is None else given
    names = split_items(value) or ("demo",)
    if names == ("none",):
        return ()
    for responder in names:
        if responder not in RESPONDERS and not OWN_FUNCTION.fullmatch(responder):
            expected = f"{', '.join(RESPONDERS)}, module:name of a function of yours, or none alone"
            raise SettingsError(name, f"has {responder!r}; expected a list of: {expected}")
        if len(responder) > _MAX_RESPONDER_CHARS:
            raise SettingsError(name, f"has a name of more than {_MAX_RESPONDER_CHARS} characters: {responder!r}")
    return tuple(dict.fromkeys(names))


def read_openai(environ: Mapping[str, str]) -> OpenAiOptions:
    """For the responder ``openai``."""
    url = read_url(environ, "OPENAI_BASE_URL")
    key = read_token(environ, "OPENAI_API_KEY")
    model = environ.get("OPENAI_MODEL", "").strip()
    if not model:
        raise SettingsError("OPENAI_MODEL", "is not set; set the name of the model that the responder openai uses")
    if url is None and key is None:
        raise SettingsError("OPENAI_API_KEY", "is not set; set it, or OPENAI_BASE_URL for a server that needs no key")
    # Few compatible servers have the Responses API.
    default: OpenAiApi = "responses" if url is None else "chat"
    api = read_choice(environ, "ROOMCAST_OPENAI_API", get_args(OpenAiApi), default)
    return OpenAiOptions(model=model, base_url=url or OPENAI_URL, api_key=key, api=api)


def read_endpoint(environ: Mapping[str, str], url_name: str, token_name: str) -> EndpointOptions:
    """The URL and the token of a responder."""
    url = read_url(environ, url_name)
    if url is None:
        raise SettingsError(url_name, "is not set; set the URL that this responder of ROOMCAST_RESPONDER calls")
    return EndpointOptions(url=url, token=read_token(environ, token_name))
