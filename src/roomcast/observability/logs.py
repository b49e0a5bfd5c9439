"""Structured logs of the whole process, on standard error: for people, or one JSON object a line.

Every module logs through the standard library, with facts in ``extra``; here the records are put into form. Two rules
hold whatever is logged:

- Nothing that a peer sent can act on a terminal or fake a line: control characters are escaped.
- Nothing secret is shown: facts whose name says that they are secret are withheld, and tracebacks carry no variables.

Layer: observability. Source: CWE-117 (log injection), CVE-2020-7694 (escape sequences in logs).
"""

from __future__ import annotations

import logging
import logging.config
import re
import sys
from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass
from typing import Any, Final, Literal, TextIO

import structlog

LogLevel = Literal["debug", "info", "warning", "error", "critical"]
LogFormat = Literal["console", "json"]

#: C0, DEL, C1, and what ends a line in some readers; bidirectional controls reorder what a person reads.
_UNPRINTABLE: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
#: In tracebacks, line ends and tabs are layout.
_UNPRINTABLE_IN_TEXT: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
_SECRET: Final = re.compile(r"token|secret|password|passwd|authorization|cookie|credential|^auth$", re.IGNORECASE)
_WITHHELD: Final = "[withheld]"
#: One fact is cut at this length: a log is no place for payloads.
_MAX_VALUE_CHARS: Final = 2_000


@dataclass(frozen=True, slots=True)
class LogOptions:
    """How a process logs.

    Attributes:
        level: The least level that is shown.
        format: ``console`` for people, ``json`` for collectors.
    """

    level: LogLevel = "info"
    format: LogFormat = "console"


def escape(text: str, *, keep_lines: bool = False) -> str:
    """``text`` with its control characters written out, as in Python's literals, so that it can act on nothing."""
    pattern = _UNPRINTABLE_IN_TEXT if keep_lines else _UNPRINTABLE
    return pattern.sub(lambda match: match[0].encode("unicode_escape").decode(), text)


def configure_logging(options: LogOptions, stream: TextIO | None = None) -> None:
    """Let everything that is logged in this process come out in one form; a repeat replaces the form.

    Args:
        options: Level and format.
        stream: Where to; standard error if None.
    """
    out = sys.stderr if stream is None else stream
    handler = logging.StreamHandler(out)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[
                structlog.stdlib.add_log_level,
                structlog.stdlib.add_logger_name,
                structlog.stdlib.ExtraAdder(),
                structlog.processors.TimeStamper(fmt="iso", utc=True),
            ],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.format_exc_info,
                withhold_secrets,
                escape_values,
                _renderer(options, out),
            ],
        )
    )
    root = logging.getLogger()
    for old in root.handlers[:]:
        root.removeHandler(old)
        old.close()
    root.addHandler(handler)
    root.setLevel(options.level.upper())
    logging.captureWarnings(capture=True)
    if options.level != "debug":
        # Every request of a client library, and every start of an application, is no news.
        for chatty in ("httpx", "httpcore", "alembic", "uvicorn.error"):
            logging.getLogger(chatty).setLevel(logging.WARNING)


def label_logs(**facts: str | int) -> None:
    """Let every line of this process carry these facts."""
    make = logging.getLogRecordFactory()

    def labelled(*args: Any, **kwargs: Any) -> logging.LogRecord:
        record = make(*args, **kwargs)
        record.__dict__.update(facts)
        return record

    logging.setLogRecordFactory(labelled)


def _renderer(options: LogOptions, out: TextIO) -> structlog.typing.Processor:
    if options.format == "json":
        return structlog.processors.JSONRenderer(sort_keys=True, default=str)
    return structlog.dev.ConsoleRenderer(
        colors=out.isatty(),
        # Rich's tracebacks would show the variables of every frame.
        exception_formatter=structlog.dev.plain_traceback,
        pad_event_to=30,
    )


def withhold_secrets(_logger: Any, _method: str, facts: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Processor: show no fact whose name says that it is secret, at any depth."""
    for key, value in facts.items():
        facts[key] = _WITHHELD if _SECRET.search(key) else _without_secrets(value)
    return facts


def _without_secrets(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _WITHHELD if _SECRET.search(str(key)) else _without_secrets(inner) for key, inner in value.items()}
    return value


def escape_values(_logger: Any, _method: str, facts: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Processor: let no text act on a terminal or look like another line."""
    for key, value in facts.items():
        facts[key] = _escaped(value, keep_lines=key in {"exception", "stack"})
    return facts


def _escaped(value: Any, *, keep_lines: bool = False) -> Any:
    if value is None or isinstance(value, (bool, int, float)):
        return value
    if isinstance(value, Mapping):
        return {_escaped(str(key)): _escaped(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_escaped(inner) for inner in value]
    text = escape(value if isinstance(value, str) else str(value), keep_lines=keep_lines)
    return text if keep_lines or len(text) <= _MAX_VALUE_CHARS else f"{text[:_MAX_VALUE_CHARS]}…"
