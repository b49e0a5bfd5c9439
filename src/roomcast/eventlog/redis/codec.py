r"""Byte format of the log's records and messages.

A record holds one entry: a header line and the argument array, which is not decoded::

    <version> SP <seq> SP <trace or "-"> LF <args>

A frame is a message with the records that one append added, in order; ``lua/extend.lua`` builds it::

    "RC1" SP <epoch> SP <bytes of record 1> SP <bytes of record 2> … LF <record 1><record 2>…

A signal is a message that is not stored::

    "RS1" LF <payload>

``RC1`` is the version of the frame format; each record has the version of its entry. In every version, a record starts
with the version and the seq, so that an older reader knows the seq of an entry that it cannot decode. Any client of the
Redis server can write these bytes, so everything is checked: invalid input raises `Malformed`.

Layer: eventlog.
"""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import quote, unquote_to_bytes

from roomcast.chat.ports import LOG_ENTRY_VERSION, MAX_SIGNAL_BYTES, LogEntry

#: Version of a record whose entry was too large, so that its arguments were left out; readers get only its seq.
CUT_ENTRY_VERSION: Final = 0

_FRAME_VERSION: Final = b"RC1"
_SIGNAL: Final = b"RS1\n"
# Above the longest possible header (version, seq, trace).
_MAX_RECORD_HEADER_BYTES: Final = 256
# Enough for the epoch and 4096 sizes of at most 8 digits.
_MAX_FRAME_HEADER_BYTES: Final = 40_000
_VERSION_BYTES: Final = len(b"%d " % LOG_ENTRY_VERSION)
# Lua's numbers are doubles: larger integers are not exact.
_MAX_SEQ: Final = 2**53
_NUMBER: Final = re.compile(rb"[0-9]{1,16}")
_TRACE: Final = re.compile(r"[!-~]{2,128}|[!-,.-~]")  # printable ASCII, but not a bare "-"
_EPOCH: Final = re.compile(rb"[A-Za-z0-9._~%-]{1,256}")
# One record of this version, and an epoch without escapes.
_ONE_RECORD: Final = re.compile(
    rb"RC1 ([A-Za-z0-9._~-]{1,256}) ([0-9]{1,16})\n%d ([1-9][0-9]{0,14}) (?:-|([!-~]{2,128}))\n(?=\[)"
    % LOG_ENTRY_VERSION
)


class Malformed(Exception):
    """The bytes do not have this format. ``reason`` is a short constant, usable as a metrics label."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def encode_epoch(epoch: str) -> bytes:
    """Encode an epoch as one ASCII word."""
    return quote(epoch, safe="-._~").encode()


def decode_epoch(word: bytes) -> str:
    """Decode an epoch.

    Raises:
        Malformed: the bytes are not an encoded epoch.
    """
    if not _EPOCH.fullmatch(word):
        raise Malformed("epoch")
    try:
        return unquote_to_bytes(word).decode()
    except UnicodeDecodeError:
        raise Malformed("epoch") from None


def encode_record(entry: LogEntry, max_bytes: int) -> bytes:
    """Encode an entry in at most ``max_bytes``; if it is larger, its arguments are left out (`CUT_ENTRY_VERSION`).

    A trace that is not a printable word is dropped.
    """
    trace = entry.trace if entry.trace is not None and _TRACE.fullmatch(entry.trace) else "-"
    if len(entry.args) + _MAX_RECORD_HEADER_BYTES > max_bytes:
        return b"%d %d %b\n" % (CUT_ENTRY_VERSION, entry.seq, trace.encode())
    return b"%d %d %b\n%b" % (entry.version, entry.seq, trace.encode(), entry.args)


def decode_record(record: bytes) -> LogEntry:
    """Decode a record. The entry of an unknown version is returned without arguments.

    Raises:
        Malformed: the bytes are not a record.
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
    # Checked only so far that it can be sent as text: the writer ensures that it is valid JSON.
    if args[:1] != b"[" or args[-1:] != b"]":
        raise Malformed("arguments")
    if not (_is_text(args) and fields[2].isascii()):
        raise Malformed("encoding")
    trace = fields[2].decode()
    if trace != "-" and not _TRACE.fullmatch(trace):
        raise Malformed("trace")
    return LogEntry(seq, args, None if trace == "-" else trace, version)


def encode_signal(payload: bytes) -> bytes:
    """Encode a signal."""
    return _SIGNAL + payload


def decode_signal(frame: bytes) -> bytes | None:
    """The payload of a signal; None: the message is not a signal.

    Raises:
        Malformed: the signal is too large.
    """
    if not frame.startswith(_SIGNAL):
        return None
    if len(frame) > len(_SIGNAL) + MAX_SIGNAL_BYTES:
        raise Malformed("signal size")
    return frame[len(_SIGNAL) :]


def decode_frame(frame: bytes) -> tuple[str, list[LogEntry]]:
    """Decode the epoch and the entries of a frame: at least one, with contiguous seqs.

    Raises:
        Malformed: the bytes are not a frame, or the frame has an unknown version.
    """
    return decode_short_frame(frame) or decode_any_frame(frame)


def decode_short_frame(frame: bytes) -> tuple[str, list[LogEntry]] | None:
    """Decode nearly every frame, at a third of the cost; None: `decode_any_frame` decodes it or names the error."""
    one = _ONE_RECORD.match(frame)
    if one is None:
        return None
    epoch, size, seq, trace = one.groups()
    args = frame[one.end() :]
    if int(size) != len(frame) - one.start(3) + _VERSION_BYTES or not args.endswith(b"]") or not _is_text(args):
        return None
    return epoch.decode(), [LogEntry(int(seq), args, None if trace is None else trace.decode())]


def decode_any_frame(frame: bytes) -> tuple[str, list[LogEntry]]:
    """See `decode_frame`."""
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


def _is_text(data: bytes) -> bool:
    if data.isascii():
        return True
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def _number(digits: bytes) -> int:
    if not _NUMBER.fullmatch(digits):
        raise Malformed("number")
    return int(digits)
