"""Names of keys and channels that belong to a chat.

The chat id stands encoded inside a hash tag, so that all that belongs to a chat shares a slot of a cluster, and no id
can reach into another name.

Layer: redis_client. Source: Redis Cluster specification, "Hash tags".
"""

from __future__ import annotations

from typing import Final
from urllib.parse import quote

# Everything else is percent-encoded: braces would end the tag, spaces and controls would spoil logs.
_PLAIN: Final = "-._~@:"


def tagged(prefix: str, chat_id: str) -> str:
    """How every name of a chat begins."""
    return f"{prefix}:{{{quote(chat_id, safe=_PLAIN, errors='surrogatepass')}}}"
