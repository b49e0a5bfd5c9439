"""What commands have in common: the settings, and errors that become one line and an exit code.

Layer: cli.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, NoReturn

import typer

from roomcast.cli.exit_codes import EXIT_FAILED, EXIT_USAGE

if TYPE_CHECKING:
    from roomcast.settings import Settings


def configure(responder: str | None = None) -> Settings:
    """Read the settings from the environment and ``--responder``, and configure logging."""
    from roomcast.observability.logs import configure_logging
    from roomcast.settings import misspelt, read_settings

    settings = read_settings(os.environ, responder)
    configure_logging(settings.logs)
    for line in misspelt(os.environ):
        logging.getLogger(__name__).warning("%s", line)
    return settings


@contextmanager
def errors_reported() -> Iterator[None]:
    """Turn an expected error into one printed line and an exit code."""
    from roomcast.app.errors import AppError
    from roomcast.setting_values import SettingsError

    try:
        yield
    except SettingsError as error:
        fail(str(error), EXIT_USAGE)
    except AppError as error:
        fail(str(error), EXIT_FAILED)


@contextmanager
def closed_output_ignored() -> Iterator[None]:
    """End without an error if the reader of the standard output has ended, as `head` does."""
    try:
        yield
    except BrokenPipeError:
        # Python would write what is left at its exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def report(message: str) -> None:
    """Print one line on standard error: a log line with ``LOG_FORMAT=json``."""
    from roomcast.observability.logs import report_error

    report_error(message)


def say(message: str) -> None:
    """Print the outcome of a command: a log line with ``LOG_FORMAT=json``."""
    from roomcast.observability.logs import writes_json

    if writes_json():
        logging.getLogger(__name__).info("%s", message)
    else:
        typer.echo(message)


def fail(message: str, code: int) -> NoReturn:
    """Print why the command fails, and end it."""
    report(message)
    raise typer.Exit(code)
