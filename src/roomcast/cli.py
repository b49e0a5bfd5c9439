"""The `roomcast` command.

Exit codes: 0 it did what was asked (Ctrl-C included), 1 it could not, 2 it was asked wrongly (options or environment).
Expected failures are one line; a traceback is a bug. What a command needs is imported when it runs, so that ``--help``
answers at once.

Layer: cli, the top.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from roomcast import __version__

if TYPE_CHECKING:
    from roomcast.app.plan import Plan
    from roomcast.settings import Settings

EXIT_FAILED: Final = 1
EXIT_USAGE: Final = 2
#: Ctrl-C before anything was started; afterwards it is an ordinary end.
EXIT_INTERRUPTED: Final = 130

app = typer.Typer(
    name="roomcast",
    help="A real-time chat backend: Socket.IO gateway, ordered durable log, AI answers.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

Host = Annotated[str, typer.Option(help="Address to listen on; the default is this machine only, IPv4 and IPv6.")]
Data = Annotated[
    Path | None,
    typer.Option(
        help="Directory of the embedded database; else ROOMCAST_DATA, else ./data. Not for use beside DATABASE_URL.",
        show_default=False,
    ),
]
Insecure = Annotated[
    bool, typer.Option("--insecure", help="Let other machines in although authentication is off.", show_default=False)
]
ApiPort = Annotated[
    int | None,
    typer.Option(min=1, max=65_535, help="Port of the API and the page; else API_PORT, else 3000.", show_default=False),
]
GatewayPort = Annotated[
    int | None,
    typer.Option(min=1, max=65_535, help="Port of the gateway; else PORT, else 3001.", show_default=False),
]


def main() -> None:
    """Run the command; the entry point of the console script."""
    _open_standard_streams()
    try:
        app()
    except KeyboardInterrupt:
        sys.exit(EXIT_INTERRUPTED)


def _open_standard_streams() -> None:
    """Started without one of them, the first sockets would get its number, and what is printed would go there."""
    for descriptor, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        try:
            os.fstat(descriptor)
        except OSError:
            # The lowest free number is taken, which is this one.
            os.open(os.devnull, os.O_RDWR)
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(descriptor, mode))


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"roomcast {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    _version: Annotated[
        bool, typer.Option("--version", help="Show the version.", callback=_show_version, is_eager=True)
    ] = False,
) -> None:
    pass


@app.command()
def up(
    host: Host = "127.0.0.1",
    api_port: ApiPort = None,
    gateway_port: GatewayPort = None,
    one_port: Annotated[
        bool, typer.Option("--one-port", help="The gateway on the API's port, too.", show_default=False)
    ] = False,
    data: Data = None,
    insecure: Insecure = False,
) -> None:
    """Start everything in one process: API, page, gateway, worker, database."""
    with _failures_named():
        settings = _settings()
        from roomcast.app.plan import plan_up
        from roomcast.app.running import run, run_up

        plan = plan_up(
            settings,
            host=host,
            api_port=api_port,
            gateway_port=gateway_port,
            one_port=one_port,
            data=data,
            insecure=insecure,
        )
        run(run_up(plan, lambda: _announce(plan)))


@app.command()
def api(host: Host = "127.0.0.1", api_port: ApiPort = None, data: Data = None, insecure: Insecure = False) -> None:
    """Start the API, the page and the worker, without a gateway."""
    with _failures_named():
        settings = _settings()
        from roomcast.app.plan import plan_api
        from roomcast.app.running import run, run_api

        plan = plan_api(settings, host=host, api_port=api_port, data=data, insecure=insecure)
        run(run_api(plan, lambda: _announce(plan)))


@app.command()
def gateway(
    host: Host = "127.0.0.1",
    port: GatewayPort = None,
    workers: Annotated[
        int,
        typer.Option(
            min=1,
            max=64,
            help="Processes on this port, one for each core; they need Redis. /health answers for one of them.",
        ),
    ] = 1,
    insecure: Insecure = False,
) -> None:
    """Start the gateway alone: chat events come over Redis, and the API at API_URL decides who may join."""
    with _failures_named():
        settings = _settings()
        from roomcast.app.plan import plan_gateway
        from roomcast.app.running import run, run_gateway, run_workers

        plan = plan_gateway(settings, host=host, port=port, insecure=insecure, workers=workers)
        if workers > 1:
            run_workers(plan, lambda: _announce(plan))
        else:
            run(run_gateway(plan, lambda: _announce(plan)))


@app.command()
def migrate(
    data: Data = None,
    new_epoch: Annotated[
        bool,
        typer.Option(
            "--new-epoch",
            help="PostgreSQL was restored from a backup: clients that saw what is lost start anew.",
            show_default=False,
        ),
    ] = False,
) -> None:
    """Create the database or bring it to this version's schema; every start does it, too."""
    with _failures_named():
        settings = _settings()
        from roomcast.app.migrating import migrate_database
        from roomcast.app.plan import database_place

        path, url = database_place(settings, data)
        before, now = migrate_database(path, url, new_epoch=new_epoch)
        place = path or "PostgreSQL"
        if before == now:
            typer.echo(f"{place}: schema {now}, nothing to do")
        else:
            typer.echo(f"{place}: schema {before or 'none'} → {now}")


