"""The contents of uploaded files.

Layer: chat. Contract suite: tests/contract/test_files.py.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class ContentHeaders:
    """The headers with which a bucket serves a content to browsers.

    Attributes:
        type: ``Content-Type``.
        disposition: ``Content-Disposition``.
    """

    type: str
    disposition: str


class FileContents(Protocol):
    """Contents by key. Every method may raise `FilesUnavailable`.

    A key has letters, digits, ``-``, ``_`` and ``.``, and ``/`` between its parts, of which none begins with a dot.
    """

    async def put(self, key: str, chunks: AsyncIterator[bytes], headers: ContentHeaders) -> None:
        """Store a content, whole or not at all. An error of ``chunks`` is raised, and nothing is stored.

        Args:
            key: See above.
            chunks: The content, of which a few MiB are held in memory.
            headers: For downloads from `signed_url`.
        """

    async def get(self, key: str, start: int, end: int) -> AsyncIterator[bytes]:
        """The bytes from ``start`` to before ``end``, which is greater, in chunks.

        Raises:
            FileNotFoundError: there is no such content.
        """

    async def delete(self, key: str) -> None:
        """Delete a content; it need not exist."""

    async def signed_url(self, key: str, expires_in_s: int) -> str | None:
        """A URL that serves the content without credentials for this time; None if the store signs none."""
