"""The presence board in Redis: one hash per chat, with a field for each pair of gateway and user.

The hash expires as a whole; each gateway with users in the chat renews its TTL when it writes its entries again. The
hash also holds a random epoch: if Redis loses the entries, it loses the epoch as well, and the next script sets a new
one.

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

from roomcast.chat.ports import BoardSnapshot, PresenceUnavailable
from roomcast.contract.text import QualifiedId
from roomcast.redis_client import Commands, Outcome, RedisUnavailable, Script, load_script, tagged

logger = logging.getLogger(__name__)

_PACKAGE: Final = "roomcast.presence"
_ADD: Final[Script] = load_script(_PACKAGE, "add", "board")
_REMOVE: Final[Script] = load_script(_PACKAGE, "remove", "board")
_READ: Final[Script] = load_script(_PACKAGE, "read", "board")
# Lua's `unpack` fails beyond about 8,000 values, and Redis is blocked while a script runs.
_FIELDS_PER_CALL: Final = 256
_NODE_ID_CHARS: Final = 8
# Shorter than a node id, so it cannot be an entry.
_EPOCH_FIELD: Final = b"epoch"
_USER_ID: Final[TypeAdapter[str]] = TypeAdapter(QualifiedId)


@dataclass(frozen=True, slots=True, kw_only=True)
class RedisPresenceOptions:
    """Limits of a board.

    Attributes:
        prefix: Prefix of every key, the same as the log's.
        ttl_s: Seconds until a chat's entries expire after the last write, and until `BoardSnapshot.partial` becomes
            False after the last refusal. Must be several times `gateway.presence.state.PresenceOptions.sweep_s`.
        max_entries: Maximum number of entries per chat. Gateways learn of further users through signals only.
    """

    prefix: str = "roomcast"
    ttl_s: float = 120.0
    max_entries: int = 5_000


class RedisPresenceBoard:
    """A `chat.ports.PresenceBoard` in Redis.

    Args:
        commands: Runs the scripts; the caller closes it.
        node_id: The gateway whose entries `add` and `remove` change.
        options: Limits.

    Attributes:
        counters: Totals of ``refused`` entries (the board was full) and ``malformed`` entries, which are ignored.
        outcome: Whether Redis runs the scripts.
    """

    def __init__(self, commands: Commands, node_id: str, options: RedisPresenceOptions | None = None) -> None:
        self._commands = commands
        self._node_id = node_id
        self._options = options or RedisPresenceOptions()
        self._limits = (self._options.max_entries, round(self._options.ttl_s * 1_000))
        self.counters: Counter[str] = Counter()
        self.outcome = Outcome("presence board", "presence shows the users of this gateway, and signals of others")

    async def add(self, chat_id: str, users: Collection[str]) -> None:
        """See the port."""
        for fields in _batches(self._node_id, users):
            refused = await self._run(_ADD, chat_id, fields)
            if refused:
                self._count("refused", int(refused))

    async def remove(self, chat_id: str, users: Collection[str]) -> None:
        """See the port."""
        await self.evict(chat_id, self._node_id, users)

    async def read(self, chat_id: str) -> BoardSnapshot:
        """See the port."""
        users: dict[str, set[str]] = {}
        epoch, partial, fields = await self._run(_READ, chat_id, ())
        for field in fields:
            if field == _EPOCH_FIELD:
                continue
            try:
                text = field.decode()
                user = _USER_ID.validate_python(text[_NODE_ID_CHARS:])
            except ValueError:  # not UTF-8, or not a user id
                self._count("malformed", 1)
                continue
            users.setdefault(text[:_NODE_ID_CHARS], set()).add(user)
        return BoardSnapshot(users, epoch.decode(errors="replace"), partial=bool(partial))

    async def evict(self, chat_id: str, node_id: str, users: Collection[str]) -> None:
        """See the port."""
        for fields in _batches(node_id, users):
            await self._run(_REMOVE, chat_id, fields)

    async def _run(self, script: Script, chat_id: str, fields: Sequence[str]) -> Any:
        key = f"{tagged(self._options.prefix, chat_id)}:here"
        args: tuple[str | float, ...] = (*self._limits, secrets.token_hex(8), *fields)
        try:
            answer = await self._commands.run(script, [key, f"{key}-full"], args)
        except RedisUnavailable as error:
            self.outcome.fail(error)
            raise PresenceUnavailable(str(error)) from error
        self.outcome.succeed()
        return answer

    def _count(self, outcome: str, number: int) -> None:
        self.counters[outcome] += number
        if self.counters[outcome] == number:
            logger.warning("presence board entries ignored", extra={"reason": outcome})


def _batches(node_id: str, users: Collection[str]) -> Iterator[list[str]]:
    source = iter(users)
    while batch := [node_id + user for user in islice(source, _FIELDS_PER_CALL)]:
        yield batch
