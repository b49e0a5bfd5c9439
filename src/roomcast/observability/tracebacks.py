"""The text of exceptions in logs: where they were raised, without messages that may quote content or secrets.

``int(text)``, validators, drivers and providers' libraries quote the value that they refuse, and a team's responder may
put its prompt into an error.

Layer: observability.
"""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from typing import Final

WITHHELD: Final = "[withheld: it may quote content]"
#: The messages of these name files, addresses, modules, types and attributes.
_INTERPRETERS: Final = (
    OSError,
    ImportError,
    AttributeError,
    NameError,
    TypeError,
    SyntaxError,
    MemoryError,
    RecursionError,
)
#: Exceptions that led to another one, and exceptions of a group.
_MAX_RELATED: Final = 10
_CAUSE: Final = "\nThe above exception was the direct cause of the following exception:\n"
_CONTEXT: Final = "\nDuring handling of the above exception, another exception occurred:\n"


def describe(error: BaseException) -> str:
    """The type of an exception, and its message if it is of Roomcast or of the interpreter."""
    kind = type(error)
    name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    try:
        message = str(error)
    except Exception:  # noqa: BLE001 - the exception may be of a team's code
        message = "?"
    if message and not isinstance(error, _INTERPRETERS) and kind.__module__.partition(".")[0] != "roomcast":
        message = WITHHELD
    return f"{name}: {message}" if message else name


def format_exception(error: BaseException) -> str:
    """A traceback in the usual form, with `describe` for each exception."""
    return "\n".join(_lines(error))


def _lines(error: BaseException) -> Iterator[str]:
    for link, (each, reason) in enumerate(_chain(error)):
        if link:
            yield reason
        if each.__traceback__ is not None:
            yield "Traceback (most recent call last):"
            yield "".join(traceback.format_tb(each.__traceback__)).rstrip("\n")
        yield describe(each)
        if isinstance(each, BaseExceptionGroup):
            for inner in each.exceptions[:_MAX_RELATED]:
                yield "\n".join(f"  | {line}" for line in format_exception(inner).split("\n"))


def _chain(error: BaseException) -> list[tuple[BaseException, str]]:
    """The exceptions that led to ``error``, then itself, each with its relation to the one before."""
    chain: list[tuple[BaseException, str]] = []
    link: BaseException | None = error
    while link is not None and len(chain) <= _MAX_RELATED and all(link is not seen for seen, _ in chain):
        follows = link.__cause__
        chain.append((link, _CONTEXT if follows is None else _CAUSE))
        link = link.__context__ if follows is None and not link.__suppress_context__ else follows
    return chain[::-1]
