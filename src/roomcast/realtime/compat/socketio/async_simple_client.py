"""The simple client of the installed python-socketio."""

from typing import Any, Final

from roomcast.realtime.compat.python_client import load

AsyncSimpleClient: Final[Any] = load("AsyncSimpleClient")
