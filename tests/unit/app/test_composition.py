"""Which modules the gateway imports."""

from __future__ import annotations

import subprocess
import sys

HEAVY = ("fastapi", "starlette", "sqlalchemy", "alembic", "psycopg")


def test_a_gateway_alone_imports_no_database_and_no_web_framework() -> None:
    program = f"import sys, roomcast.app.composition; print(*(name for name in {HEAVY} if name in sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=30)
    assert loaded.stdout.split() == []
