"""An HTTP server of the tests: a function answers each request."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from aiohttp import web


class HttpServer:
    """Listens on a port of loopback, which it keeps when it is started again."""

    def __init__(self, answer: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]) -> None:
        self.port = 0
        self._answer = answer
        self._runner: web.ServerRunner | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def connections(self) -> int:
        return 0 if self._runner is None or self._runner.server is None else len(self._runner.server.connections)

    async def start(self) -> None:
        self._runner = web.ServerRunner(web.Server(self._answer), shutdown_timeout=0.01)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port).start()
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        """Refuse connections, and cut those that are open."""
        if self._runner is not None:
            await self._runner.cleanup()
