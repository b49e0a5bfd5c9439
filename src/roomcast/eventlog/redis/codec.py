r"""Layout of what lies in the log and travels on its channels.

Record, one entry: a header line, then the argument array as it came, never decoded::

    <version> SP <seq> SP <trace or "-"> LF <args>

Frame, one message of a channel: what one append added, in order::

    "RC1" SP <epoch> SP <bytes of record 1> SP <bytes of record 2> … LF <record 1><record 2>…

A signal travels on the same channels, and is not stored::

    "RS1" LF <payload>

``RC1`` is the frame's own version; a record's version is that of its entry, and its first two fields stay where they
are for ever, so that an older reader can tell what it cannot show. Frames are built by ``lua/extend.lua``.

Whoever can write to Redis can write here, so nothing is believed: what does not parse raises `Malformed`.

Layer: eventlog.
"""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import quote, unquote_to_bytes

from roomcast.chat.ports import LOG_ENTRY_VERSION, MAX_SIGNAL_BYTES, LogEntry

#: Version of an entry that was too large to travel; no reader can frame it, every reader can tell its seq.
CUT_ENTRY_VERSION: Final = 0

_FRAME_VERSION: Final = b"RC1"
_SIGNAL: Final = b"RS1\n"
# Longer than any header that we write: version, seq, trace.
_MAX_RECORD_HEADER_BYTES: Final = 256
# 4096 sizes of at most 8 digits and the epoch.
_MAX_FRAME_HEADER_BYTES: Final = 40_000
# Seqs pass through Lua, whose numbers are doubles.
_MAX_SEQ: Final = 2**53
_NUMBER: Final = re.compile(rb"[0-9]{1,16}")
_TRACE: Final = re.compile(r"[!-~]{2,128}|[!-,.-~]")  # printable ASCII, but not a bare "-"
_EPOCH: Final = re.compile(rb"[A-Za-z0-9._~%-]{1,256}")


class Malformed(Exception):
    """Not what this module writes. ``reason`` is a short constant, fit for a counter's label."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def encode_epoch(epoch: str) -> bytes:
    """An epoch as one word of ASCII."""
    return quote(epoch, safe="-._~").encode()


def decode_epoch(word: bytes) -> str:
    """The epoch of `encode_epoch`.

    Raises:
        Malformed: it is none.
    """
    if not _EPOCH.fullmatch(word):
        raise Malformed("epoch")
    try:
        return unquote_to_bytes(word).decode()
    except UnicodeDecodeError:
        raise Malformed("epoch") from None


def encode_record(entry: LogEntry, max_bytes: int) -> bytes:
    """One entry as a record of at most ``max_bytes``; larger ones lose their arguments (`CUT_ENTRY_VERSION`).

    A trace that is no printable word is left out: tracing never costs a message.
    """
    trace = entry.trace if entry.trace is not None and _TRACE.fullmatch(entry.trace) else "-"
    if len(entry.args) + _MAX_RECORD_HEADER_BYTES > max_bytes:
        return b"%d %d %b\n" % (CUT_ENTRY_VERSION, entry.seq, trace.encode())
    return b"%d %d %b\n%b" % (entry.version, entry.seq, trace.encode(), entry.args)


def decode_record(record: bytes) -> LogEntry:
    """The entry of a record. One of another version comes without arguments.

    Raises:
        Malformed: it is none.
    """
    end = record.find(b"\n", 0, _MAX_RECORD_HEADER_BYTES)
    if end < 0:
        raise Malformed("record header")
    fields = record[:end].split(b" ")
    if len(fields) < 2:  # noqa: PLR2004 - version and seq
        raise Malformed("record header")
    version, seq = _number(fields[0]), _number(fields[1])
    if not 1 <= seq <= _MAX_SEQ:
        raise Malformed("seq")
    if version != LOG_ENTRY_VERSION:
        return LogEntry(seq, b"", None, version)
    if len(fields) != 3:  # noqa: PLR2004 - version, seq, trace
        raise Malformed("record header")
    args = record[end + 1 :]
    # Enough to know that it can be framed as text; that it is JSON is the writer's business, as everywhere.
    if args[:1] != b"[" or args[-1:] != b"]":
        raise Malformed("arguments")
    try:
        if not args.isascii():
            args.decode()
        trace = fields[2].decode("ascii")
    except UnicodeDecodeError:
        raise Malformed("encoding") from None
    if trace != "-" and not _TRACE.fullmatch(trace):
        raise Malformed("trace")
    return LogEntry(seq, args, None if trace == "-" else trace, version)


def encode_signal(payload: bytes) -> bytes:
    """A signal as it travels."""
    return _SIGNAL + payload


def decode_signal(frame: bytes) -> bytes | None:
    """The payload, if this is a signal.

    Raises:
        Malformed: it is one, and too large to be ours.
    """
    if not frame.startswith(_SIGNAL):
        return None
    if len(frame) > len(_SIGNAL) + MAX_SIGNAL_BYTES:
        raise Malformed("signal size")
    return frame[len(_SIGNAL) :]


def decode_frame(frame: bytes) -> tuple[str, list[LogEntry]]:
    """Epoch and entries of a message; at least one entry, seqs without gaps.

    Raises:
        Malformed: it is none, or of another version.
    """
    if frame[:4] != _FRAME_VERSION + b" ":
        raise Malformed("version" if re.match(rb"R(C[0-9]+ |S[0-9]+\n)", frame) else "frame header")
    end = frame.find(b"\n", 0, _MAX_FRAME_HEADER_BYTES)
    if end < 0:
        raise Malformed("frame header")
    _, epoch, *sizes = frame[:end].split(b" ")
    if not sizes:
        raise Malformed("frame header")
    entries: list[LogEntry] = []
    start = end + 1
    for size in sizes:
        stop = start + _number(size)
        if stop > len(frame):
            raise Malformed("frame size")
        entry = decode_record(frame[start:stop])
        if entries and entry.seq != entries[-1].seq + 1:
            raise Malformed("seq")
        entries.append(entry)
        start = stop
    if start != len(frame):
        raise Malformed("frame size")
    return decode_epoch(epoch), entries


def _number(digits: bytes) -> int:
    if not _NUMBER.fullmatch(digits):
        raise Malformed("number")
    return int(digits)
