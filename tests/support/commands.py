"""A `roomcast` command that runs until the test ends it, and the lines that it prints."""

from __future__ import annotations

import json
import logging
import signal
import threading
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

from click.testing import Result
from typer.testing import CliRunner

from roomcast.cli.commands import app
from roomcast.settings import VARIABLES
from support.processes import ROOMCAST, clean_environment, popen
from support.waiting import until

LIMIT_S = 30.0


def invoke(*args: str, env: Mapping[str, str] | None = None, text: bytes | None = None) -> Result:
    """Run a command to its end in this process, which saves the time of its start, without the developer's settings."""
    absent = dict.fromkeys(VARIABLES)
    try:
        return CliRunner().invoke(app, args, input=text, env={**absent, **(env or {})}, catch_exceptions=False)
    finally:
        logging.disable(logging.NOTSET)


class Command:
    """One running command.

    Attributes:
        lines: What it has printed on standard output.
        errors: The same for standard error.
    """

    def __init__(self, *args: str, env: Mapping[str, str] | None = None) -> None:
        self._args = args
        self._env = env
        self.lines: list[str] = []
        self.errors: list[str] = []

    def __enter__(self) -> Self:
        self._process = popen([str(ROOMCAST), *self._args], clean_environment(self._env))
        streams = ((self._process.stdout, self.lines), (self._process.stderr, self.errors))
        self._readers = [threading.Thread(target=self._read, args=stream, daemon=True) for stream in streams]
        for reader in self._readers:
            reader.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.wait()
        for reader in self._readers:
            reader.join(LIMIT_S)

    @staticmethod
    def _read(stream: Any, lines: list[str]) -> None:
        with stream:
            lines.extend(iter(stream.readline, ""))

    async def until_error(self, text: str) -> None:
        """Wait until standard error has a line with this text."""
        await until(lambda: any(text in line for line in self.errors), limit_s=LIMIT_S)

    async def until_lines(self, count: int) -> list[str]:
        """Wait for so many lines."""
        await until(lambda: len(self.lines) >= count, limit_s=LIMIT_S)
        return self.lines

    async def contents(self, count: int) -> list[str]:
        """The contents of so many messages, from lines of JSON."""
        events = map(json.loads, await self.until_lines(count))
        return [event["data"].get("content", event) for event in events]

    def interrupt(self) -> int:
        """Send Ctrl-C; the exit code."""
        self._process.send_signal(signal.SIGINT)
        return self.wait()

    def wait(self) -> int:
        """The exit code."""
        return self._process.wait(LIMIT_S)
