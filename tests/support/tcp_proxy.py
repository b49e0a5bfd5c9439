"""A TCP proxy for tests, which can cut or stall connections and connect new ones to another port."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from types import TracebackType
from typing import Self


class TcpProxy:
    """Forwards connections on a free loopback port.

    Args:
        target_port: Target of new connections; may be changed at any time.
        delay_s: Called for the delay of each chunk, in either direction; None: no delay.
    """

    def __init__(self, target_port: int, delay_s: Callable[[], float] | None = None) -> None:
        self.target_port = target_port
        self._delay_s = delay_s
        self.port = 0
        self._open = asyncio.Event()
        self._open.set()
        self._fatal: bytes | None = None
        self._server: asyncio.Server | None = None
        self._pipes: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        self.close()
        await asyncio.gather(*self._pipes, return_exceptions=True)
        await self._server.wait_closed()

    def close(self) -> None:
        """Close every connection and refuse new ones."""
        assert self._server is not None
        self._server.close()
        self.cut()

    def cut(self) -> None:
        """Close every connection."""
        for pipe in self._pipes:
            pipe.cancel()

    def stall(self) -> None:
        """Forward nothing, while all connections stay open."""
        self._open.clear()

    def resume(self) -> None:
        """End `stall`: forward what has arrived since."""
        self._open.set()

    def strand(self) -> None:
        """Forward nothing more on the present connections, which stay open, as after a sleep; new ones work."""
        self.stall()
        self._open = asyncio.Event()
        self.resume()

    def lose_answer_to(self, request: bytes) -> None:
        """Forward the next chunk that contains these bytes, and cut its connection when the answer arrives."""
        self._fatal = request

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._pipes.add(task)
        try:
            there, back = await asyncio.open_connection("127.0.0.1", self.target_port)
            last_request = asyncio.Event()
            gate = self._open
            try:
                async with asyncio.TaskGroup() as pipes:
                    pipes.create_task(self._pipe(gate, reader, back, request=last_request))
                    pipes.create_task(self._pipe(gate, there, writer, answer_to=last_request))
            finally:
                back.close()
        except (OSError, ExceptionGroup, asyncio.CancelledError):
            pass  # cut, by either side
        finally:
            writer.close()
            self._pipes.discard(task)

    async def _pipe(
        self,
        gate: asyncio.Event,
        source: asyncio.StreamReader,
        sink: asyncio.StreamWriter,
        *,
        request: asyncio.Event | None = None,
        answer_to: asyncio.Event | None = None,
    ) -> None:
        with contextlib.suppress(OSError):
            while data := await source.read(65_536):
                await gate.wait()
                if request is not None and self._fatal is not None and self._fatal in data:
                    self._fatal = None
                    request.set()
                if answer_to is not None and answer_to.is_set():
                    break
                if self._delay_s is not None:
                    await asyncio.sleep(self._delay_s())
                sink.write(data)
                await sink.drain()
        # The other direction ends with this one.
        raise ConnectionResetError
