"""Hooks of MkDocs: parts of pages that are generated from the code, and the documents outside ``docs``.

A page contains ``<!-- generated: NAME -->`` where the text of a function in `PARTS` belongs. Since it is generated at
each build, it is never out of date. Run: ``make docs``.
"""

from __future__ import annotations

import json
import posixpath
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import typer
from docs_api import reference

import roomcast.realtime
from roomcast import __version__
from roomcast.api.app import create_api
from roomcast.api.services import ApiServices
from roomcast.auth.options import ALGORITHM, AUDIENCE, ISSUER
from roomcast.auth.scopes import SERVICE, ServiceScope, claim_of
from roomcast.chat.policies.rights import RIGHTS, Right
from roomcast.cli.commands import app as commands
from roomcast.contract.errors import ErrorCode
from roomcast.contract.events import MemberRole
from roomcast.contract.schema import build_schema

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

ROOT: Final = Path(__file__).resolve().parents[1]
#: Documents outside `docs`, and their pages.
ROOT_PAGES: Final = {
    "README.md": "index.md",
    "ARCHITECTURE.md": "architecture.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "deploy/kubernetes/README.md": "kubernetes.md",
}
DECISIONS: Final = "decisions/index.md"
PART: Final = re.compile(r"<!-- generated: ([\w-]+) -->")
LINK: Final = re.compile(r"(?<!!)\[([^\]]*)\]\(([^)\s]+)\)")
CODES: Final[dict[ErrorCode, str]] = {
    ErrorCode.BAD_REQUEST: "The request is not valid HTTP or JSON. Correct the program.",
    ErrorCode.UNAUTHORIZED: "The token is missing, wrong or expired. Connect again with a new one.",
    ErrorCode.FORBIDDEN: "The user is not a member, or its role does not permit this.",
    ErrorCode.NOT_FOUND: "The path does not exist.",
    ErrorCode.CHAT_NOT_FOUND: "The chat does not exist. Create it with `POST /api/chats`.",
    ErrorCode.CHAT_ARCHIVED: "The chat is archived, so it is read-only. Take it back from the archive first.",
    ErrorCode.METHOD_NOT_ALLOWED: "The path has other methods; the header `Allow` lists them.",
    ErrorCode.CHAT_EXISTS: "A chat with this id exists, and the caller cannot see it or asked for another one.",
    ErrorCode.ADDITION_LIMIT: "The user added others to chats too often. Wait for `Retry-After` seconds.",
    ErrorCode.MESSAGE_NOT_FOUND: "The chat has no such message.",
    ErrorCode.TURN_NOT_FOUND: "The chat has no such turn.",
    ErrorCode.MUTED: "The user cannot write in this chat until the time in the text.",
    ErrorCode.BANNED: "The user cannot become a member of this chat until a moderator ends the ban.",
    ErrorCode.LAST_OWNER: "The chat would have members, but no owner. Make another member an owner first.",
    ErrorCode.MEMBER_NOT_FOUND: "The user is not a member of this chat.",
    ErrorCode.INVITE_NOT_FOUND: "The invite link was revoked, has expired or is used up. Ask for a new one.",
    ErrorCode.TOO_MANY_ENTRIES: "Too many bans or links of the chat, or webhooks of the tenant. Remove one first.",
    ErrorCode.TOO_MANY_ENTRIES: "The chat has too many bans or invite links. End or revoke one first.",
    ErrorCode.FILE_NOT_FOUND: "The chat has no such file, it was sent already, or its link has expired.",
    ErrorCode.FILE_LIMIT: "The user has uploaded too much that is not sent.",
    ErrorCode.FILE_TYPE: "The server does not accept files of this type.",
    ErrorCode.TOO_MANY_MARKS: "The message has too many reactions, or the chat too many pinned messages.",
    ErrorCode.ANSWER_ACTIVE: "The chat answers another message, and its `whenActive` is `reject`. Try again later.",
    ErrorCode.MESSAGE_REFUSED: "The moderation refuses the text; `detail` is its reason. Change the text.",
    ErrorCode.WEBHOOK_NOT_FOUND: "There is no such webhook, or it has no such dead event.",
    ErrorCode.TOO_LARGE: "The body is too large.",
    ErrorCode.UNSUPPORTED_MEDIA_TYPE: "Send `Content-Type: application/json`.",
    ErrorCode.MISDIRECTED: "The header `Host` is not in `ALLOWED_HOSTS`.",
    ErrorCode.INVALID: "The payload has another shape; the message says which part is wrong.",
    ErrorCode.LIMIT_REACHED: "A limit of this connection is reached, such as its number of chats.",
    ErrorCode.RATE_LIMITED: (
        "Too many requests or events: repeat after `Retry-After`, or after `retryAfter` of the ack, both in seconds."
    ),
    ErrorCode.QUOTA_REACHED: (
        "The quota of AI answers is used up: `limit` names it, and it is full again after `Retry-After` seconds."
    ),
    ErrorCode.UNKNOWN_EVENT: "The gateway has no event of this name.",
    ErrorCode.INTERNAL: "An error of the server, which it has logged.",
    ErrorCode.UNAVAILABLE: "The database, Redis or the API is away. Repeat the request: nothing is stored twice.",
}


