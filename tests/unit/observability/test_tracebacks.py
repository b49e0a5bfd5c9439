from __future__ import annotations

import pytest

from roomcast.app.errors import AppError
from roomcast.observability.tracebacks import WITHHELD, describe, format_exception

CONTENT = "recognisable-content"


class TeamError(Exception):
    def __str__(self) -> str:
        raise ValueError(CONTENT)


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (AppError("port 80 is in use"), "roomcast.app.errors.AppError: port 80 is in use"),
        (FileNotFoundError(2, "No such file"), "FileNotFoundError: [Errno 2] No such file"),
        (ValueError(CONTENT), f"ValueError: {WITHHELD}"),
        (KeyError(CONTENT), f"KeyError: {WITHHELD}"),
        (TeamError(CONTENT), f"{__name__}.TeamError: {WITHHELD}"),
        (RuntimeError(), "RuntimeError"),
    ],
)
def test_messages_that_may_quote_content_are_withheld(error, text) -> None:
    assert describe(error) == text


def test_causes_groups_and_places_are_shown_without_messages_and_notes() -> None:
    content = CONTENT
    try:
        try:
            int(content)
        except ValueError as cause:
            inner = KeyError(content)
            inner.add_note(content)
            raise ExceptionGroup(content, [inner]) from cause
    except ExceptionGroup as error:
        text = format_exception(error)
    assert CONTENT not in text
    assert text.index("ValueError") < text.index("direct cause") < text.index("ExceptionGroup") < text.index("KeyError")
    assert __file__ in text


def test_a_circle_of_exceptions_ends() -> None:
    one, two = OSError("one"), OSError("two")
    one.__context__, two.__context__ = two, one
    assert format_exception(one).count("OSError: ") == 2
