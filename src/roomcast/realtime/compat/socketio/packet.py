"""The packet class of the installed python-socketio, from which ``serializer=`` classes derive."""

from typing import Any, Final

from roomcast.realtime.compat.python_client import load

Packet: Final[Any] = load("packet.Packet")
