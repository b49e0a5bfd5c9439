"""Loads code of the team by ``module:name``.

Layer: the lowest.
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any


class NotLoadable(Exception):
    """The name leads to nothing that can be used; the text says why and what is expected."""


def load_attribute(name: str) -> Any:
    """The attribute ``module:name``, which may be dotted. The module may be in the current directory.

    Raises:
        NotLoadable: there is no such module or attribute.
    """
    module_name, _, attribute = name.partition(":")
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        found: Any = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
            raise NotLoadable(f"the module {module_name!r} imports {error.name!r}, which is not installed") from error
        raise NotLoadable(f"there is no module {module_name!r} in this directory, and none is installed") from None
    except Exception as error:
        raise NotLoadable(f"importing {module_name!r} failed: {type(error).__name__}: {error}") from error
    for part in attribute.split("."):
        found = getattr(found, part, None)
    if found is None:
        raise NotLoadable(f"the module {module_name!r} has no {attribute!r}")
    return found
