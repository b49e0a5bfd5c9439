"""What managers of processes without clients do: each call is a command for all servers.

Layer: realtime.compat. Source: python-socketio 5.18, ``pubsub_manager``.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

from roomcast.realtime.cluster.commands import Broadcast, Command, Disconnect, Join, Leave, Selection, room_names
from roomcast.realtime.compat.json_module import JsonWriter

_DEFAULT = "/"


class WriteOnly:
    """Methods of `AsyncServer`, with its arguments, that return what ``publish`` returns.

    Args:
        publish: Sends a command.
        writer: Writes the arguments of events.
    """

    def __init__(self, publish: Callable[[Command], Any], writer: JsonWriter) -> None:
        self._publish = publish
        self._writer = writer

    def emit(
        self,
        event: str,
        data: Any,
        to: Any,
        room: Any,
        skip_sid: str | Collection[str] | None,
        namespace: str | None,
        callback: Any,
        _ignore_queue: bool = False,
    ) -> Any:
        """Emit an event.

        Raises:
            RuntimeError: a callback, which needs a server.
            EncodeError: the data cannot be encoded.
            TypeError: a room is not a string.
        """
        if callback is not None:
            raise RuntimeError("Callbacks can only be issued from the context of a server.")
        args = () if data is None else data if isinstance(data, tuple) else (data,)
        target = room if to is None else to
        rooms = None if target is None else _names(target)
        selection = Selection(namespace or _DEFAULT, rooms, _names(skip_sid or ()))
        return self._publish(Broadcast(selection, self._writer.event(event, args)))

    def disconnect(self, sid: str, namespace: str | None, _ignore_queue: bool = False) -> Any:
        """Disconnect a client."""
        return self._publish(Disconnect(Selection(namespace or _DEFAULT, _names(sid))))

    def enter_room(self, sid: str, room: Any, namespace: str | None) -> Any:
        """Add a client to a room."""
        return self._publish(Join(Selection(namespace or _DEFAULT, _names(sid)), _names(room)))

    def leave_room(self, sid: str, room: Any, namespace: str | None) -> Any:
        """Remove a client from a room."""
        return self._publish(Leave(Selection(namespace or _DEFAULT, _names(sid)), _names(room)))

    def close_room(self, room: Any, namespace: str | None) -> Any:
        """Remove all members from a room."""
        return self._publish(Leave(Selection(namespace or _DEFAULT, _names(room)), _names(room)))


def _names(rooms: Any) -> tuple[str, ...]:
    return room_names(rooms, alone=False)
