"""`roomcast tail` and `roomcast publish`: clients of the public API and of the gateway.

Standard output has events only; what happens to the connection is on standard error.

Layer: cli.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import stat
import sys
import uuid
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import aclosing, suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, Final, NoReturn

import typer

from roomcast.cli.exit_codes import EXIT_INTERRUPTED, EXIT_NO_CHAT, EXIT_REFUSED, EXIT_UNREACHABLE
from roomcast.cli.running import closed_output_ignored, configure, errors_reported, fail, report

if TYPE_CHECKING:
    from roomcast.client.api import Api, TokenSource
    from roomcast.client.chat_follower import Event, Reset
    from roomcast.client.errors import ClientError, Unreachable
    from roomcast.contract.rest import SendMessage
    from roomcast.settings import Settings

TAIL_EXAMPLES: Final = """Examples:

roomcast tail lobby

roomcast tail lobby --user alice --since 10m        (with ROOMCAST_SECRET)

roomcast tail lobby --url https://host/chat --token-file token.txt

roomcast tail lobby --since 0 --no-follow --json | jq .data.content
"""
PUBLISH_EXAMPLES: Final = """Examples:

roomcast publish lobby "The deployment is done" --user alice

date | roomcast publish lobby

roomcast publish lobby Hello --id build-77        (may be repeated: stored once)
"""

#: Connecting, sending, and a pause.
_DEFAULT_TIMEOUT_S: Final = 30.0
#: Lifetime of the tokens made from ROOMCAST_SECRET. Each connection has a new one.
_TOKEN_TTL_S: Final = 3_600
_DEFAULT_LINES: Final = 10
#: More than any message has.
_MAX_INPUT_BYTES: Final = 1_000_000
#: Events that a look for a time reads at once: an answer has the time of its beginning, so another event decides.
_LOOK: Final = 20
_TOKENS: Final = "set ROOMCAST_TOKEN or --token-file, or ROOMCAST_SECRET with --user"
_UNCERTAIN: Final = "the message may be stored: repeat with --id {}"
_UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
_INDENT: Final = " " * 8

ChatArgument = Annotated[str, typer.Argument(help="Id of the chat.", show_default=False)]
Url = Annotated[
    str | None,
    typer.Option(
        help="Address of the API, which may have a path (default: ROOMCAST_URL, else port API_PORT or 3000 of this"
        " machine).",
        show_default=False,
    ),
]
User = Annotated[
    str | None,
    typer.Option(
        help="A user that is a member of the chat. With ROOMCAST_SECRET, a token is made for it.", show_default=False
    ),
]
Tenant = Annotated[
    str,
    typer.Option(
        help="The tenant of --user, for the token that ROOMCAST_SECRET makes (default: the default tenant).",
        show_default=False,
    ),
]
TokenFile = Annotated[
    str | None,
    typer.Option(help="File with an access token (default: ROOMCAST_TOKEN).", show_default=False),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, one object per line.", show_default=False)]


def tail(
    chat: ChatArgument,
    since: Annotated[
        str | None,
        typer.Option(
            help="Begin after this seq (120, 0: the first), this long ago (10m, 2h, 1d), or at this time"
            " (2026-11-29T03:00Z).",
            show_default=False,
        ),
    ] = None,
    lines: Annotated[
        int | None,
        typer.Option(
            "-n",
            "--lines",
            min=0,
            help="Begin with the last N events (default: 10; with --since: all).",
            show_default=False,
        ),
    ] = None,
    follow: Annotated[
        bool, typer.Option("--follow/--no-follow", help="Whether to wait for further events.", show_default=False)
    ] = True,
    as_json: AsJson = False,
    user: User = None,
    tenant: Tenant = "",
    url: Url = None,
    gateway_url: Annotated[
        str | None,
        typer.Option(help="Address of the gateway (default: the one that the API names).", show_default=False),
    ] = None,
    token_file: TokenFile = None,
) -> None:
    """Show the events of a chat, past and live, until Ctrl-C. No event is missing or shown twice.

    The connection is opened again whenever it is lost. With authentication, the
    user appears as online meanwhile. Exit codes: 0, also after Ctrl-C; 3 refused;
    4 no such chat, or not a member; 5 no answer; 130 Ctrl-C while disconnected.
    """
    with errors_reported():
        settings = configure()
        from roomcast.client.api import Api
        from roomcast.client.chat_follower import ChatFollower
        from roomcast.setting_values import SettingsError

        _check_chat(chat)
        address, token = address_of(settings, url), token_source(settings, user, token_file, tenant)
        if user is not None and (token_file or settings.token):
            raise SettingsError("--user", "has no effect with a token: leave it out, or unset ROOMCAST_TOKEN")
        begin_at = None if since is None else _parse_since(since)
        most = _DEFAULT_LINES if lines is None and since is None else lines
        printer = _Printer(chat, as_json=as_json)

        async def run() -> None:
            async with Api(address, token) as api:
                gateway = await _gateway(api, gateway_url) if follow else ""
                begin = partial(_begin, api, chat, begin_at, most)
                follower = ChatFollower(api, gateway, chat, begin, changed=printer.connection)
                await printer.show_all(follower.history())
                if follow:
                    _end_with_the_reader()
                    await printer.show_all(follower.follow())

        try:
            _run(run, chat)
        except KeyboardInterrupt:
            raise typer.Exit(0 if printer.connected else EXIT_INTERRUPTED) from None


def publish(
    chat: ChatArgument,
    text: Annotated[
        str | None, typer.Argument(help="The message; left out or -: the standard input.", show_default=False)
    ] = None,
    message_id: Annotated[
        str | None,
        typer.Option(
            "--id",
            help="The clientMsgId. A message with an id that the chat has is not stored again (default: a new one).",
            show_default=False,
        ),
    ] = None,
    timeout: Annotated[
        float, typer.Option(min=0.1, max=86_400, help="Seconds for which failed attempts are repeated.")
    ] = _DEFAULT_TIMEOUT_S,
    as_json: AsJson = False,
    user: User = None,
    tenant: Tenant = "",
    url: Url = None,
    token_file: TokenFile = None,
) -> None:
    """Send a message to a chat, and print its seq and id once it is stored. Retries store it once.

    Exit codes: 0 stored; 3 refused; 4 no such chat, or not a member; 5 no answer:
    the message may be stored, and it is safe to repeat the command with the --id
    that it prints.
    """
    with errors_reported():
        settings = configure()
        from roomcast.contract.rest import SendMessage
        from roomcast.setting_values import check_text

        _check_chat(chat)
        address = address_of(settings, url)
        token = token_source(settings, user, token_file, tenant)
        # A token made for the user names the author. The server decides whether another token may.
        author = None if makes_tokens(settings, token_file) else user
        content = _read_input() if text is None or text == "-" else check_text("TEXT", text)
        key = message_id or f"publish-{uuid.uuid4()}"
        # Not validated: the answer of the server says what is wrong.
        message = SendMessage.model_construct(
            chat_id=chat, role="USER", content=content, client_msg_id=check_text("--id", key), user_id=author
        )

        async def run() -> None:
            from roomcast.client.api import Api

            async with Api(address, token) as api:
                await _send(api, message, timeout, as_json=as_json)

        try:
            _run(run, chat)
        except KeyboardInterrupt:
            report(_UNCERTAIN.format(key))
            raise


async def _send(api: Api, message: SendMessage, timeout_s: float, *, as_json: bool) -> None:
    from roomcast.client.errors import Unreachable
    from roomcast.client.retrying import retrying

    def failed(error: Unreachable) -> None:
        report(f"{error}; trying again for {timeout_s:g} s")

    try:
        stored, new = await retrying(lambda: api.send(message), timeout_s, failed)
    except Unreachable as error:
        raise Unreachable(f"{error}; {_UNCERTAIN.format(message.client_msg_id)}") from None
    if as_json:
        typer.echo(json.dumps({"stored": new, "message": json.loads(stored.model_dump_json())}))
    else:
        typer.echo(f"seq {stored.seq}, id {stored.id}{'' if new else ' (already stored)'}")


# -- options ----------------------------------------------------------------------------------------------------------


def _check_chat(chat: str) -> None:
    from pydantic import TypeAdapter, ValidationError

    from roomcast.contract.text import MAX_ID_CHARS, ChatId
    from roomcast.setting_values import SettingsError

    try:
        TypeAdapter(ChatId).validate_python(chat)
    except ValidationError:
        expected = f"expected 1 to {MAX_ID_CHARS} letters, digits and characters of ._:~@-"
        raise SettingsError("CHAT", f"is {chat!r}; {expected}") from None


def address_of(settings: Settings, url: str | None) -> str:
    """The base URL of the API."""
    from roomcast.setting_values import check_url
    from roomcast.settings import DEFAULT_API_PORT

    if url is not None:
        return check_url("--url", url)
    return settings.url or f"http://127.0.0.1:{settings.api_port or DEFAULT_API_PORT}"


def makes_tokens(settings: Settings, token_file: str | None) -> bool:
    """Whether tokens are made from the secret: no other token is given."""
    return token_file is None and settings.token is None and settings.auth is not None


def token_source(settings: Settings, user: str | None, token_file: str | None, tenant: str) -> TokenSource:
    """The token of each request: from a file, the environment, or made from the secret for ``user`` of ``tenant``."""
    from roomcast.auth.tokens import TokenIssuer
    from roomcast.setting_values import SettingsError, in_tenant, read_token_file

    if tenant and not makes_tokens(settings, token_file):
        raise SettingsError("--tenant", "has no effect without ROOMCAST_SECRET: a token names its tenant itself")
    if token_file is not None:
        # Read again for each connection, since tokens are replaced.
        return lambda: read_token_file("--token-file", token_file)
    if settings.token is not None or settings.auth is None:
        return lambda: settings.token
    if user is None:
        raise SettingsError("--user", "is missing: ROOMCAST_SECRET makes the token of a member of the chat; name one")
    issuer = TokenIssuer(settings.auth)
    qualified = in_tenant(user, "--user", tenant)
    try:
        issuer.issue(qualified, ttl_s=_TOKEN_TTL_S)
    except ValueError:
        expected = "expected 1 to 128 printable characters, one of them visible"
        raise SettingsError("--user", f"is no user id; {expected}") from None
    return lambda: issuer.issue(qualified, ttl_s=_TOKEN_TTL_S)


def _parse_since(value: str) -> int | datetime:
    from roomcast.setting_values import SettingsError

    try:
        if re.fullmatch(r"[0-9]{1,16}", value):
            return int(value)
        if ago := re.fullmatch(r"([0-9]{1,6})([smhd])", value):
            return datetime.now(UTC) - timedelta(**{_UNITS[ago[2]]: int(ago[1])})
        # Without a zone: the local time.
        return datetime.fromisoformat(value).astimezone(UTC)
    except (ValueError, OverflowError):
        expected = "expected a seq (120), a time ago (10m, 2h, 1d) or a time (2026-11-29T03:00Z)"
        raise SettingsError("--since", f"is {value!r}; {expected}") from None


def _read_input() -> str:
    from roomcast.setting_values import SettingsError

    if sys.stdin.isatty():
        report("reading the message from the terminal; end it with Ctrl-D")
    content = sys.stdin.buffer.read(_MAX_INPUT_BYTES + 1)
    if len(content) > _MAX_INPUT_BYTES:
        raise SettingsError("the standard input", f"has more than {_MAX_INPUT_BYTES} bytes and is no message")
    try:
        return content.decode().removesuffix("\n")
    except UnicodeDecodeError:
        raise SettingsError("the standard input", "is not valid UTF-8") from None


async def _gateway(api: Api, given: str | None) -> str:
    from roomcast.client.address import gateway_base
    from roomcast.setting_values import check_url

    return gateway_base(api.url, (await api.config()).gateway) if given is None else check_url("--gateway-url", given)


async def _begin(api: Api, chat: str, at: int | datetime | None, most: int | None, head: int) -> int:
    """The seq after which to begin; see `ChatFollower`."""
    start = 0 if at is None else await _position(api, chat, head, at)
    return min(head, start if most is None else max(start, head - most))


async def _position(api: Api, chat: str, head: int, at: int | datetime) -> int:
    """The seq after which the events since ``at`` begin: a binary search by the times of the events."""
    if isinstance(at, int):
        return at
    low, high = 0, head
    while low < high:
        middle = (low + high) // 2
        page = await api.events(chat, middle, _LOOK)
        # Events of answers have the time at which the turn began, which may be long before.
        event = next((e for e in page.events if not e.event.startswith("ai-") and e.data.get("role") != "AI"), None)
        if event is not None and datetime.fromisoformat(event.data["time"]) < at:
            low = event.seq
        else:
            high = middle
    return min(low, head)


# -- output and exit codes --------------------------------------------------------------------------------------------


def _run(main: Callable[[], Coroutine[Any, Any, None]], chat: str) -> None:
    """Run to the end; a failure of the client becomes an exit code."""
    from roomcast.client.errors import ClientError

    # The task is cancelled when the reader of the standard output has ended.
    with closed_output_ignored(), suppress(asyncio.CancelledError):
        try:
            asyncio.run(main())
        except ClientError as error:
            fail_with(error, chat)


def fail_with(error: ClientError, subject: str, remedy: str = _TOKENS) -> NoReturn:
    """End the command with the exit code of a failure of the client.

    Args:
        error: The failure.
        subject: The chat, or what else was asked for.
        remedy: What to do about a refused token.
    """
    from roomcast.client.errors import Refused
    from roomcast.contract.errors import ErrorCode

    if not isinstance(error, Refused):
        fail(f"{error} (see --url, or ROOMCAST_URL)", EXIT_UNREACHABLE)
    if error.code is None:
        fail(f"{error}; correct --url, or ROOMCAST_URL", EXIT_UNREACHABLE)
    if error.code == ErrorCode.UNAUTHORIZED:
        fail(f"the server refuses the token: {error}; {remedy}", EXIT_REFUSED)
    if error.code == ErrorCode.CHAT_NOT_FOUND:
        fail(f"{subject}: {error}; name a member with --user, or use its token", EXIT_NO_CHAT)
    fail(f"the server refuses: {error} ({error.code})", EXIT_REFUSED)


def _end_with_the_reader() -> None:
    """Cancel the task when the reader of the standard output has ended: `head -1` ends before the next event."""
    try:
        output = sys.stdout.fileno()
    except OSError:
        return  # no file
    task, loop = asyncio.current_task(), asyncio.get_running_loop()

    def ended() -> None:
        loop.remove_reader(output)
        if task is not None:
            task.cancel()

    if stat.S_ISFIFO(os.fstat(output).st_mode):
        # The writing end of a pipe is never readable, except for the error that it has no reader.
        with suppress(NotImplementedError):  # on Windows
            loop.add_reader(output, ended)


class _Printer:
    """Prints events on standard output, and the state of the connection on standard error.

    Attributes:
        connected: Whether the chat is being followed.
    """

    def __init__(self, chat: str, *, as_json: bool) -> None:
        self._chat = chat
        self._as_json = as_json
        # "": the connection has not been tried.
        self._cause: str | None = ""
        self.connected = False

    async def show_all(self, items: AsyncGenerator[Event | Reset, None]) -> None:
        """Print events to the end."""
        async with aclosing(items):
            async for item in items:
                self.show(item)

    def show(self, item: Event | Reset) -> None:
        """Print one event."""
        from roomcast.client.chat_follower import Reset

        if isinstance(item, Reset):
            report("the chat has another history (a restored backup): the events above are void, and it begins again")
            if self._as_json:
                typer.echo(json.dumps({"event": "reset", "seq": item.seq, "data": {"epoch": item.epoch}}))
        elif self._as_json:
            typer.echo(json.dumps({"event": item.name, "seq": item.seq, "data": item.data}))
        else:
            typer.echo(_line(item))

    def connection(self, error: Unreachable | None) -> None:
        """Print a cause once, and the end of the interruption."""
        cause = None if error is None else str(error)
        if cause != self._cause:
            report(f"following {self._chat}; Ctrl-C ends" if cause is None else f"{cause}; trying again")
        self._cause, self.connected = cause, error is None


def _line(event: Event) -> str:
    """An event for people. Text of others cannot control the terminal, nor look like another event."""
    from roomcast.observability.logs import escape

    data = event.data
    when = ""
    if isinstance(data.get("time"), str):
        when = f"{datetime.fromisoformat(data['time']).astimezone():%Y-%m-%d %H:%M:%S}"
    author, text = _summary(event.name, data)
    lines = escape(text, keep_lines=True).split("\n")
    # Styles are left out unless the output is a terminal.
    head = typer.style(f"{when:19} {event.seq:>6}", dim=True) + "  " + typer.style(f"{escape(author):12}", bold=True)
    return f"{head} " + f"\n{_INDENT}".join(lines)


def _summary(name: str, data: dict[str, Any]) -> tuple[str, str]:
    """The author and the text of an event."""
    turn = data.get("turn") or {}
    match name:
        case "new-msg":
            ends = turn.get("id") == data["id"]
            state = turn.get("reason") if ends else None
            again = f"(version {data['version']} of {data['place']}) " if data.get("version", 1) > 1 else ""
            end = f" [{turn['status']}: {state}]" if state else ""
            return ("AI" if data["role"] == "AI" else data.get("userId") or "-"), f"{again}{data['content']}{end}"
        case "member-added" | "member-removed":
            return data.get("actorId") or "-", f"{name.removeprefix('member-')} {data['userId']}"
        case "ai-status":
            reason = f": {turn['reason']}" if turn.get("reason") else ""
            return "AI", f"[{turn['status']}{reason}]"
        case "ai-tool":
            return "AI", f"[calls {data['toolName']}]"
        case _:
            return name, json.dumps(data)
