from __future__ import annotations

import io
import json
import logging
from collections import Counter

import pytest

from roomcast.observability.logs import LIMITED, LogOptions, configure_logging, escape

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
    logging.getLogger("roomcast.x").info("New connection", extra={"socket_id": "s1", "ip": "::1"})
    entry = json.loads(stream.getvalue())
    assert entry.pop("timestamp").endswith("Z")
    assert entry == {
        "event": "New connection",
        "level": "info",
        "logger": "roomcast.x",
        "socketId": "s1",
        "ip": "::1",
    }


@pytest.mark.parametrize(
    "agent",
    [
        HOSTILE * 100,
        "A" * 8_192,
        b"\xff\xfe\x80".decode("latin-1") * 3_000,
        "\ud800\udfff" * 4_000,
        "\U0001f600" * 8_192,
        '"}\n{"' * 2_000,
    ],
)
def test_a_hostile_user_agent_makes_one_valid_line_of_limited_size(log, agent) -> None:
    stream = log(format="json")
    logging.getLogger("x").info("New connection", extra={"user_agent": agent})
    line = stream.getvalue()
    assert line.count("\n") == 1
    assert line.isascii()
    assert len(line) < 8_192
    # Lone surrogates are valid in JSON texts for Python, and for few other parsers.
    json.loads(line)["userAgent"].encode()


def test_numbers_that_json_does_not_have_are_text(log) -> None:
    stream = log(format="json")
    facts = {"load": float("inf"), "nested": [float("nan")]}
    logging.getLogger("x").info("hello", extra=facts)
    entry = json.loads(stream.getvalue(), parse_constant=pytest.fail)
    assert (entry["load"], entry["nested"]) == ("inf", ["nan"])


def test_a_long_traceback_keeps_both_ends(log) -> None:
    stream = log(format="json")
    logging.getLogger("x").error("failed", exc_info=OSError("x" * 100_000 + "end"))
    text = json.loads(stream.getvalue())["exception"]
    assert len(text) < 20_000
    assert text.startswith("OSError: x")
    assert text.endswith("end")


def test_of_lines_that_clients_cause_at_will_a_few_are_written_and_the_rest_is_counted(log, monkeypatch) -> None:
    stream = log(format="json")
    # Tests that create a `uvicorn.Config` configure these loggers.
    monkeypatch.setattr(logging.getLogger("uvicorn"), "propagate", True)
    now = 1_000.0
    monkeypatch.setattr("time.time", lambda: now)
    monkeypatch.setattr("time.time_ns", lambda: int(now * 1e9), raising=False)
    logger = logging.getLogger("x")
    for _ in range(100):
        logger.info("handshake refused", extra={LIMITED: "origin"})
        logger.info("handshake refused", extra={LIMITED: "full"})
        logging.getLogger("uvicorn.error").warning("Invalid HTTP request received.")
        logger.info("other line")
    events = Counter(json.loads(line)["event"] for line in stream.getvalue().splitlines())
    assert events == {"handshake refused": 20, "Invalid HTTP request received.": 10, "other line": 100}
    now += 11.0
    logger.info("handshake refused", extra={LIMITED: "origin"})
    last = json.loads(stream.getvalue().splitlines()[-1])
    assert last["notLogged"] == 90
    assert "limited" not in last


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
