"""Which files may be uploaded, how they are served, and what is counted.

Layer: chat.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final

from roomcast.contract.tenants import tenant_of

#: How long a file may wait to be sent.
UNSENT_FOR: Final = timedelta(days=1)
THUMBNAIL_TYPE: Final = "image/webp"
MAX_THUMBNAIL_BYTES: Final = 2_000_000
#: The outcomes of uploads that `FileCounters` counts.
OUTCOMES: Final = ("stored", "too-large", "type", "limit", "failed")


@dataclass(frozen=True, slots=True)
class FileOptions:
    """Which files may be uploaded, and how they are served.

    Attributes:
        max_bytes: Maximum size of a file.
        max_unsent_bytes: Maximum total size of the files of a user that no message has.
        max_user_bytes: Maximum total size of all files of a user.
        types: Accepted media types, such as ``image/*``; None: any.
        redirects: Whether downloads are redirected to the bucket if it signs links.
        max_prompt_bytes: Maximum total size of the images that a model receives with a prompt; 0: it receives no files.
    """

    max_bytes: int = 25_000_000
    max_unsent_bytes: int = 250_000_000
    max_user_bytes: int = 5_000_000_000
    types: tuple[str, ...] | None = None
    redirects: bool = True
    # In Base64 they have a third more.
    max_prompt_bytes: int = 4_000_000


@dataclass(slots=True)
class FileCounters:
    """What a process counts.

    Attributes:
        uploads: Uploads by outcome.
        stored_bytes: Total size of the stored files.
        removed: Files whose contents were deleted.
    """

    uploads: Counter[str] = field(default_factory=Counter)
    stored_bytes: int = 0
    removed: int = 0


def key_of(chat_id: str, file_id: str) -> str:
    """The key of a content. Each tenant has a folder, whatever its name: it may be a dot, or nothing."""
    return f"tenant-{tenant_of(chat_id)}/{file_id}"


def thumbnail_of(chat_id: str, file_id: str) -> str:
    """The key of a thumbnail."""
    return f"{key_of(chat_id, file_id)}.thumbnail"
