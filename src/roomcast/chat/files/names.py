"""The name and the type of an uploaded file. The name is cleaned, and the type follows from the content.

Layer: chat. Source: WHATWG MIME Sniffing, "Matching an image type pattern"; Unicode UAX 9 (bidirectional controls);
RFC 6266 and RFC 8187 (names of downloads).
"""

from __future__ import annotations

import re
import unicodedata
from typing import Final
from urllib.parse import quote

MAX_NAME_CHARS: Final = 120
_MAX_ENDING: Final = 10
#: Bytes of a content that determine its type.
HEAD_BYTES: Final = 262_144
#: Types that browsers show and never run as a document of this site. Every other file is downloaded.
INLINE_TYPES: Final = frozenset({"image/png", "image/jpeg", "image/gif", "image/webp"})

_SIGNATURES: Final = (
    (re.compile(rb"\x89PNG\r\n\x1a\n"), "image/png"),
    (re.compile(rb"\xff\xd8\xff"), "image/jpeg"),
    (re.compile(rb"GIF8[79]a"), "image/gif"),
    (re.compile(rb"RIFF....WEBP", re.DOTALL), "image/webp"),
    (re.compile(rb"RIFF....WAVE", re.DOTALL), "audio/wav"),
    (re.compile(rb"%PDF-"), "application/pdf"),
    (re.compile(rb"....ftyp(heic|mif1|avif)", re.DOTALL), "image/heif"),
    (re.compile(rb"....ftypM4A", re.DOTALL), "audio/mp4"),
    (re.compile(rb"....ftyp", re.DOTALL), "video/mp4"),
    (re.compile(rb"\x1a\x45\xdf\xa3"), "video/webm"),
    (re.compile(rb"OggS"), "audio/ogg"),
    (re.compile(rb"fLaC"), "audio/flac"),
    (re.compile(rb"ID3|\xff[\xfb\xf3\xf2]"), "audio/mpeg"),
    (re.compile(rb"PK\x03\x04"), "application/zip"),
    (re.compile(rb"\x1f\x8b"), "application/gzip"),
)
_MARKUP: Final = re.compile(r"\s*(?:<\?xml|<!--|<!doctype|<svg|<html|<head|<body|<script)", re.IGNORECASE)
_OFFICE: Final = "application/vnd.openxmlformats-officedocument."
#: What a name's ending says about a type that has several uses.
_ENDINGS: Final = {
    "application/zip": {
        "docx": _OFFICE + "wordprocessingml.document",
        "xlsx": _OFFICE + "spreadsheetml.sheet",
        "pptx": _OFFICE + "presentationml.presentation",
    },
    "text/plain": {"md": "text/markdown", "csv": "text/csv", "json": "application/json"},
}


def media_type(head: bytes, name: str) -> str:
    """The type of a content: of a known signature, of text, or ``application/octet-stream``.

    Args:
        head: Its first bytes, at most `HEAD_BYTES`.
        name: Its name, whose ending chooses between types with the same signature.
    """
    found = next((kind for signature, kind in _SIGNATURES if signature.match(head)), None) or _text_type(head)
    return _ENDINGS.get(found, {}).get(name.rpartition(".")[2].lower(), found)


def _text_type(head: bytes) -> str:
    try:
        text = head.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        # The last character may be cut.
        if len(head) < HEAD_BYTES or error.start < len(head) - 4:
            return "application/octet-stream"
        text = head[: error.start].decode("utf-8-sig")
    if any(character < " " and character not in "\t\n\r\f\x1b" for character in text):
        return "application/octet-stream"
    if not _MARKUP.match(text):
        return "text/plain"
    return "image/svg+xml" if "<svg" in text.lower() else "text/html"


def accepts(accepted: tuple[str, ...] | None, kind: str) -> bool:
    """Whether a type is one of those accepted, such as ``image/*`` and ``application/pdf``; None: any."""
    return accepted is None or any(
        kind == one or (one.endswith("/*") and kind.startswith(one.removesuffix("*"))) for one in accepted
    )


def clean_name(name: str) -> str:
    """A name for people: without path, control characters and bidirectional controls, at most `MAX_NAME_CHARS`."""
    last = re.split(r"[/\\]", unicodedata.normalize("NFC", name))[-1]
    # Cf contains the bidirectional controls, and other characters that show nothing.
    shown = "".join(one for one in last if unicodedata.category(one) not in {"Cc", "Cf", "Cs", "Co", "Zl", "Zp"})
    shown = " ".join(shown.split()).strip(". ")
    stem, dot, ending = shown.rpartition(".")
    if dot and len(ending) <= _MAX_ENDING:
        return f"{stem[: MAX_NAME_CHARS - len(ending) - 1]}.{ending}"
    return shown[:MAX_NAME_CHARS] or "file"


def disposition(name: str, kind: str) -> str:
    """The header ``Content-Disposition`` of a file: browsers show `INLINE_TYPES`, and save the others."""
    how = "inline" if kind in INLINE_TYPES else "attachment"
    return f"{how}; filename*=UTF-8''{quote(name, safe='')}"
