"""Every rule for text and numbers that come from outside, in one place.

The patterns are in the dialect that JSON Schema, JavaScript and Pydantic's engine share, so the generated schemas state
the same rules that the server enforces. A lone surrogate is refused by Pydantic itself: it is not Unicode text.

Layer: contract (Pydantic and the standard library only).
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Final

from pydantic import AfterValidator, Field, PlainSerializer, StringConstraints, WithJsonSchema

MAX_ID_CHARS: Final = 128
MAX_CONTENT_CHARS: Final = 32_768
MAX_TITLE_CHARS: Final = 200
MAX_EPOCH_CHARS: Final = 64
#: JSON numbers are doubles in JavaScript; above this they are no longer exact.
MAX_SEQ: Final = 2**53 - 1

# Control characters, and the two separators that end a line in JavaScript and in some logs.
_PRINTABLE: Final = r"[^\u0000-\u001f\u007f-\u009f\u2028\u2029]"


def _no_dot_segment(value: str) -> str:
    """Refuse what URL clients resolve away: such a chat could never be asked for."""
    if value in {".", ".."}:
        raise ValueError('must not be "." or ".."')
    return value


#: Names a chat. Safe inside a URL path, a room name and a log line as it is.
ChatId = Annotated[
    str,
    StringConstraints(strict=True, min_length=1, max_length=MAX_ID_CHARS, pattern=r"^[A-Za-z0-9._:~@-]+$"),
    AfterValidator(_no_dot_segment),
]

#: Names a user. Any printable text, since it comes from somebody else's directory.
UserId = Annotated[
    str,
    StringConstraints(strict=True, min_length=1, max_length=MAX_ID_CHARS, pattern=f"^{_PRINTABLE}+$"),
]

#: Chosen by the sender; a repeat in the same chat answers the first result.
ClientMsgId = Annotated[
    str,
    StringConstraints(strict=True, min_length=1, max_length=MAX_ID_CHARS, pattern=f"^{_PRINTABLE}+$"),
]

#: A message's text. U+0000 is refused on every database, since PostgreSQL cannot store it.
Content = Annotated[
    str,
    StringConstraints(strict=True, min_length=1, max_length=MAX_CONTENT_CHARS, pattern=r"^[^\u0000]*$"),
]

#: A chat's name: one line.
Title = Annotated[str, StringConstraints(strict=True, max_length=MAX_TITLE_CHARS, pattern=f"^{_PRINTABLE}*$")]

#: Names a stretch of the database's history; opaque to clients.
Epoch = Annotated[
    str, StringConstraints(strict=True, min_length=1, max_length=MAX_EPOCH_CHARS, pattern=r"^[A-Za-z0-9._-]+$")
]

#: Position of an event in its chat, from 1; 0 stands for "before the first".
Seq = Annotated[int, Field(strict=True, ge=0, le=MAX_SEQ)]


def format_time(value: datetime) -> str:
    """RFC 3339 in UTC with milliseconds and ``Z``: what JavaScript's ``Date`` writes itself.

    Args:
        value: An aware datetime; what is finer than a millisecond is cut off.
    """
    return value.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


#: A moment, as `format_time` writes it.
Timestamp = Annotated[
    datetime,
    PlainSerializer(format_time, return_type=str, when_used="json"),
    WithJsonSchema({"type": "string", "format": "date-time"}),
]
