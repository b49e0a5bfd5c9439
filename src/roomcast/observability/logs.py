"""Structured logs on standard error: readable lines, or one JSON object per line.

Modules log through the standard library, with facts in ``extra``; this module formats the records. These rules hold:

- Names of facts are written in camelCase, as in the contract: ``chat_id`` in code is ``chatId`` in a line.
- Control characters and lone surrogates are escaped, and texts are cut: a client cannot control a terminal, forge a
  line, make one that is no JSON, or a long one.
- Facts with a name such as ``token`` or ``password`` are withheld; tracebacks contain no variables, and no messages of
  exceptions that may quote content.
- With ``LOG_FORMAT=json`` everything that a process writes for people is a line of JSON, uncaught exceptions included.
  Exceptions: what Python writes before it runs this code or when it crashes, and ``print`` in a team's code.

Layer: observability. Source: CWE-117 (log injection), CVE-2020-7694 (escape sequences in logs).
"""

from __future__ import annotations

import asyncio
import json
import logging
import logging.config
import math
import re
import sys
import threading
from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final, Literal, TextIO

import structlog
from pydantic.alias_generators import to_camel

from roomcast.observability.log_context import log_facts
from roomcast.observability.tracebacks import format_exception

logger = logging.getLogger(__name__)

LogLevel = Literal["debug", "info", "warning", "error", "critical"]
LogFormat = Literal["console", "json"]

#: DEL, C1, line separators of Unicode, bidirectional controls, which reorder the displayed text, and surrogates.
_CONTROLS: Final = r"\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff"
_UNPRINTABLE: Final = re.compile(rf"[\x00-\x1f{_CONTROLS}]")
#: The same characters, except line feeds and tabs, which format a traceback.
_UNPRINTABLE_IN_TEXT: Final = re.compile(rf"[\x00-\x08\x0b-\x1f{_CONTROLS}]")
_SECRET: Final = re.compile(r"token|secret|password|passwd|authorization|cookie|credential|^auth$", re.IGNORECASE)
_WITHHELD: Final = "[withheld]"
#: Longer facts are cut: logs must not contain payloads. An id has at most 128 characters, a user agent about 200.
_MAX_VALUE_CHARS: Final = 500
_MAX_MESSAGE_CHARS: Final = 2_000
#: Of a traceback, both ends are kept: the end names the error.
_MAX_TRACEBACK_CHARS: Final = 16_000
#: The fact of a line that clients without a token can cause at will: of the lines with the same message and the same
#: value of this fact, `_FloodLimit` writes a few. The fact itself is not written.
LIMITED: Final = "limited"
_FLOOD_LINES: Final = 10
_FLOOD_S: Final = 10.0
_TEXTS: Final = frozenset({"exception", "stack"})


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


class _Handler(logging.StreamHandler[TextIO]):
    """Writes one line per record.

    Attributes:
        writes_json: Whether lines are JSON objects.
    """

    def __init__(self, stream: TextIO, *, writes_json: bool) -> None:
        super().__init__(stream)
        self.writes_json = writes_json
        self.addFilter(_FloodLimit())

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - the name of the standard library
        """Write a line about a record that cannot be formatted; `logging` would write its arguments."""
        error = sys.exception()
        if isinstance(error, OSError) or self.stream.closed:
            return  # nothing can be written
        facts = {"logger": record.name, "level": "error", "error": type(error).__name__}
        facts["event"] = f"a log line cannot be formatted: {record.filename}:{record.lineno}"
        self.stream.write(f"{json.dumps(facts) if self.writes_json else facts['event']}\n")


def writes_json() -> bool:
    """Whether log lines are JSON objects."""
    return any(isinstance(handler, _Handler) and handler.writes_json for handler in logging.getLogger().handlers)


def report_error(message: str) -> None:
    """Write an expected error for people: a log line with ``LOG_FORMAT=json``, else a line of text."""
    if writes_json():
        logger.error("%s", message)
    else:
        sys.stderr.write(f"roomcast: {escape(message)}\n")