# -- the two documents of the contract --------------------------------------------------------------------------------


def openapi() -> dict[str, Any]:
    """The OpenAPI 3.1 document of the REST API; no service is called."""
    nothing: Any = None
    return create_api(ApiServices(*[nothing] * 11, personal=nothing)).openapi()


def asyncapi() -> dict[str, Any]:
    """An AsyncAPI 3 document of the Socket.IO events, with their acks as replies."""
    definitions = json.loads(json.dumps(build_schema()["$defs"]).replace("#/$defs/", "#/components/schemas/"))
    roots = [definitions.pop(name) for name in ("ServerToClientEvents", "ClientToServerEvents", "Acks")]
    emitted, accepted, acks = (root["properties"] for root in roots)
    messages = {name: {"name": name, "payload": payload} for name, payload in {**emitted, **accepted}.items()}
    # `typing` exists in both directions, with a payload of its own in each.
    messages["typing"] = {"name": "typing", "payload": emitted["typing"]}
    messages["set-typing"] = {"name": "typing", "payload": accepted["typing"]}
    messages["ping"] = {"name": "ping", "payload": {"type": "null"}}
    messages["error"] = {"name": "error", "payload": {"$ref": "#/components/schemas/AckError"}}
    acks = {**acks, "ping": {"const": "pong"}}
    messages |= {f"ack-{name}": {"name": f"ack of {name}", "payload": ack} for name, ack in acks.items()}
    root = "#/channels/gateway"
    operations: dict[str, Any] = {
        f"emit-{name}": {
            "action": "send",
            "channel": {"$ref": root},
            "messages": [{"$ref": f"{root}/messages/{name}"}],
        }
        for name in (*emitted, "error")
    }
    for name in acks:
        key = "set-typing" if name == "typing" else name
        operations[f"on-{name}"] = {
            "action": "receive",
            "channel": {"$ref": root},
            "messages": [{"$ref": f"{root}/messages/{key}"}],
            "reply": {"channel": {"$ref": root}, "messages": [{"$ref": f"{root}/messages/ack-{name}"}]},
        }
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Roomcast gateway",
            "version": __version__,
            "description": "Socket.IO events and acks.",
        },
        "defaultContentType": "application/json",
        "channels": {"gateway": {"address": "/socket.io/", "messages": messages}},
        "operations": operations,
        "components": {"schemas": definitions},
    }


# -- parts of pages ---------------------------------------------------------------------------------------------------


def _commands() -> str:
    group = typer.main.get_command(commands)
    if not isinstance(group, typer.core.TyperGroup):
        raise TypeError("the command line has no commands")
    return "\n\n".join(_commands_of("roomcast", group))


def _commands_of(name: str, group: typer.core.TyperGroup) -> Iterator[str]:
    for each, command in group.commands.items():
        if isinstance(command, typer.core.TyperGroup):
            yield from _commands_of(f"{name} {each}", command)
        else:
            yield _command(f"{name} {each}", command)


def _command(name: str, command: Any) -> str:
    arguments = [item for item in command.params if not item.opts[0].startswith("-")]
    usage = " ".join([name, "[OPTIONS]", *(item.name.upper() for item in arguments)])
    rows = [
        (
            ", ".join(f"`{item.name.upper() if item in arguments else option}`" for option in item.opts),
            # The help of an option without a constant default names the variable that it follows.
            f"`{item.default}`" if item.show_default and item.default not in {None, False} else "",
            item.help or "",
        )
        for item in command.params
    ]
    table = _table(("option", "default", "meaning"), rows) if rows else ""
    lines = (command.epilog or "").removeprefix("Examples:").split("\n")
    examples = "\n".join(line for line in lines if line)
    text = f"```text\n{usage}\n```\n\n{table}"
    if examples:
        text += f"\n\n```text\n{examples}\n```"
    return f"## {name}\n\n{_prose(command.help)}\n\n{text}"


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join("| " + " | ".join(_cell(text) for text in line) + " |" for line in lines)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _prose(text: str) -> str:
    """A docstring as Markdown: its first part, with the code in single backquotes."""
    return re.sub(r"``(.+?)``", r"`\1`", text.partition("\n\nAttributes:")[0]).replace("\n", " ")


