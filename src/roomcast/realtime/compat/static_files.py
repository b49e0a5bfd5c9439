"""The files of ``ASGIApp(static_files=…)``: which file a path means.

Layer: realtime.compat. Source: python-engineio 4.15, ``static_files``, for the rules.
"""

from __future__ import annotations

import mimetypes
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

#: Files and directories by path: a file name, or ``{"filename": …, "content_type": …}``. A value that ends with ``/``
#: is a directory; its index is ``index.html``, or the value of the path ``""``.
StaticFiles: TypeAlias = Mapping[str, str | Mapping[str, str]]

_INDEX = "index.html"


@dataclass(frozen=True, slots=True)
class StaticFile:
    """A file that exists.

    Attributes:
        path: Where it is.
        content_type: Its media type.
    """

    path: Path
    content_type: str


def find_static_file(path: str, files: StaticFiles) -> StaticFile | None:
    """The file for the path of a request; None: there is none, or it is outside of its directory."""
    prefix, rest = path, ""
    while prefix not in files and prefix + "/" not in files:
        if not prefix:
            return None
        prefix, _, name = prefix.rpartition("/")
        rest = f"/{name}{rest}"
    name, content_type = _parts(files[prefix] if prefix in files else files[prefix + "/"])
    root = Path(name)
    target = Path(name + rest) if not rest.startswith("/") else root / rest[1:]
    if (name + rest).endswith("/"):
        index, content_type = _parts(files.get("", _INDEX))
        target /= index
    try:
        found = target.resolve().is_relative_to(root.resolve()) and target.is_file()
    except (OSError, ValueError):  # a name that is too long, or has a null byte
        found = False
    if not found:
        return None
    return StaticFile(target, content_type or mimetypes.guess_type(target.name)[0] or "application/octet-stream")


def _parts(value: str | Mapping[str, str]) -> tuple[str, str | None]:
    return (value, None) if isinstance(value, str) else (value["filename"], value.get("content_type"))
