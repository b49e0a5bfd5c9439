"""The board in Redis: one hash for each chat, whose fields name a gateway and a user, and a mark that it has no room.

There is no lease in it: an entry counts while its gateway's lease stands, which is one for all its users. The hash has
a time to live, which every gateway with users in the chat renews when it writes its own again.

Layer: presence.
"""

from __future__ import annotations

import logging
import secrets
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final

from pydantic import TypeAdapter

from roomcast.chat.ports import Listing, PresenceUnavailable
from roomcast.contract.text import UserId
from roomcast.redis_client import Commands, RedisUnavailable, Script, load_script, tagged

logger = logging.getLogger(__name__)

_PACKAGE: Final = "roomcast.presence"
_ENTER: Final[Script] = load_script(_PACKAGE, "enter", "board")
_LEAVE: Final[Script] = load_script(_PACKAGE, "leave", "board")
_HERE: Final[Script] = load_script(_PACKAGE, "here", "board")
#: Lua's stack ends at about 8,000; Redis serves nobody else meanwhile.
_FIELDS_PER_CALL: Final = 256
_NODE_ID_CHARS: Final = 8
# Shorter than any entry.
_EPOCH_FIELD: Final = b"epoch"
_USER_ID: Final[TypeAdapter[str]] = TypeAdapter(UserId)


@dataclass(frozen=True, slots=True, kw_only=True)
class RedisPresenceOptions:
    """How much a board keeps.

    Attributes:
        prefix: Begins every key; as the log's.
        ttl_s: How long a chat's entries last after the last gateway wrote its own, and how long a board counts as
            `Listing.partial` after it had no room; several times `gateway.presence.PresenceOptions.sweep_s`.
        max_entries: Entries of one chat. Users beyond it are known by signals only: a gateway that begins to follow the
            chat later hears of them when their own gateway compares with the board next.
    """

    prefix: str = "roomcast"
    ttl_s: float = 120.0
    max_entries: int = 5_000


class RedisPresenceBoard:
    """A `chat.ports.PresenceBoard` in Redis.

    Args:
        commands: The way to Redis; its life is the caller's.
        node_id: Whose entries `enter` and `leave` change.
        options: Bounds.

    Attributes:
        counters: ``refused`` entries for which a chat had no room, ``malformed`` ones that were passed over.
    """

    def __init__(self, commands: Commands, node_id: str, options: RedisPresenceOptions | None = None) -> None:
        self._commands = commands
        self._node_id = node_id
        self._options = options or RedisPresenceOptions()
        self._bounds = (self._options.max_entries, round(self._options.ttl_s * 1_000))
        self.counters: Counter[str] = Counter()

    async def enter(self, chat_id: str, users: Collection[str]) -> None:
        """See the port."""
        for fields in _portions(self._node_id, users):
            refused = await self._run(_ENTER, chat_id, fields)
            if refused:
                self._count("refused", int(refused))

    async def leave(self, chat_id: str, users: Collection[str]) -> None:
        """See the port."""
        await self.forget(chat_id, self._node_id, users)

    async def here(self, chat_id: str) -> Listing:
        """See the port."""
        found: dict[str, set[str]] = {}
        epoch, refused, fields = await self._run(_HERE, chat_id, [])
        for field in fields:
            if field == _EPOCH_FIELD:
                continue
            try:
                text = field.decode()
                user = _USER_ID.validate_python(text[_NODE_ID_CHARS:])
            except ValueError:  # not UTF-8, or no user id
                self._count("malformed", 1)
                continue
            found.setdefault(text[:_NODE_ID_CHARS], set()).add(user)
        return Listing(found, epoch.decode(errors="replace"), partial=bool(refused))

    async def forget(self, chat_id: str, node_id: str, users: Collection[str]) -> None:
        """See the port."""
        for fields in _portions(node_id, users):
            await self._run(_LEAVE, chat_id, fields)

    async def _run(self, script: Script, chat_id: str, fields: Sequence[str]) -> Any:
        key = f"{tagged(self._options.prefix, chat_id)}:here"
        try:
            return await self._commands.run(
                script, [key, f"{key}-full"], [*self._bounds, secrets.token_hex(8), *fields]
            )
        except RedisUnavailable as error:
            raise PresenceUnavailable(str(error)) from error

    def _count(self, what: str, number: int) -> None:
        self.counters[what] += number
        if self.counters[what] == number:
            logger.warning("entries of the presence board were passed over", extra={"reason": what})


def _portions(node_id: str, users: Collection[str]) -> Iterator[list[str]]:
    source = iter(users)
    while portion := [node_id + user for user in islice(source, _FIELDS_PER_CALL)]:
        yield portion