def _attributes(text: str) -> dict[str, str]:
    """The descriptions of fields in a docstring, by their name in JSON."""
    part = text.partition("Attributes:\n")[2]
    found = re.findall(r"^\s{4}(\w+): (.*(?:\n\s{8}.*)*)", part, re.MULTILINE)
    return {re.sub(r"_(\w)", lambda m: m[1].upper(), name): _prose(value) for name, value in found}


def _type(schema: dict[str, Any]) -> str:
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if "const" in schema:
        return f"`{json.dumps(schema['const'])}`"
    if "enum" in schema:
        return ", ".join(f"`{value}`" for value in schema["enum"])
    for key in ("anyOf", "oneOf"):
        if key in schema:
            return " or ".join(dict.fromkeys(_type(each) for each in schema[key]))
    if schema.get("type") == "array":
        return f"list of {_type(schema.get('items', {}))}"
    return str(schema.get("type", "any"))


def _references(schema: Any) -> Iterator[str]:
    if isinstance(schema, dict):
        if "$ref" in schema:
            yield schema["$ref"].rpartition("/")[2]
        schema = list(schema.values())
    if isinstance(schema, list):
        for each in schema:
            yield from _references(each)


def _models(definitions: dict[str, Any], roots: Any) -> str:
    """A section for each model that ``roots`` refer to, directly or through others."""
    names: list[str] = []
    found = list(_references(roots))
    while found:
        name = found.pop(0)
        if name not in names:
            names.append(name)
            found.extend(_references(definitions[name]))
    return "\n\n".join(_model(name, definitions[name]) for name in sorted(names))


def _model(name: str, schema: dict[str, Any]) -> str:
    text = schema.get("description", "")
    notes = _attributes(text)
    required = schema.get("required", [])
    if "enum" in schema:
        body = f"Values: {_type(schema)}."
    else:
        rows = [
            (f"`{key}`", _type(value), "yes" if key in required else "no", notes.get(key, ""))
            for key, value in schema.get("properties", {}).items()
        ]
        body = _table(("field", "type", "always there", "meaning"), rows)
    return f"### {name}\n\n{_prose(text)}\n\n{body}"


def _emitted_events() -> str:
    document = build_schema()["$defs"]
    events = document["ServerToClientEvents"]["properties"]
    rows = [(f"`{name}`", _type(value)) for name, value in events.items()]
    rows.append(("`error`", "[AckError](#ackerror): an event without an ack was refused, or the token has expired"))
    return _table(("event", "its argument"), rows)


def _accepted_events() -> str:
    document = build_schema()["$defs"]
    acks = document["Acks"]["properties"]
    events = document["ClientToServerEvents"]["properties"]
    rows = [(f"`{name}`", _type(value), _type(acks[name])) for name, value in events.items()]
    return _table(("event", "its argument", "its ack"), [*rows, ("`ping`", "none", '`"pong"`')])


def _socketio_models() -> str:
    document = build_schema()["$defs"]
    roots = [document[name] for name in ("ServerToClientEvents", "ClientToServerEvents", "Acks")]
    return _models(document, [*roots, {"$ref": "#/$defs/AckError"}])


def _error_codes() -> str:
    return _table(("code", "meaning and remedy"), [(f"`{code.value}`", CODES[code]) for code in ErrorCode])


def _claims() -> str:
    scopes = ", ".join(f"`{claim_of(scope)}`" for scope in ServiceScope)
    return _table(
        ("claim", "required", "value"),
        [
            ("`iss`", "yes", f"`{ISSUER}`"),
            ("`aud`", "yes", f"`{AUDIENCE}`"),
            ("`sub`", "yes", "The user id: 1 to 128 printable characters. For a service token its name."),
            ("`exp`", "yes", "Unix seconds; the socket is disconnected then."),
            ("`iat`, `nbf`", "no", "Unix seconds; a token from the future is rejected."),
            (
                "`scope`",
                "no",
                f"`{SERVICE}`: another backend, which may act for any user and write as AI; or some of {scopes}.",
            ),
        ],
    ) + (f"\n\nThe algorithm is `{ALGORITHM}`. A header with `kid`, `crit`, `jku`, `x5u` or `jwk` is rejected.")


