"""The same as `test_openapi` among the integration tests: all phases, more requests, both databases."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest

from support.conformance import check_conformance, environment
from support.databases import KINDS
from support.processes import Roomcast

pytestmark = pytest.mark.chaos


@pytest.mark.parametrize("caller", ["service", "user", "none"])
@pytest.mark.parametrize("kind", KINDS)
def test_the_api_does_what_its_document_says(
    tmp_path: Path, kind: str, caller: str, request: pytest.FixtureRequest
) -> None:
    seed = os.environ.get("SEED") or str(random.randrange(1_000_000))
    print(f"SEED={seed}")  # noqa: T201 - to reproduce a failure
    env, data = environment(tmp_path), tmp_path / "data"
    if kind == "postgresql":
        postgres = request.getfixturevalue("postgres")
        env["DATABASE_URL"], data = postgres.url(postgres.create_database()), None
    with Roomcast.api(data, env=env) as server:
        report = check_conformance(
            server, caller, tmp_path, "--seed", seed, "--max-examples", os.environ.get("EXAMPLES") or "100"
        )
    print(report["test_cases"])  # noqa: T201 - figures of the run
