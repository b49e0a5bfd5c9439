"""The databases that the contract suites of the store run on."""

from __future__ import annotations

from pathlib import Path

import pytest

from roomcast.store.options import DatabaseOptions
from support.databases import KINDS, fresh_options


@pytest.fixture(params=KINDS)
def database_options(request: pytest.FixtureRequest, tmp_path: Path) -> DatabaseOptions:
    """An empty database of each kind."""
    return fresh_options(request.param, request, tmp_path)
