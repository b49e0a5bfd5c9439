"""The clients and the packet class of the installed python-socketio.

They are loaded at their first use, from modules of their own: an application may have replaced ``socketio`` in
``sys.modules`` by `roomcast.realtime.compat.socketio`. They raise the exceptions of `exceptions`.

Layer: realtime.compat.
"""

from __future__ import annotations

import importlib
import sys
from functools import cache
from operator import attrgetter
from threading import Lock
from types import ModuleType
from typing import Any, Final

from roomcast.realtime.compat import exceptions

#: The names that are python-socketio's own.
NAMES: Final = frozenset(
    {"AsyncClient", "AsyncClientNamespace", "AsyncSimpleClient", "Client", "ClientNamespace", "SimpleClient"}
)

_PACKAGE: Final = "socketio"
_swapping: Final = Lock()


def load(name: str) -> Any:
    """A class of python-socketio, by its name in the package, such as ``AsyncClient`` or ``packet.Packet``.

    Raises:
        ImportError: python-socketio is not installed.
    """
    with _swapping:
        return attrgetter(name)(_package())


@cache
def _package() -> ModuleType:
    replaced = _take_out()
    sys.modules[f"{_PACKAGE}.exceptions"] = exceptions
    try:
        return importlib.import_module(_PACKAGE)
    except ModuleNotFoundError as error:
        raise ImportError("the clients and Packet need python-socketio: pip install python-socketio") from error
    finally:
        _take_out()
        sys.modules.update(replaced)


def _take_out() -> dict[str, ModuleType]:
    names = [name for name in sys.modules if name == _PACKAGE or name.startswith(_PACKAGE + ".")]
    return {name: sys.modules.pop(name) for name in names}
