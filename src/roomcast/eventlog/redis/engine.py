"""The log's commands: what goes wrong is the log's own error.

Layer: eventlog.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from roomcast.chat.ports import LogUnavailable
from roomcast.redis_client import Commands, Placement, RedisUnavailable, Script


class Engine(Commands):
    """`redis_client.Commands` that raises `LogUnavailable`."""

    async def run(self, script: Script, keys: Sequence[str], args: Sequence[str | bytes | float]) -> Any:
        """See `Commands.run`.

        Raises:
            LogUnavailable: it failed, or took more than ``command_timeout_s``.
        """
        try:
            return await super().run(script, keys, args)
        except RedisUnavailable as error:
            raise LogUnavailable(str(error)) from error

    async def locate(self) -> Placement:
        """See `Commands.locate`.

        Raises:
            LogUnavailable: nobody answered.
        """
        try:
            return await super().locate()
        except RedisUnavailable as error:
            raise LogUnavailable(str(error)) from error
