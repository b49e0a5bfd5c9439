"""Clients by namespace and room, as python-socketio's managers have them: views of the native hubs, for reading.

Layer: realtime.compat. Source: python-socketio 5.18, ``BaseManager.rooms``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from roomcast.realtime.core.engine import Engine
from roomcast.realtime.core.hub import Hub
from roomcast.realtime.core.socket import Socket


class RoomViews(Mapping[str, Mapping[Any, Mapping[str, str]]]):
    """The rooms of each namespace that has clients."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def __getitem__(self, namespace: str) -> NamespaceView:
        """The rooms of a namespace."""
        hub = self._engine.used_hub(namespace)
        if hub is None or not hub.sockets:
            raise KeyError(namespace)
        return NamespaceView(hub)

    def __iter__(self) -> Iterator[str]:
        return (name for name in self._engine.namespaces() if self._engine.used_hub(name) is not None)

    def __len__(self) -> int:
        return sum(1 for _ in self)


class NamespaceView(Mapping[Any, Mapping[str, str]]):
    """Sids and Engine.IO session ids by room, among them each sid's own, and all clients as None.

    Clients whose ``connect`` or ``disconnect`` handler runs are listed too, as in python-socketio.
    """

    def __init__(self, hub: Hub) -> None:
        self._hub = hub

    def __getitem__(self, room: Any) -> dict[str, str]:
        """The members of a room."""
        members = {socket.sid: socket.connection.sid for socket in self._members(room)}
        if not members:
            raise KeyError(room)
        return members

    def _members(self, room: Any) -> list[Socket]:
        sockets = self._hub.sockets
        if room is None:
            return list(sockets.values())
        own = sockets.get(room)
        if own is not None:
            return [own]
        changing = [socket for socket in sockets.values() if not socket.connected and room in socket.rooms]
        return [*self._hub.members(room), *changing]

    def __iter__(self) -> Iterator[Any]:
        names: dict[Any, None] = dict.fromkeys([None, *self._hub.sockets, *self._hub.rooms])
        for socket in self._hub.sockets.values():
            if not socket.connected:
                names.update(dict.fromkeys(socket.rooms))
        return iter(names)

    def __len__(self) -> int:
        return sum(1 for _ in self)
