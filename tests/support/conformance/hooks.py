"""Hooks of Schemathesis: the tokens of its requests, and the rules that the OpenAPI document cannot state.

The environment has the secret and the ``CALLER``: ``user``, ``service`` or ``none``.
"""

from __future__ import annotations

import itertools
import os
import re
from typing import Any, Final

import schemathesis

from roomcast.auth.options import AuthOptions
from roomcast.auth.tokens import TokenIssuer

CALLER: Final = os.environ["CALLER"]
#: They end the sessions of their caller, or of a user that may be the caller.
ENDS_SESSIONS: Final = {"log_out", "log_out_user", "erase_user"}
_ISSUER: Final = TokenIssuer(AuthOptions(os.environ["ROOMCAST_SECRET"]))
_NUMBERS: Final = itertools.count()
_HOST: Final = re.compile(r"(?<=://)(\[[^\]]*\]|[^/:?]*)")


@schemathesis.auth(refresh_interval=None)
class _Token:
    """A token of its own for each request, so that those after the end of a session are accepted again."""

    def get(self, case: schemathesis.Case, context: schemathesis.AuthContext) -> str | None:
        if CALLER == "none":
            return None
        ends = context.operation.definition.raw["operationId"] in ENDS_SESSIONS
        name = f"{CALLER}-{next(_NUMBERS)}" if ends else CALLER
        return _ISSUER.issue(name, ttl_s=3_600, service=CALLER == "service")

    def set(self, case: schemathesis.Case, data: str | None, context: schemathesis.AuthContext) -> None:
        if data is not None:
            case.headers["Authorization"] = f"Bearer {data}"


@schemathesis.hook
def before_call(context: schemathesis.HookContext, case: schemathesis.Case, kwargs: dict[str, Any]) -> None:
    """Make the valid requests follow the rules that the document states only in words."""
    if case.meta is None or case.meta.generation.mode.is_negative:
        return
    query, body = case.query, case.body if isinstance(case.body, dict) else {}
    if case.operation.path != "/api/search":  # its cursors have a pattern
        query.pop("cursor", None)  # opaque: only those of earlier pages are valid
    body.pop("since", None)  # such a cursor
    if query.get("before") is not None:
        query.pop("after", None)  # one of them
    query.pop("wait", None)  # seconds
    if isinstance(chats := body.get("chats"), list):  # no id is a dot segment
        body["chats"] = [f"{chat}-" if chat in {".", ".."} else chat for chat in chats]
    for settings in (body, body.get("ai")):
        if isinstance(settings, dict) and settings.get("responder") is not None:
            settings["responder"] = os.environ["ROOMCAST_RESPONDER"]  # one of the deployment
    for name in ("url", "endpoint"):
        for values in (body, query):
            if isinstance(values.get(name), str):
                values[name] = _HOST.sub("host.invalid", values[name], count=1)  # no request leaves the machine
