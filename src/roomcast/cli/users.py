"""`roomcast users`: export and erasure of the data of a user, as a client of the public API.

Layer: cli. Source: docs/personal-data.md.
"""

from __future__ import annotations

import asyncio
import errno
import os
import sys
import time
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterator
from contextlib import aclosing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, BinaryIO, Final

import typer

from roomcast.cli.chats import TokenFile, Url, address_of, fail_with, makes_tokens, token_source
from roomcast.cli.exit_codes import EXIT_FAILED, EXIT_UNREACHABLE
from roomcast.cli.running import closed_output_ignored, configure, errors_reported, fail, report

if TYPE_CHECKING:
    from roomcast.client.api import Api, TokenSource
    from roomcast.client.errors import Unreachable
    from roomcast.contract.rest import Erasure
    from roomcast.settings import Settings

EXPORT_EXAMPLES: Final = """Examples:

roomcast users export ann --output ann.ndjson        (with ROOMCAST_SECRET)

roomcast users export ann --url https://host/chat --token-file token.txt | jq .table
"""
ERASE_EXAMPLES: Final = """Examples:

roomcast users erase ann        (with ROOMCAST_SECRET)

roomcast users erase ann --tenant acme --yes --no-wait
"""
#: Seconds between two lines about the progress, and between two looks at an erasure.
_PROGRESS_S: Final = 5.0
_LOOK_S: Final = 0.5
_TOKEN_TTL_S: Final = 3_600
_END: Final = b'{"table":"end"}'
_REMEDY: Final = "set ROOMCAST_SECRET, or a service token with the scope admin in ROOMCAST_TOKEN or --token-file"

users = typer.Typer(
    name="users",
    help="Export and erase the data of a user, through the API.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)
UserArgument = Annotated[str, typer.Argument(metavar="USER", help="Id of the user.", show_default=False)]
Tenant = Annotated[
    str,
    typer.Option(
        help="The tenant of USER, for the token that ROOMCAST_SECRET makes (default: the default tenant).",
        show_default=False,
    ),
]
Timeout = Annotated[
    float, typer.Option(min=0.1, max=86_400, help="Seconds for which a request that fails is repeated.")
]


@users.command(epilog=EXPORT_EXAMPLES)
def export(
    user: UserArgument,
    output: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--output",
            help="File to create, readable by you alone; it appears once it is complete (default: the standard"
            " output).",
            show_default=False,
        ),
    ] = None,
    timeout: Timeout = 60.0,
    tenant: Tenant = "",
    url: Url = None,
    token_file: TokenFile = None,
) -> None:
    """Read all rows that name a user, one JSON object per line; the last one is {"table":"end"}.

    Reads the whole database, and prints its progress on standard error. Exit codes:
    0 complete; 1 the file cannot be written; 3 refused; 5 no answer, or the
    export was cut off: repeat it.
    """

    async def run(api: Api) -> None:
        with _created(output) as file:
            progress = _Progress("{} rows so far")
            async with aclosing(_export(api, user, timeout)) as lines:
                async for line in lines:
                    file.write(line + b"\n")
                    progress.count += line != _END
                    progress.show()
        if output is not None:
            report(f"{output}: {progress.count} rows")

    try:
        _run(run, user, tenant, url, token_file)
    except OSError as error:
        if isinstance(error, BrokenPipeError):
            raise
        fail(f"{output or 'the standard output'}: {error.strerror or error}", EXIT_FAILED)


@users.command(epilog=ERASE_EXAMPLES)
def erase(
    user: UserArgument,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask for a confirmation.", show_default=False)] = False,
    wait: Annotated[
        bool, typer.Option("--wait/--no-wait", help="Whether to wait for the end.", show_default=False)
    ] = True,
    timeout: Timeout = 60.0,
    tenant: Tenant = "",
    url: Url = None,
    token_file: TokenFile = None,
) -> None:
    """End the sessions of a user and erase all its data, which cannot be undone. Disable the account first.

    The server does the work, also after this command has ended: repeat it to wait
    for the same erasure again. Prints the id of the erasure and its rows. Exit
    codes: 0; 1 not confirmed; 3 refused; 5 no answer; 130 Ctrl-C.
    """

    async def run(api: Api) -> None:
        from roomcast.client.api import body_of
        from roomcast.client.retrying import retrying
        from roomcast.contract.rest import Erasure

        async def request() -> Erasure:
            return body_of(Erasure, await api.change("DELETE", "users", user, "data"))

        async def look() -> Erasure:
            return await api.get(Erasure, "erasures", erasure.id)

        failed = _failed(timeout)
        erasure = await retrying(request, timeout, failed)
        progress = _Progress(f"{erasure.id}: {{}} rows so far")
        while wait and erasure.done_at is None:
            await asyncio.sleep(_LOOK_S)
            erasure = await retrying(look, timeout, failed)
            progress.count = erasure.erased
            progress.show()
        state = "requested" if erasure.done_at is None else f"done, {erasure.erased} rows"
        typer.echo(f"{erasure.id}: {state}")

    try:
        _run(run, user, tenant, url, token_file, confirm=None if yes else _confirm)
    except KeyboardInterrupt:
        report("if it was requested, the erasure goes on; repeat the command to wait for its end")
        raise


