"""The commands and their options. Imports are inside the commands, so that ``--help`` is fast.

Layer: cli.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated

import typer

from roomcast import __version__
from roomcast.app.doctor.findings import Finding, Role
from roomcast.auth.scopes import ServiceScope
from roomcast.cli import bot, chats, stats
from roomcast.cli.exit_codes import EXIT_FAILED, EXIT_USAGE
from roomcast.cli.running import configure, errors_reported, fail, report, say
from roomcast.cli.users import users

if TYPE_CHECKING:
    from roomcast.app.config import ProcessConfig

app = typer.Typer(
    name="roomcast",
    help="Real-time chat backend: Socket.IO gateway, durable event log, AI answers.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

Host = Annotated[
    str | None,
    typer.Option(
        help="Address to listen on (default: ROOMCAST_HOST, else 127.0.0.1, which accepts connections from this machine"
        " only).",
        show_default=False,
    ),
]
Data = Annotated[
    Path | None,
    typer.Option(
        help="Directory of the SQLite database (default: ROOMCAST_DATA, else ./data)."
        " Cannot be combined with a PostgreSQL DATABASE_URL.",
        show_default=False,
    ),
]
Insecure = Annotated[
    bool,
    typer.Option(
        "--insecure",
        help="Accept connections from other machines while authentication is off (default: ROOMCAST_INSECURE=on).",
        show_default=False,
    ),
]
ApiPort = Annotated[
    int | None,
    typer.Option(
        min=1, max=65_535, help="Port of the API and the chat page (default: API_PORT, else 3000).", show_default=False
    ),
]
BasePath = Annotated[
    str | None,
    typer.Option(
        help="Path below which a proxy serves Roomcast, such as /chat (default: ROOMCAST_BASE_PATH, else none)."
        " Paths are accepted with and without it.",
        show_default=False,
    ),
]
Responder = Annotated[
    str | None,
    typer.Option(
        help="Answers USER messages: demo, openai, agui, http, module:name of a function of yours, a list of these, or"
        " none (default: ROOMCAST_RESPONDER, else demo).",
        show_default=False,
    ),
]
GatewayPort = Annotated[
    int | None,
    typer.Option(min=1, max=65_535, help="Port of the gateway (default: PORT, else 3001).", show_default=False),
]


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"roomcast {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    _version: Annotated[
        bool, typer.Option("--version", help="Show the version and exit.", callback=_show_version, is_eager=True)
    ] = False,
) -> None:
    pass


@app.command()
def up(
    host: Host = None,
    api_port: ApiPort = None,
    gateway_port: GatewayPort = None,
    one_port: Annotated[
        bool,
        typer.Option(
            "--one-port",
            help="Serve the gateway on the port of the API (default: ROOMCAST_ONE_PORT=on).",
            show_default=False,
        ),
    ] = False,
    base_path: BasePath = None,
    data: Data = None,
    responder: Responder = None,
    insecure: Insecure = False,
) -> None:
    """Start the API, the chat page, the gateway and the worker in one process."""
    with errors_reported():
        settings = configure(responder)
        from roomcast.app.composition import run, run_process
        from roomcast.app.config import up_config

        config = up_config(
            settings,
            host=host,
            api_port=api_port,
            gateway_port=gateway_port,
            one_port=one_port,
            base_path=base_path,
            data=data,
            insecure=insecure,
        )
        run(run_process(config, lambda: _report_ready(config)))


@app.command()
def api(
    host: Host = None,
    api_port: ApiPort = None,
    base_path: BasePath = None,
    data: Data = None,
    responder: Responder = None,
    insecure: Insecure = False,
) -> None:
    """Start the API, the chat page and the worker (unless ROOMCAST_WORKER=off), without a gateway."""
    with errors_reported():
        settings = configure(responder)
        from roomcast.app.composition import run, run_process
        from roomcast.app.config import api_config

        config = api_config(settings, host=host, api_port=api_port, base_path=base_path, data=data, insecure=insecure)
        run(run_process(config, lambda: _report_ready(config)))


@app.command()
def worker(responder: Responder = None) -> None:
    """Start a worker alone, which answers AI turns. Any number of workers share the queue in PostgreSQL."""
    with errors_reported():
        settings = configure(responder)
        from roomcast.app.composition import run, run_process
        from roomcast.app.config import worker_config

        config = worker_config(settings)
        run(run_process(config, lambda: _report_ready(config)))


@app.command()
def gateway(
    host: Host = None,
    port: GatewayPort = None,
    workers: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=64,
            help="Number of gateway processes on the port, for example one per core (default:"
            " ROOMCAST_GATEWAY_PROCESSES, else 1). More than one requires Redis. A request to /health is answered by"
            " one of them.",
            show_default=False,
        ),
    ] = None,
    base_path: BasePath = None,
    insecure: Insecure = False,
) -> None:
    """Start the gateway alone. It receives chat events over Redis; joins are authorised by the API, at API_URL."""
    with errors_reported():
        settings = configure()
        from roomcast.app.composition import run, run_gateway_workers, run_process
        from roomcast.app.config import gateway_config

        config = gateway_config(settings, host=host, port=port, base_path=base_path, insecure=insecure, workers=workers)
        if config.workers > 1:
            run_gateway_workers(config, lambda: _report_ready(config))
        else:
            run(run_process(config, lambda: _report_ready(config)))


@app.command()
def migrate(
    data: Data = None,
    new_epoch: Annotated[
        bool,
        typer.Option(
            "--new-epoch",
            help="Use once after PostgreSQL was restored from a backup. Clients that have received events missing from"
            " the backup then reload their chats.",
            show_default=False,
        ),
    ] = False,
) -> None:
    """Create the database, or migrate it to the schema of this version. `up` and `api` also do this at every start.

    Also indexes the messages of earlier versions for the search; `up` and `api` do this while they serve.
    """
    with errors_reported(), _stopped_by_signals(), _progress("indexing messages") as progress:
        settings = configure()
        from roomcast.app.backend import migrate_database
        from roomcast.app.config import database_location

        database = database_location(settings, data)
        name = database if isinstance(database, Path) else "PostgreSQL"
        before, now = migrate_database(
            database,
            new_epoch=new_epoch,
            on_step=lambda revision, what: say(f"{name}: {revision} {what}"),
            progress=progress,
        )
        if before == now:
            say(f"{name}: schema {now}, nothing to do")
        else:
            say(f"{name}: schema {before or 'none'} -> {now}")


@app.command()
def backup(
    file: Annotated[Path, typer.Argument(help="The file to create.", show_default=False)],
    data: Data = None,
    force: Annotated[bool, typer.Option("--force", help="Replace FILE if it exists.")] = False,
) -> None:
    """Copy the database to FILE, while servers may run. For PostgreSQL this runs `pg_dump`."""
    with errors_reported(), _stopped_by_signals(), _progress() as progress:
        settings = configure()
        from roomcast.app.backups import back_up
        from roomcast.app.config import database_location

        back_up(database_location(settings, data), file, force=force, progress=progress)
        say(f"{file}: backup complete, {file.stat().st_size} bytes")


@app.command()
def restore(
    file: Annotated[Path, typer.Argument(help="A file that `roomcast backup` created.", show_default=False)],
    data: Data = None,
) -> None:
    """Put the backup FILE in the place of the database, after every server was stopped.

    A replaced SQLite file is kept beside it. For PostgreSQL this runs `pg_restore`, into an empty database only.
    Clients that have received events missing from the backup then reload their chats.
    """
    with errors_reported(), _stopped_by_signals(), _progress() as progress:
        settings = configure()
        from roomcast.app.backups import restore as restore_backup
        from roomcast.app.config import database_location

        database = database_location(settings, data)
        replaced = restore_backup(file, database, progress=progress)
        name = database if isinstance(database, Path) else "PostgreSQL"
        kept = "" if replaced is None else f"; the replaced database is {replaced}"
        say(f"{name}: restored from {file}{kept}")


@app.command()
def token(
    user_id: Annotated[str, typer.Argument(help="Id of the user that the token authenticates.")],
    ttl: Annotated[int, typer.Option(min=1, help="Lifetime in seconds.")] = 3600,
    service: Annotated[
        bool,
        typer.Option(
            "--service",
            help="Create a token for another backend, which may act for any user and send messages as AI.",
            show_default=False,
        ),
    ] = False,
    scope: Annotated[
        list[ServiceScope] | None,
        typer.Option(
            help="Create a token for another backend that may only do this; may be given several times. read: requests"
            " that change nothing; write: other requests; events: publish events; admin: end sessions,"
            " personal data, webhooks, the audit log, and the requests of gateways.",
            show_default=False,
        ),
    ] = None,
    tenant: Annotated[
        str, typer.Option(help="The tenant that the token is bound to; left out: the default tenant.")
    ] = "",
) -> None:
    """Create an access token, signed with ROOMCAST_SECRET, and print it."""
    with errors_reported():
        settings = configure()
        from roomcast.auth.tokens import TokenIssuer
        from roomcast.setting_values import SettingsError, in_tenant

        if service and scope:
            raise SettingsError("--scope", "limits a service token; leave --service out")
        if settings.auth is None:
            raise SettingsError("ROOMCAST_SECRET", "is not set; set the secret that the API and the gateway use")
        qualified = in_tenant(user_id, "USER_ID", tenant)
        try:
            minted = TokenIssuer(settings.auth).issue(qualified, ttl_s=ttl, service=service, scopes=scope or ())
        except ValueError:
            raise SettingsError(
                "USER_ID", "is invalid; expected 1 to 128 printable characters, one of them visible"
            ) from None
        typer.echo(minted)


@app.command()
def vapid() -> None:
    """Create a private key for pushes to browsers, and print it: the value of ROOMCAST_VAPID_KEY."""
    from roomcast.push.vapid import new_key

    typer.echo(new_key())


@app.command()
def doctor(
    role: Annotated[Role, typer.Argument(help="The command whose set-up is checked.")] = Role.UP,
    data: Data = None,
    url: Annotated[
        str | None,
        typer.Option(
            help="Public URL of the page or the gateway, for example https://host/chat of a proxy. Takes half a minute."
        ),
    ] = None,
    origin: Annotated[str | None, typer.Option(help="Origin of a page that shall be able to connect.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the findings as JSON.", show_default=False)] = False,
) -> None:
    """Check what a process would use, with the variables of this shell, and say what to change. Changes nothing.

    The exit code is 0 without faults, 1 with a fault, 2 for invalid options.
    """
    from roomcast.app.doctor.examination import examine

    if url is not None and not url.startswith(("http://", "https://")):
        fail(f"--url is {url!r}; expected http(s)://host[:port][/path]", EXIT_USAGE)
    # The findings say what a log would.
    logging.disable()

    async def run_checks() -> list[Finding]:
        findings = []
        async for finding in examine(os.environ, role, data=data, url=url, origin=origin):
            findings.append(finding)
            if not as_json:
                _print_finding(finding)
        return findings

    findings = asyncio.run(run_checks())
    faults = sum(finding.status == "fault" for finding in findings)
    if as_json:
        typer.echo(json.dumps([asdict(finding) for finding in findings], indent=2))
    else:
        typer.echo(f"\n{faults or 'no'} fault{'' if faults == 1 else 's'}")
    if faults:
        raise typer.Exit(EXIT_FAILED)


app.command(epilog=chats.TAIL_EXAMPLES)(chats.tail)
app.command(epilog=chats.PUBLISH_EXAMPLES)(chats.publish)
app.command(epilog=bot.BOT_EXAMPLES)(bot.bot)
app.command(epilog=stats.STATS_EXAMPLES)(stats.stats)
app.add_typer(users)


def _print_finding(finding: Finding) -> None:
    colour = {"ok": "green", "warning": "yellow", "fault": "red"}[finding.status]
    typer.echo(f"{typer.style(f'{finding.status:8}', fg=colour)}{finding.check}: {finding.text}")
    if finding.remedy:
        typer.echo(f"        -> {finding.remedy}")


def run() -> None:
    """Run the command of `sys.argv`, and exit."""
    if not _wants_json():
        app()
    try:
        sys.exit(app(standalone_mode=False))
    except typer.TyperException as error:
        # Typer itself shows it in a box of several lines.
        report(error.format_message() or "no command is given")
        sys.exit(error.exit_code)


def _wants_json() -> bool:
    """Whether ``LOG_FORMAT`` is ``json``; if so, configure logging for the errors before `_configure`."""
    if "LOG_FORMAT" not in os.environ:
        return False  # without the imports, which `--help` does not need
    from roomcast.observability.logs import configure_logging, log_uncaught_errors
    from roomcast.setting_values import SettingsError
    from roomcast.settings import read_log_options

    try:
        options = read_log_options(os.environ)
    except SettingsError:
        return False  # `_configure` reports it
    if options.format == "json":
        configure_logging(options)
        log_uncaught_errors()
    return options.format == "json"


@contextmanager
def _stopped_by_signals() -> Iterator[None]:
    """End the command by an exception on SIGINT, SIGTERM and SIGHUP, so that it removes incomplete files."""
    signals = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]

    def stop(number: int, _frame: FrameType | None) -> None:
        # A second signal would interrupt the removal.
        for each in signals:
            signal.signal(each, signal.SIG_IGN)
        raise SystemExit(128 + number)

    before = [(each, signal.signal(each, stop)) for each in signals]
    try:
        yield
    finally:
        for each, handler in before:
            signal.signal(each, handler)


@contextmanager
def _progress(work: str = "copying") -> Iterator[Callable[[int, int], None]]:
    """Show progress on standard error, if that is a terminal: called with what is left and the total."""
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(work, total=None)
        yield lambda left, total: bar.update(task, total=total, completed=total - left)


def _report_ready(config: ProcessConfig) -> None:
    """Print the addresses. Called when all of them accept connections."""
    try:
        _print_addresses(config)
    except OSError as error:
        # Standard output was closed, which is no reason to stop.
        logging.getLogger(__name__).warning("cannot print the addresses: %s", error)


def _print_addresses(config: ProcessConfig) -> None:
    from roomcast.observability.logs import writes_json

    database = config.database.resolve() if isinstance(config.database, Path) else "PostgreSQL"
    is_open = config.settings.auth is None and bool(config.page_urls or config.gateway_urls)
    if writes_json():
        log = logging.getLogger(__name__)
        facts = {"page": config.page_urls, "gateway": config.gateway_urls, "version": __version__}
        log.info("ready", extra=facts if config.database is None else {**facts, "database": str(database)})
        if is_open:
            log.warning("authentication is off: set ROOMCAST_SECRET to turn it on")
        return
    typer.secho(f"\nRoomcast {__version__} is running.\n", bold=True)
    if config.page_urls:
        typer.echo("  Chat page  " + typer.style("   ".join(config.page_urls), fg="cyan"))
    if config.gateway_urls:
        typer.echo("  Gateway    " + "   ".join(config.gateway_urls))
    if config.database is not None:
        typer.echo(f"  Data       {database}")
    typer.echo()
    if is_open:
        typer.secho("  AUTHENTICATION IS OFF: set ROOMCAST_SECRET to turn it on.", fg="yellow", bold=True)
        if config.listen.loopback:
            typer.echo("  Every user of this machine can read and write every chat; other machines cannot connect.")
        else:
            typer.secho("  Every client that reaches these addresses can read and write every chat.", fg="yellow")
        typer.echo()
    typer.echo("  Press Ctrl-C to stop.\n")
