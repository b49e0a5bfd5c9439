"""Names of the keys and channels of a chat.

The chat id is encoded inside a hash tag, so that all keys and channels of a chat share a cluster slot, and no id can
change another part of a name.

Layer: redis_client. Source: Redis Cluster specification, "Hash tags".
"""

from __future__ import annotations

from typing import Final
from urllib.parse import quote

# Other characters, except letters and digits, are percent-encoded: braces would end the tag, and spaces and control
# characters would garble logs.
_PLAIN: Final = "-._~@:"


def tagged(prefix: str, chat_id: str) -> str:
    """The beginning of every key and channel name of a chat: the prefix and the hash tag."""
    return f"{prefix}:{{{quote(chat_id, safe=_PLAIN, errors='surrogatepass')}}}"