def _confirm(user: str, address: str) -> None:
    from roomcast.setting_values import SettingsError

    if not sys.stdin.isatty():
        raise SettingsError("--yes", "is missing, and there is no terminal to ask for a confirmation")
    try:
        confirmed = typer.confirm(f"Erase all data of {user!r} at {address}? It cannot be undone.", err=True)
    except typer.Abort:  # Ctrl-C, Ctrl-D
        confirmed = False
    if not confirmed:
        fail("not confirmed: nothing is erased", EXIT_FAILED)


def _run(
    main: Callable[[Api], Coroutine[Any, Any, None]],
    user: str,
    tenant: str,
    url: str | None,
    token_file: str | None,
    *,
    confirm: Callable[[str, str], None] | None = None,
) -> None:
    """Run with a client of the API; a failure of it becomes an exit code."""
    with errors_reported():
        settings = configure()
        from roomcast.client.api import Api
        from roomcast.client.errors import ClientError

        address, token = address_of(settings, url), _tokens(settings, token_file, tenant)
        _check(user)
        if confirm is not None:
            confirm(user, address)

        async def run() -> None:
            async with Api(address, token) as api:
                await main(api)

        with closed_output_ignored():
            try:
                asyncio.run(run())
            except ClientError as error:
                fail_with(error, user, _REMEDY)


def _check(user: str) -> None:
    from pydantic import TypeAdapter, ValidationError

    from roomcast.contract.text import UserId
    from roomcast.setting_values import SettingsError

    try:
        TypeAdapter(UserId).validate_python(user)
    except ValidationError:
        expected = "expected 1 to 128 printable characters, one of them visible"
        raise SettingsError("USER", f"is no user id; {expected}") from None


def _tokens(settings: Settings, token_file: str | None, tenant: str) -> TokenSource:
    """The token of each request; with ROOMCAST_SECRET, a service token of the tenant."""
    from roomcast.auth.scopes import ServiceScope
    from roomcast.auth.tokens import TokenIssuer
    from roomcast.setting_values import in_tenant

    if settings.auth is None or not makes_tokens(settings, token_file):
        return token_source(settings, None, token_file, tenant)
    issuer, service = TokenIssuer(settings.auth), in_tenant("roomcast-users", "USER", tenant)
    return lambda: issuer.issue(service, ttl_s=_TOKEN_TTL_S, scopes=(ServiceScope.ADMIN,))


async def _export(api: Api, user: str, timeout_s: float) -> AsyncGenerator[bytes]:
    """The lines of an export to its end.

    Raises:
        ClientError: the request was not answered, or refused.
        typer.Exit: the export was cut off.
    """
    from roomcast.client.errors import Unreachable
    from roomcast.client.retrying import retrying

    lines = await retrying(lambda: api.lines("users", user, "export"), timeout_s, _failed(timeout_s))
    line = b""
    async with aclosing(lines):
        try:
            async for line in lines:
                yield line
        except Unreachable as error:
            fail(f"the export was cut off: {error}; repeat it", EXIT_UNREACHABLE)
    if line != _END:
        fail("the export was cut off; repeat it", EXIT_UNREACHABLE)


def _failed(timeout_s: float) -> Callable[[Unreachable], None]:
    return lambda error: report(f"{error}; trying again for {timeout_s:g} s")


@contextmanager
def _created(path: Path | None) -> Iterator[BinaryIO]:
    """The standard output, or a new file that gets its name once it is complete.

    Raises:
        OSError: the file exists, or cannot be written.
    """
    if path is None:
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    if path.exists():
        raise FileExistsError(errno.EEXIST, "the file exists; name another one")
    unfinished = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        with os.fdopen(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            yield file
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


class _Progress:
    """Prints a count on standard error now and then.

    Attributes:
        count: The number to print.
    """

    def __init__(self, text: str) -> None:
        self.count = 0
        self._text = text
        self._due = time.monotonic() + _PROGRESS_S

    def show(self) -> None:
        """Print it, if it is due."""
        if time.monotonic() >= self._due:
            report(self._text.format(self.count))
            self._due = time.monotonic() + _PROGRESS_S
