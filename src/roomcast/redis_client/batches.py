"""Calls of one script that share writes to the server: fewer round trips, and less processor time for each call.

Layer: redis_client.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, Final

from roomcast.redis_client.commands import Commands, ScriptCall
from roomcast.redis_client.errors import RedisUnavailable
from roomcast.redis_client.scripts import Script

#: Calls in one write. It bounds the bytes of a write and the time until its first answer is returned.
MAX_BATCH: Final = 64


class ScriptBatches:
    """Runs a script. Calls that arrive while a batch is in flight form the next batch; a call alone does not wait.

    In a cluster every call is sent alone, so that a failed node holds up no call to another node.

    Args:
        commands: Sends the batches.
        script: The script.
    """

    def __init__(self, commands: Commands, script: Script) -> None:
        self._commands = commands
        self._script = script
        self._waiting: list[tuple[ScriptCall, asyncio.Future[Any]]] = []
        self._sending: asyncio.Task[None] | None = None

    async def run(self, keys: Sequence[str], args: Sequence[str | bytes | float]) -> Any:
        """See `Commands.run`. If the caller is cancelled, the call may still be sent, and the others are."""
        if self._commands.clustered:
            return await self._commands.run(self._script, keys, args)
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._waiting.append(((keys, args), answer))
        if self._sending is None:
            self._sending = asyncio.create_task(self._send(), name="batches of a script")
        return await answer

    async def _send(self) -> None:
        try:
            while self._waiting:
                batch, self._waiting = self._waiting[:MAX_BATCH], self._waiting[MAX_BATCH:]
                batch = [(call, answer) for call, answer in batch if not answer.done()]
                try:
                    results = await self._commands.run_many(self._script, [call for call, _ in batch])
                except Exception as error:  # noqa: BLE001 - the callers raise it
                    results = [error] * len(batch)
                except asyncio.CancelledError:
                    self._waiting += batch
                    raise
                for (_, answer), result in zip(batch, results, strict=True):
                    _settle(answer, result)
        finally:
            # The list is empty unless the process stops.
            for _, answer in self._waiting:
                _settle(answer, RedisUnavailable("the process stops"))
            self._waiting, self._sending = [], None


def _settle(answer: asyncio.Future[Any], result: Any) -> None:
    if answer.done():
        return  # its caller was cancelled
    if isinstance(result, Exception):
        answer.set_exception(result)
    else:
        answer.set_result(result)
