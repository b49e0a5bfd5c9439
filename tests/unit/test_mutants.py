"""The list of `make mutants` fits the code and the tests."""

from __future__ import annotations

import re
import tomllib
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MUTANTS = tomllib.loads((ROOT / "tests/mutants/mutants.toml").read_text())["mutant"]
#: Sections and decisions without an entry.
WITHOUT = {"Layers", "The client", "Reading", "9"}

each_mutant = pytest.mark.parametrize("mutant", MUTANTS, ids=[mutant["id"] for mutant in MUTANTS])


@each_mutant
def test_a_mutant_replaces_a_text_that_occurs_once(mutant: dict) -> None:
    assert set(mutant) == {"id", "section", "promise", "file", "old", "new", "caught_by"}
    assert mutant["file"].startswith("src/roomcast/")
    assert (ROOT / mutant["file"]).read_text().count(mutant["old"]) == 1
    assert mutant["old"] != mutant["new"]


@each_mutant
def test_a_mutant_names_tests_that_make_test_runs(mutant: dict) -> None:
    assert mutant["caught_by"]
    for test in mutant["caught_by"]:
        file, _, name = test.partition("::")
        assert file.startswith("tests/")
        assert not file.startswith("tests/chaos/")
        assert re.search(rf"^(async )?def {name}\(", (ROOT / file).read_text(), re.MULTILINE), test


def test_the_sections_of_the_design_and_the_decisions_have_mutants() -> None:
    sections = set(re.findall(r"^## (.+)$", (ROOT / "docs/design.md").read_text(), re.MULTILINE))
    decisions = {str(int(file.name[:4])) for file in (ROOT / "docs/decisions").glob("[0-9]*.md")}
    assert {mutant["section"] for mutant in MUTANTS} == (sections | decisions) - WITHOUT


def test_the_ids_of_mutants_are_unique() -> None:
    assert [name for name, count in Counter(mutant["id"] for mutant in MUTANTS).items() if count > 1] == []
