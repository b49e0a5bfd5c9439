"""Parses a stream of server-sent events. Sans-I/O: bytes in, the data of each event out.

Layer: responders. Source: HTML, "Server-sent events", "Interpreting an event stream".
"""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from typing import Final

#: A longer line or event ends the stream: a provider must not fill the memory.
MAX_EVENT_CHARS: Final = 1_048_576


class EventTooLong(Exception):
    """A line or an event has more than `MAX_EVENT_CHARS` characters."""


class EventParser:
    """Parses the events of one response. Only ``data`` is used: names, ids and ``retry`` are ignored."""

    def __init__(self) -> None:
        # Not utf-8-sig, which would also remove the byte order mark of an empty first chunk's successor.
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._at_start = True
        self._after_cr = False
        self._line: list[str] = []
        self._line_chars = 0
        self._data: list[str] = []
        self._data_chars = 0

    def feed(self, received: bytes) -> Iterator[str]:
        """Yield the data of each event that is complete.

        Raises:
            EventTooLong: a line or an event is too long.
        """
        text = self._decoder.decode(received)
        if self._at_start and text:
            self._at_start = False
            text = text.removeprefix("\ufeff")
        if self._after_cr and text:
            self._after_cr = False
            text = text.removeprefix("\n")
        self._after_cr = self._after_cr or text.endswith("\r")
        *lines, rest = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
        for line in lines:
            self._add(line)
            whole = "".join(self._line)
            self._line, self._line_chars = [], 0
            if (event := self._end_line(whole)) is not None:
                yield event
        self._add(rest)

    def _add(self, piece: str) -> None:
        self._line_chars += len(piece)
        if self._line_chars + self._data_chars > MAX_EVENT_CHARS:
            raise EventTooLong(f"an event has more than {MAX_EVENT_CHARS} characters")
        if piece:
            self._line.append(piece)

    def _end_line(self, line: str) -> str | None:
        """Process one line; return the data of the event that it ends."""
        if not line:
            data, self._data, self._data_chars = self._data, [], 0
            return "\n".join(data) if data else None
        name, _, value = line.partition(":")
        if name == "data":
            value = value.removeprefix(" ")
            self._data.append(value)
            self._data_chars += len(value) + 1
        return None
