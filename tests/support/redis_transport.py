"""A transport for `RedisConnection`s, so that a test can play the server."""

from __future__ import annotations

import asyncio


class RedisTransport(asyncio.Transport):
    """Keeps what is written; as on a real loop, the protocol learns of an abort in the next turn."""

    def __init__(self, protocol: asyncio.Protocol) -> None:
        super().__init__()
        self.written = b""
        self._protocol = protocol
        self._closing = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written += bytes(data)

    def is_closing(self) -> bool:
        return self._closing

    def abort(self) -> None:
        self._closing = True
        asyncio.get_running_loop().call_soon(self._protocol.connection_lost, None)

    def commands(self) -> list[list[str]]:
        """The commands that were written since the last call, as words."""
        found: list[list[str]] = []
        lines = self.written.decode().split("\r\n")
        self.written = b""
        for line in lines:
            if line.startswith("*"):
                found.append([])
            elif line and not line.startswith("$"):
                found[-1].append(line)
        return found


def resp_array(*words: str | int) -> bytes:
    """An array reply of bulk strings and integers."""
    parts = (f":{word}\r\n" if isinstance(word, int) else f"${len(word)}\r\n{word}\r\n" for word in words)
    return f"*{len(words)}\r\n{''.join(parts)}".encode()


async def two_turns() -> None:
    """Let the loop run what was scheduled, and what that scheduled."""
    await asyncio.sleep(0)
    await asyncio.sleep(0)