def configure_logging(options: LogOptions, stream: TextIO | None = None) -> None:
    """Set up logging for the whole process. A second call replaces the first.

    Args:
        options: Level and format.
        stream: Receives the log lines; None: standard error.
    """
    out = sys.stderr if stream is None else stream
    handler = _Handler(out, writes_json=options.format == "json")
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[
                _add_context,
                structlog.stdlib.add_log_level,
                structlog.stdlib.add_logger_name,
                structlog.stdlib.ExtraAdder(),
                structlog.processors.TimeStamper(fmt="iso", utc=True),
            ],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                _format_exception,
                name_in_camel_case,
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
    # Its lines at level debug have the headers of responses, and quote those that are malformed.
    logging.getLogger("httpcore").setLevel(logging.WARNING)
    if options.level != "debug":
        # These loggers report every request and every start at level info.
        for chatty in ("httpx", "alembic", "uvicorn.error"):
            logging.getLogger(chatty).setLevel(logging.WARNING)


class _FloodLimit(logging.Filter):
    """Writes the first `_FLOOD_LINES` lines of a kind in `_FLOOD_S`; the first one after them counts those left out."""

    def __init__(self) -> None:
        super().__init__()
        self._kinds: dict[tuple[str, str, str], list[float]] = {}  # begin, lines written, lines left out

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether to write the line."""
        kind = record.__dict__.pop(LIMITED, None)
        if record.name == "uvicorn.error" and record.levelno == logging.WARNING:
            kind = "uvicorn"  # for example: invalid HTTP request
        if kind is None:
            return True
        state = self._kinds.setdefault((record.name, str(record.msg), kind), [record.created, 0, 0])
        if record.created - state[0] >= _FLOOD_S:
            state[:2] = record.created, 0
        if state[1] == _FLOOD_LINES:
            state[2] += 1
            return False
        state[1] += 1
        if state[2]:
            record.__dict__["not_logged"] = int(state[2])
            state[2] = 0
        return True


def log_uncaught_errors() -> None:
    """Log exceptions that nothing catches, of any thread. Python's own hooks write their messages, too."""
    sys.excepthook = _log_uncaught
    threading.excepthook = lambda args: _log_uncaught(args.exc_type, args.exc_value, args.exc_traceback)
    sys.unraisablehook = lambda args: logger.error("an exception was ignored", exc_info=args.exc_value)


def _log_uncaught(kind: type[BaseException], error: BaseException | None, _trace: TracebackType | None) -> None:
    if not issubclass(kind, (KeyboardInterrupt, SystemExit)):
        logger.critical("an exception was not caught", exc_info=error)


def log_loop_error(_loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Log an error that no code of a loop handles. asyncio's own handler writes the exception's message, too."""
    task = context.get("task") or context.get("future")
    facts = {"task": task.get_name()} if isinstance(task, asyncio.Task) else {}
    logger.error("%s", context["message"], exc_info=context.get("exception"), extra=facts)


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


def _format_exception(_logger: Any, _method: str, facts: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    info = facts.pop("exc_info", None)
    error = info[1] if isinstance(info, tuple) else info
    if isinstance(error, BaseException):
        facts["exception"] = format_exception(error)
    return facts


def _add_context(_logger: Any, _method: str, facts: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    for name, value in log_facts().items():
        facts.setdefault(name, value)
    return facts


def name_in_camel_case(_logger: Any, _method: str, facts: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Processor: write the names of facts as the contract does."""
    return {to_camel(name) if "_" in name else name: value for name, value in facts.items()}


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
    """Processor: escape control characters in every fact, and cut long texts."""
    for key, value in facts.items():
        if key in _TEXTS:
            facts[key] = _cut_middle(escape(str(value), keep_lines=True))
        else:
            facts[key] = _escaped(value, _MAX_MESSAGE_CHARS if key == "event" else _MAX_VALUE_CHARS)
    return facts


def _escaped(value: Any, max_chars: int = _MAX_VALUE_CHARS) -> Any:
    if value is None or isinstance(value, (bool, int)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)  # JSON has no infinity
    if isinstance(value, Mapping):
        return {_escaped(str(key)): _escaped(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_escaped(inner) for inner in value]
    text = value if isinstance(value, str) else str(value)
    # Cut before and after: an escape sequence is longer than its character.
    text = escape(text[: max_chars + 1])
    return text if len(text) <= max_chars else f"{text[:max_chars]}…"


def _cut_middle(text: str) -> str:
    half = _MAX_TRACEBACK_CHARS // 2
    return text if len(text) <= _MAX_TRACEBACK_CHARS else f"{text[:half]}\n…\n{text[-half:]}"
