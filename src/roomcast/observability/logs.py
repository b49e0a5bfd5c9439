"""Structured logs on standard error: readable lines, or one JSON object per line.

Modules log through the standard library, with facts in ``extra``; this module formats the records. Two rules hold:

- Control characters are escaped, so that text from a client cannot control a terminal or forge a log line.
- Facts with a name such as ``token`` or ``password`` are withheld, and tracebacks contain no variables.

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

#: C0, DEL, C1, line separators of Unicode, and bidirectional controls, which reorder the displayed text.
_UNPRINTABLE: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
#: The same characters, except line feeds and tabs, which format a traceback.
_UNPRINTABLE_IN_TEXT: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
_SECRET: Final = re.compile(r"token|secret|password|passwd|authorization|cookie|credential|^auth$", re.IGNORECASE)
_WITHHELD: Final = "[withheld]"
#: Longer facts are truncated: logs must not contain payloads.
_MAX_VALUE_CHARS: Final = 2_000


@dataclass(frozen=True, slots=True)
class LogOptions:
    """Options of logging.

    Attributes:
        level: The lowest level that is written.
        format: ``console`` for terminals, ``json`` for log collectors.
    """

    level: LogLevel = "info"
    format: LogFormat = "console"


def escape(text: str, *, keep_lines: bool = False) -> str:
    """Replace control characters with their escape sequences, as in a Python literal."""
    pattern = _UNPRINTABLE_IN_TEXT if keep_lines else _UNPRINTABLE
    return pattern.sub(lambda match: match[0].encode("unicode_escape").decode(), text)


def configure_logging(options: LogOptions, stream: TextIO | None = None) -> None:
    """Set up logging for the whole process. A second call replaces the first.

    Args:
        options: Level and format.
        stream: Receives the log lines; None: standard error.
    """
    out = sys.stderr if stream is None else stream
    handler = logging.StreamHandler(out)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[
                structlog.contextvars.merge_contextvars,  # the id of the request, from the API
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
        # These loggers report every request and every start at level info.
        for chatty in ("httpx", "httpcore", "alembic", "uvicorn.error"):
            logging.getLogger(chatty).setLevel(logging.WARNING)


def add_log_facts(**facts: str | int) -> None:
    """Add these facts to every log record of the process."""
    make = logging.getLogRecordFactory()

    def make_with_facts(*args: Any, **kwargs: Any) -> logging.LogRecord:
        record = make(*args, **kwargs)
        record.__dict__.update(facts)
        return record

    logging.setLogRecordFactory(make_with_facts)


def _renderer(options: LogOptions, out: TextIO) -> structlog.typing.Processor:
    if options.format == "json":
        return structlog.processors.JSONRenderer(sort_keys=True, default=str)
    return structlog.dev.ConsoleRenderer(
        colors=out.isatty(),
        # Tracebacks that Rich formats contain the variables of every frame.
        exception_formatter=structlog.dev.plain_traceback,
        pad_event_to=30,
    )


def withhold_secrets(_logger: Any, _method: str, facts: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Processor: withhold facts whose name indicates a secret, at any depth."""
    for key, value in facts.items():
        facts[key] = _WITHHELD if _SECRET.search(key) else _without_secrets(value)
    return facts


def _without_secrets(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _WITHHELD if _SECRET.search(str(key)) else _without_secrets(inner) for key, inner in value.items()}
    return value


def escape_values(_logger: Any, _method: str, facts: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Processor: escape control characters in every fact."""
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
