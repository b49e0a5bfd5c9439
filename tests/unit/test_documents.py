"""Paths, modules, commands and variables that the documents name exist."""

from __future__ import annotations

import pkgutil
import re
from pathlib import Path

import pytest
import typer

from roomcast import settings
from roomcast.cli import commands

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = sorted(
    path
    for pattern in ("*.md", "docs/**/*.md", "web/*/*.md", "web/apps/*/*.md", "web/packages/*/*.md")
    for path in ROOT.glob(pattern)
    if "node_modules" not in path.parts
)
# The changelog and the decisions also name what was removed.
CURRENT = [path for path in DOCUMENTS if path.name != "CHANGELOG.md" and path.parent.name != "decisions"]
README = (ROOT / "README.md").read_text()
SOURCES = [
    path
    for pattern in ("src/**/*.py", "src/**/*.lua", "benchmarks/*.py", "tests/**/*.py", "web/*/*/src/**/*.ts*")
    for path in ROOT.glob(pattern)
    if "node_modules" not in path.parts
]
# A path in a document begins at the root, in the package, or beside the document.
STARTS = (ROOT, ROOT / "src" / "roomcast")
PATH = re.compile(r"`((?!(?:application|image|text|http)/)\w[\w.-]*(?:/[\w.-]*)+|\w+\.py)`")


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_leads_somewhere(document: Path) -> None:
    links = re.findall(r"\]\((?!https?:|mailto:)([^)#\s]+)", document.read_text())
    assert [link for link in links if not (document.parent / link).exists()] == []


@pytest.mark.parametrize("document", CURRENT, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_path_exists(document: Path) -> None:
    paths = PATH.findall(document.read_text())
    starts = (*STARTS, document.parent)
    assert [path for path in paths if not any((start / path).exists() for start in starts)] == []


@pytest.mark.parametrize("document", CURRENT, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_module_or_name_of_roomcast_exists(document: Path) -> None:
    for name in re.findall(r"`(roomcast(?:\.\w+)+)`", document.read_text()):
        pkgutil.resolve_name(name)


def test_every_heading_of_the_design_that_the_code_cites_exists() -> None:
    headings = re.findall(r"^## (.+)$", (ROOT / "docs" / "design.md").read_text(), re.MULTILINE)
    cited = {
        (str(path.relative_to(ROOT)), heading)
        for path in SOURCES
        for citation in re.findall(r'docs/design\.md((?:,? (?:and )?"[^"]+")+)', path.read_text())
        for heading in re.findall(r'"([^"]+)"', citation)
    }
    assert len(cited) > 4
    assert [(path, heading) for path, heading in sorted(cited) if heading not in headings] == []


def test_the_architecture_names_many_files() -> None:
    assert len(PATH.findall((ROOT / "ARCHITECTURE.md").read_text())) > 10


def test_every_command_of_a_lua_script_is_in_the_acl_rules_of_the_readme() -> None:
    rules = re.findall(r"\+([a-z|]+)", README.partition("ACL SETUSER")[2].partition("```")[0])
    scripts = [path.read_text() for path in (ROOT / "src/roomcast").rglob("*.lua")]
    calls = {name.lower() for text in scripts for name in re.findall(r"(?:call|refused)\('([A-Z]+)'", text)}
    assert len(calls) > 10
    assert not calls - set(rules)


def test_every_command_of_the_readme_exists_and_the_other_way_round() -> None:
    command = typer.main.get_command(commands.app)
    assert isinstance(command, typer.core.TyperGroup)
    assert set(re.findall(r"^\| `roomcast (\w+)`", README, re.MULTILINE)) == set(command.commands)


@pytest.mark.parametrize("document", ["README.md", "docs/reference/configuration.md"])
def test_every_variable_of_the_documents_is_read(document: str) -> None:
    rows = re.findall(r"^\| ((?:`[A-Z_]+`(?:, )?)+) \|", (ROOT / document).read_text(), re.MULTILINE)
    names = [name for row in rows for name in re.findall(r"`(\w+)`", row)]
    source = Path(settings.__file__).read_text()
    assert len(names) > 5
    assert [name for name in names if f'"{name}"' not in source] == []


def test_every_target_of_make_that_the_readme_names_exists() -> None:
    makefile = (ROOT / "Makefile").read_text()
    named = set(re.findall(r"(?:^|`)make ([a-z-]+)", README, re.MULTILINE))
    assert {"run", "test"} <= named
    assert [target for target in named if not re.search(rf"^{target}:", makefile, re.MULTILINE)] == []
