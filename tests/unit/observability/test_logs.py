from __future__ import annotations

import io
import json
import logging

import pytest

from roomcast.observability.logs import LogOptions, configure_logging, escape

HOSTILE = "\x1b[31mred\x07\r\n2026-01-01 [error] forged \x9b \u202e \u2028 é 訊息"


@pytest.fixture
def log():
    """Configures logging into a string, and restores the previous configuration."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    root.handlers.clear()

    def configure(**options) -> io.StringIO:
        stream = io.StringIO()
        configure_logging(LogOptions(**options), stream)
        return stream

    yield configure
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.captureWarnings(capture=False)


@pytest.mark.parametrize("form", ["console", "json"])
def test_text_from_a_client_cannot_control_the_terminal_or_forge_a_line(log, form) -> None:
    stream = log(format=form)
    facts = {"userAgent": HOSTILE, "nested": {HOSTILE: [HOSTILE]}, "object": ValueError(HOSTILE)}
    logging.getLogger("x").warning("said %s", HOSTILE, extra=facts)
    text = stream.getvalue()
    assert text.count("\n") == 1
    assert all(character.isprintable() for character in text.rstrip("\n"))


def test_printable_text_is_written_unchanged(log) -> None:
    stream = log()
    logging.getLogger("x").info("hello 訊息", extra={"name_of": "zoë"})
    assert "hello 訊息" in stream.getvalue()
    assert "zoë" in stream.getvalue()


@pytest.mark.parametrize("form", ["console", "json"])
@pytest.mark.parametrize(
    "name", ["token", "ROOMCAST_SECRET", "password", "Authorization", "cookie", "auth", "access_token"]
)
def test_secret_facts_are_withheld_at_any_depth(log, form, name) -> None:
    stream = log(format=form)
    logging.getLogger("x").warning("hello", extra={name: "hunter2", "headers": {"deep": {name: "hunter2"}}})
    assert "hunter2" not in stream.getvalue()
    assert stream.getvalue().count("[withheld]") == 2


@pytest.mark.parametrize("form", ["console", "json"])
def test_a_traceback_contains_no_variables(log, form) -> None:
    stream = log(format=form)
    password = "hunter2"

    def fail() -> None:
        raise ValueError(f"wrong: {HOSTILE}")

    try:
        fail()
    except ValueError:
        logging.getLogger("x").exception("failed")
    text = stream.getvalue()
    assert "ValueError" in text
    assert password not in text
    assert "\x1b" not in text


def test_json_is_one_object_per_line_with_the_usual_names(log) -> None:
    stream = log(format="json")
    logging.getLogger("roomcast.x").info("New connection", extra={"socketId": "s1", "ip": "::1"})
    entry = json.loads(stream.getvalue())
    assert entry.pop("timestamp").endswith("Z")
    assert entry == {
        "event": "New connection",
        "level": "info",
        "logger": "roomcast.x",
        "socketId": "s1",
        "ip": "::1",
    }


def test_records_below_the_level_are_not_written(log) -> None:
    stream = log(level="warning")
    logging.getLogger("x").info("quiet")
    logging.getLogger("x").warning("loud")
    assert "quiet" not in stream.getvalue()
    assert "loud" in stream.getvalue()


def test_a_second_configuration_replaces_the_first(log) -> None:
    log()
    stream = log()
    logging.getLogger("x").info("once")
    assert stream.getvalue().count("once") == 1


def test_a_long_fact_is_cut(log) -> None:
    stream = log()
    logging.getLogger("x").info("hello", extra={"detail": "x" * 100_000})
    assert len(stream.getvalue()) < 3_000


def test_control_characters_become_escape_sequences() -> None:
    assert escape("a\x1b[0m\n") == "a\\x1b[0m\\n"
    assert escape("a\n\tb\x00", keep_lines=True) == "a\n\tb\\x00"