@app.command()
def token(
    user_id: Annotated[str, typer.Argument(help="Who the bearer will be.")],
    ttl: Annotated[int, typer.Option(min=1, help="Seconds that it is good for.")] = 3600,
    service: Annotated[
        bool,
        typer.Option("--service", help="For a back end: may speak for any user and as AI.", show_default=False),
    ] = False,
) -> None:
    """Mint an access token from ROOMCAST_SECRET."""
    with _failures_named():
        settings = _settings()
        from roomcast.auth.tokens import TokenIssuer
        from roomcast.settings import SettingsError

        if settings.auth is None:
            raise SettingsError("ROOMCAST_SECRET", "is not set: tokens are signed with it")
        try:
            minted = TokenIssuer(settings.auth).issue(user_id, ttl_s=ttl, service=service)
        except ValueError:
            raise SettingsError("USER_ID", "is no user id: 1 to 128 printable characters") from None
        typer.echo(minted)


def _settings() -> Settings:
    """Read the environment, and let everything be logged as it says."""
    from roomcast.observability.logs import configure_logging
    from roomcast.settings import read_settings

    settings = read_settings(os.environ)
    configure_logging(settings.logs)
    return settings


@contextmanager
def _failures_named() -> Iterator[None]:
    """Expected failures become one line and an exit code."""
    from roomcast.app.errors import AppFailed
    from roomcast.settings import SettingsError

    try:
        yield
    except SettingsError as error:
        _fail(str(error), EXIT_USAGE)
    except AppFailed as error:
        _fail(str(error), EXIT_FAILED)


def _fail(message: str, code: int) -> None:
    typer.echo(f"roomcast: {message}", err=True)
    raise typer.Exit(code)


def _announce(plan: Plan) -> None:
    """Say where everything is: every address here answers."""
    try:
        _print_addresses(plan)
    except OSError as error:
        # Whoever read this has gone; that is no reason to stop serving.
        logging.getLogger(__name__).warning("nobody reads the addresses: %s", error)


def _print_addresses(plan: Plan) -> None:
    typer.secho(f"\nRoomcast {__version__} is running.\n", bold=True)
    if plan.page_urls:
        typer.echo("  Chat page  " + typer.style("   ".join(plan.page_urls), fg="cyan"))
    if plan.gateway_urls:
        typer.echo("  Gateway    " + "   ".join(plan.gateway_urls))
    if plan.database is not None:
        typer.echo(f"  Data       {plan.database.resolve()}")
    elif plan.database_url is not None:
        typer.echo("  Data       PostgreSQL")
    typer.echo()
    if plan.auth is None:
        typer.secho("  AUTHENTICATION IS OFF: set ROOMCAST_SECRET to turn it on.", fg="yellow", bold=True)
        if plan.where.loopback:
            typer.echo("  Whoever can use this machine may read and write every chat; other machines cannot.")
        else:
            typer.secho("  Whoever reaches these addresses may read and write every chat.", fg="yellow")
        typer.echo()
    typer.echo("  Press Ctrl-C to stop.\n")
