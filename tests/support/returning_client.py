"""A client of connection state recovery, over connections without a network."""

from __future__ import annotations

import json
from typing import Any

from roomcast.realtime import RecoveryOptions, Server, ServerOptions


def make(observer: Any = None, **options: Any) -> Server:
    return Server(ServerOptions(recovery=RecoveryOptions(**options)), observer=observer)


class Returning:
    """A client that behaves like the official one: keeps its pid, and the last string last argument as its offset."""

    def __init__(self, peer: Any, settle: Any, server: Server) -> None:
        self._peer, self._settle, self._server = peer, settle, server
        self.pid: str | None = None
        self.offset: str | None = None
        self.sid = ""
        self.recovered = False
        self.events: list[list[Any]] = []
        self.current: Any = None

    async def connect(self, namespace: str = "/", **auth: Any) -> list[list[Any]]:
        """Returns the events that came before the CONNECT packet."""
        head = "40" if namespace == "/" else f"40{namespace},"
        if self.pid is not None:
            auth = {"pid": self.pid, **({} if self.offset is None else {"offset": self.offset}), **auth}
        self.current = self._peer(self._server)
        self.current.say(head + (json.dumps(auth) if auth else ""))
        await self._settle(30)
        before = self.read(buffered=True)
        self.events += before
        return before

    def read(self, *, buffered: bool = False) -> list[list[Any]]:
        got: list[list[Any]] = []
        for text in self.current.transport.texts:
            start = next(i for i, char in enumerate(text) if char in "[{")
            data = json.loads(text[start:])
            if text.startswith("40"):
                self.recovered = data["pid"] == self.pid
                self.sid, self.pid = data["sid"], data["pid"]
                if buffered:
                    before, got = got, []
                    self._take(before)
                    rest_follows = before
                continue
            assert text.startswith(("42", "44", "45")), text
            got.append(data)
        self.current.transport.messages.clear()
        self._take(got)
        if buffered:
            self.after = got
            return rest_follows
        self.events += got
        return got

    def _take(self, events: list[list[Any]]) -> None:
        for event in events:
            if isinstance(event[-1], str):
                self.offset = event[-1]

    async def cut(self) -> None:
        self.current.connection.transport_closed()
        await self._settle()


def names(events: list[list[Any]]) -> list[Any]:
    return [event[0] for event in events]