def _rights() -> str:
    roles = list(MemberRole)
    rows = [(str(right), *("yes" if role in RIGHTS[right] else "" for role in roles)) for right in Right]
    return _table(("", *(f"`{role}`" for role in roles)), rows)


def _rest_routes() -> str:
    document = openapi()
    parts = []
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            parameters = [
                (f"`{item['name']}`", item["in"], "yes" if item.get("required") else "no", _type(item["schema"]))
                for item in operation.get("parameters", [])
            ]
            answers = [
                (f"{status}", _body(answer), answer["description"]) for status, answer in operation["responses"].items()
            ]
            body = operation.get("requestBody")
            parts.append(f"### {method.upper()} {path}\n\n{_prose(operation.get('description', ''))}\n")
            if parameters:
                parts.append(_table(("parameter", "in", "required", "type"), parameters) + "\n")
            if body:
                parts.append(f"Body: {_body(body)}\n")
            parts.append(_table(("status", "body", ""), answers) + "\n")
    return "\n".join(parts)


def _body(part: dict[str, Any]) -> str:
    return " or ".join(_type(content.get("schema", {})) for content in part.get("content", {}).values()) or "none"


def _rest_models() -> str:
    document = openapi()
    return _models(document["components"]["schemas"], document["paths"])


PARTS: Final[dict[str, Callable[[], str]]] = {
    "commands": _commands,
    "emitted-events": _emitted_events,
    "accepted-events": _accepted_events,
    "socketio-models": _socketio_models,
    "error-codes": _error_codes,
    "claims": _claims,
    "rest-routes": _rest_routes,
    "rights": _rights,
    "rest-models": _rest_models,
    "realtime": lambda: reference(roomcast.realtime),
    "asyncapi-link": lambda: "[asyncapi.json](asyncapi.json)",
    "openapi-link": lambda: "[openapi.json](openapi.json)",
}


# -- MkDocs -----------------------------------------------------------------------------------------------------------


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """List the pages directly in ``docs`` that the navigation does not name under Operations."""
    nav: Any = config.nav
    listed = {page for section in nav for pages in section.values() for page in pages}
    operations = next(section["Operations"] for section in nav if "Operations" in section)
    operations += sorted(path.name for path in (ROOT / "docs").glob("*.md") if path.name not in listed)
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages and documents that are not files in ``docs``."""
    from mkdocs.structure.files import File

    added = {page: (ROOT / name).read_text() for name, page in ROOT_PAGES.items() if page != "index.md"}
    records = sorted((ROOT / "docs" / "decisions").glob("*.md"))
    titles = [(path.name, path.read_text().splitlines()[0].removeprefix("# ")) for path in records]
    added[DECISIONS] = "# Decisions\n\n" + "\n".join(f"- [{title}]({name})" for name, title in titles)
    added["reference/asyncapi.json"] = json.dumps(asyncapi(), indent=2)
    added["reference/openapi.json"] = json.dumps(openapi(), indent=2)
    for uri, content in added.items():
        files.append(File.generated(config, uri, content=content))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Fill in the generated parts; links to files that the site does not have become plain text."""
    del config
    uri = page.file.src_uri
    sources = {page: posixpath.dirname(name) for name, page in ROOT_PAGES.items() if page != "index.md"}
    folder = sources.get(uri, posixpath.join("docs", posixpath.dirname(uri)))

    def rewrite(match: re.Match[str]) -> str:
        text, target = match[1], match[2]
        path, mark, anchor = target.partition("#")
        if not path or re.match(r"[a-z]+:", path):
            return match[0]
        name = posixpath.normpath(posixpath.join(folder, path))
        found = ROOT_PAGES.get(name) or (DECISIONS if name == "docs/decisions" else name.removeprefix("docs/"))
        if files.get_file_from_path(found) is None:
            return text
        return f"[{text}]({posixpath.relpath(found, posixpath.dirname(uri) or '.')}{mark}{anchor})"

    # Links of generated parts are relative to the page already.
    markdown = LINK.sub(rewrite, markdown)
    return PART.sub(lambda match: PARTS[match[1]](), markdown)
