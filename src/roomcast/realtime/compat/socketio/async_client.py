"""The client of the installed python-socketio."""

from typing import Any, Final

from roomcast.realtime.compat.python_client import load

AsyncClient: Final[Any] = load("AsyncClient")
