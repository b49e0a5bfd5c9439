"""The types and limits of ids, texts, numbers and times in the public payloads.

The patterns use only syntax that JSON Schema, JavaScript, Python and Pydantic share, so that the generated schemas
state the rules that the server enforces. Characters above U+FFFF are not escaped, since JavaScript and Python escape
them differently. The patterns allow lone surrogates, but Pydantic rejects them.

Layer: contract.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Annotated, Final

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    PlainSerializer,
    StringConstraints,
    TypeAdapter,
    ValidationError,
    WithJsonSchema,
)

from roomcast.contract.tenants import QUALIFIED, TENANT, localized

MAX_ID_CHARS: Final = 128
MAX_CONTENT_CHARS: Final = 32_768
MAX_TITLE_CHARS: Final = 200
MAX_SEARCH_CHARS: Final = 200
MAX_EPOCH_CHARS: Final = 64
#: Ten years.
MAX_RETENTION_DAYS: Final = 3_650
#: JavaScript's ``Number.MAX_SAFE_INTEGER``.
MAX_SEQ: Final = 2**53 - 1

# Control characters, and the two separators that end a line in JavaScript and in some logs.
_CONTROL: Final = r"\u0000-\u001f\u007f-\u009f\u2028\u2029"
_PRINTABLE: Final = f"[^{_CONTROL}]"
# Other characters that show nothing on their own: Unicode's White_Space and Default_Ignorable_Code_Point, the blank
# Braille pattern (U+2800), the annotation characters (U+FFF9 to U+FFFB), the null notehead (U+1D159).
_BLANK: Final = (
    r"\u0020\u00a0\u00ad\u034f\u061c\u115f-\u1160\u1680\u17b4-\u17b5\u180b-\u180f\u2000-\u200f\u202a-\u202f\u205f-\u206f"
    r"\u2800\u3000\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb"
    "\U0001bca0-\U0001bca3\U0001d159\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
)
_VISIBLE: Final = f"[^{_CONTROL}{_BLANK}]"
_VISIBLE_TEXT: Final = TypeAdapter(Annotated[str, StringConstraints(pattern=_VISIBLE)])
# Most texts have one of these, which are found in a tenth of the time.
_OFTEN_VISIBLE: Final = re.compile("[!-~\u4e00-\u9fff]")


def _no_dot_segment(value: str) -> str:
    """Reject ids that URL clients resolve as dot segments, which would make the chat unreachable."""
    if value in {".", ".."}:
        raise ValueError('must not be "." or ".."')
    return value


def has_visible_character(value: str) -> bool:
    """Whether a text shows anything, alone on a line. Lone surrogates count as blank."""
    if _OFTEN_VISIBLE.search(value):
        return True
    try:
        _VISIBLE_TEXT.validate_python(value)
    except ValidationError:
        return False
    return True


def _visible(value: str) -> str:
    if not has_visible_character(value):
        raise ValueError("must contain a visible character")
    return value


_CHAT_ID: Final = r"^[A-Za-z0-9._:~@-]+$"
_USER_ID: Final = f"^{_PRINTABLE}+$"
_WRITTEN_USER_ID: Final = localized(_USER_ID, MAX_ID_CHARS)

_PORT: Final = "([1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])"


def url_pattern(scheme: str) -> str:
    """Pattern of a URL with a host, without a user name and a fragment.

    Args:
        scheme: Pattern of the scheme.
    """
    return rf'^{scheme}://([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(:{_PORT})?([/?][!-"$-~]*)?$'


#: URL of a device at the push service of its browser. A secret.
PushEndpoint = Annotated[
    str,
    StringConstraints(strict=True, max_length=2_048, pattern=url_pattern("https?")),
]
#: Id of a chat. Needs no escaping in a URL path, a room name or a log line. Qualified inside the server: see `tenants`.
ChatId = Annotated[
    str,
    StringConstraints(strict=True, min_length=1, max_length=MAX_ID_CHARS, pattern=_CHAT_ID),
    AfterValidator(_no_dot_segment),
    QUALIFIED,
    localized(_CHAT_ID, MAX_ID_CHARS),
]

#: Id of a user. Any printable text, since user ids come from another system. Qualified inside the server.
UserId = Annotated[
    str,
    StringConstraints(strict=True, min_length=1, max_length=MAX_ID_CHARS, pattern=_USER_ID),
    QUALIFIED,
    _WRITTEN_USER_ID,
]

#: Id of a user that is never qualified: in tokens.
LocalUserId = Annotated[
    str,
    StringConstraints(strict=True, min_length=1, max_length=MAX_ID_CHARS, pattern=_USER_ID),
    AfterValidator(_visible),
    Field(json_schema_extra={"pattern": f"^[{_BLANK}]*{_VISIBLE}{_PRINTABLE}*$"}),
]

#: Id of a user in a request. Stored ids may be blank, since earlier versions accepted them.
NewUserId = Annotated[LocalUserId, QUALIFIED, _WRITTEN_USER_ID]

#: An id between the processes of an installation, which is qualified already.
QualifiedId = Annotated[
    str,
    StringConstraints(
        strict=True, min_length=1, max_length=MAX_ID_CHARS, pattern=rf"^(?:{TENANT}\u001f)?{_PRINTABLE}+$"
    ),
]

#: Idempotency key of a message, chosen by the sender. A repeat in the same chat returns the first result.
ClientMsgId = Annotated[
    str,
    StringConstraints(strict=True, min_length=1, max_length=MAX_ID_CHARS, pattern=f"^{_PRINTABLE}+$"),
]

#: Id of a custom event, chosen by its sender: an idempotency key in its chat.
CustomEventId = Annotated[
    str,
    StringConstraints(strict=True, min_length=1, max_length=MAX_ID_CHARS, pattern=f"^{_PRINTABLE}+$"),
]

#: Name of a custom event, such as ``order.shipped``.
CustomEventName = Annotated[
    str, StringConstraints(strict=True, min_length=1, max_length=64, pattern=r"^[a-z][a-z0-9]*([._:-][a-z0-9]+)*$")
]

#: Text of a message. U+0000 is rejected, since PostgreSQL cannot store it.
Content = Annotated[
    str,
    StringConstraints(strict=True, min_length=1, max_length=MAX_CONTENT_CHARS, pattern=r"^[^\u0000]*$"),
]

#: Text of a message in a request. Stored texts may be blank, since earlier versions accepted them.
NewContent = Annotated[
    Content,
    AfterValidator(_visible),
    # The first two classes have no common character, so that no engine backtracks.
    Field(json_schema_extra={"pattern": rf"^[\u0001-\u001f\u007f-\u009f\u2028\u2029{_BLANK}]*{_VISIBLE}[^\u0000]*$"}),
]

TURN_ID: Final = r"^[A-Za-z0-9_-]+$"
#: Id of a turn, and of the message that is its answer.
TurnId = Annotated[str, StringConstraints(strict=True, min_length=1, max_length=MAX_ID_CHARS, pattern=TURN_ID)]

#: Id of a message.
MessageId = Annotated[str, StringConstraints(strict=True, min_length=1, max_length=MAX_ID_CHARS, pattern=TURN_ID)]

#: Id of an invite link: the SHA-256 of its token in hexadecimal.
InviteId = Annotated[str, StringConstraints(strict=True, pattern=r"^[0-9a-f]{64}$")]

#: Token of an invite link.
InviteToken = Annotated[str, StringConstraints(strict=True, pattern=r"^[A-Za-z0-9_-]{32}$")]
#: Id of an uploaded file.
FileId = Annotated[str, StringConstraints(strict=True, min_length=1, max_length=MAX_ID_CHARS, pattern=TURN_ID)]

#: Text of a message in a request that may have files instead.
NewCaption = Annotated[
    str,
    StringConstraints(strict=True, max_length=MAX_CONTENT_CHARS, pattern=r"^[^\u0000]*$"),
    AfterValidator(lambda value: value and _visible(value)),
    Field(
        json_schema_extra={"pattern": rf"^([\u0001-\u001f\u007f-\u009f\u2028\u2029{_BLANK}]*{_VISIBLE}[^\u0000]*)?$"}
    ),
]

# The blocks of Unicode with emoji, skin tones and flags.
_EMOJI: Final = (
    r"\u00a9\u00ae\u203c\u2049\u2122\u2139\u2190-\u21ff\u2300-\u23ff\u24c2\u25a0-\u27bf\u2900-\u297f\u2b00-\u2bff"
    "\u3030\u303d\u3297\u3299\U0001f000-\U0001faff"
)
# Joiners, variation selectors and tags follow an emoji: alone they are invisible.
_AFTER_EMOJI: Final = "\u200d\ufe0f\u20e3\U000e0020-\U000e007f"
#: One emoji, which may consist of several characters; or a keycap.
Emoji = Annotated[
    str,
    StringConstraints(
        strict=True,
        min_length=1,
        max_length=32,
        pattern=rf"^([#*0-9]\ufe0f?\u20e3|[{_EMOJI}][{_EMOJI}{_AFTER_EMOJI}]*)$",
    ),
]

#: Name of a responder; also ``module:function``.
ResponderName = Annotated[
    str, StringConstraints(strict=True, min_length=1, max_length=64, pattern=r"^[A-Za-z0-9._:-]+$")
]

#: Name of a model, as its provider spells it.
ModelName = Annotated[
    str, StringConstraints(strict=True, min_length=1, max_length=MAX_ID_CHARS, pattern=f"^{_PRINTABLE}+$")
]

#: Instructions for a model.
SystemPrompt = Annotated[str, StringConstraints(strict=True, max_length=MAX_CONTENT_CHARS, pattern=r"^[^\u0000]*$")]

#: Title of a chat in a request: one line.
NewTitle = Annotated[
    str,
    StringConstraints(strict=True, max_length=MAX_TITLE_CHARS, pattern=f"^{_PRINTABLE}*$"),
    AfterValidator(_visible),
    Field(json_schema_extra={"pattern": f"^[{_BLANK}]*{_VISIBLE}{_PRINTABLE}*$"}),
]

#: Title of a chat. Stored titles may be blank, since earlier versions accepted them.
Title = Annotated[str, StringConstraints(strict=True, max_length=MAX_TITLE_CHARS)]

#: Id of a period of the database's history; opaque to clients. A restored database begins a new epoch.
Epoch = Annotated[
    str, StringConstraints(strict=True, min_length=1, max_length=MAX_EPOCH_CHARS, pattern=r"^[A-Za-z0-9._-]+$")
]

#: What a user searches for.
SearchText = Annotated[str, StringConstraints(strict=True, min_length=1, max_length=MAX_SEARCH_CHARS)]


def _whole(value: object) -> object:
    """An integer for a number without a fraction, such as ``1.0``: the same in JSON Schema and in JavaScript."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


#: Follows the limits of an integer in a body.
WHOLE: Final = BeforeValidator(_whole)

#: Position of an event in its chat, from 1; 0 is the position before the first event.
Seq = Annotated[int, Field(strict=True, ge=0, le=MAX_SEQ)]


def format_time(value: datetime) -> str:
    """RFC 3339 in UTC with milliseconds and ``Z``, the format of JavaScript's ``Date.toISOString``.

    Args:
        value: An aware datetime; it is truncated to milliseconds.
    """
    return value.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


#: A time in the format of `format_time`.
Timestamp = Annotated[
    datetime,
    PlainSerializer(format_time, return_type=str, when_used="json"),
    WithJsonSchema({"type": "string", "format": "date-time"}),
]
