"""The structure of src/roomcast: no import cycles, and package docstrings that list what is there.

A package's docstring holds

- a line ``May import: a, b.`` that covers everything of roomcast outside the package that its files import. A name is
  looked up beside the package, then beside each of its parents; ``a.b`` covers only that part of ``a``. Other forms:
  ``nothing of roomcast``, ``everything but a``. What follows a semicolon names other distributions: not checked here.
- if it has more than one module, a table ``| module | what |``: its first column names each module and subpackage
  once, in double backticks. It may name other files and folders of the package.
"""

from __future__ import annotations

import ast
import re
from collections import Counter
from functools import cache
from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().parents[2] / "src"
ROOT = "roomcast"


def name_of(path: Path) -> str:
    return ".".join(path.relative_to(SOURCE).with_suffix("").parts).removesuffix(".__init__")


# Migrations are loaded by path, and no part of the import graph.
FILES = {name_of(path): path for path in sorted(SOURCE.rglob("*.py")) if path.parent.name != "versions"}
PACKAGES = [name for name, path in FILES.items() if path.name == "__init__.py" and name != ROOT]


@cache
def imports_of(module: str) -> set[str]:
    """The modules of roomcast that a module imports anywhere in its text, ``if TYPE_CHECKING:`` included."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(FILES[module].read_text())):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            inner = {f"{node.module}.{alias.name}" for alias in node.names}
            names.update(name if name in FILES else str(node.module) for name in inner)
    return names & FILES.keys() - {module}


def is_in(module: str, package: str) -> bool:
    return f"{module}.".startswith(f"{package}.")


def find_cycle(graph: dict[str, set[str]]) -> list[str]:
    """One cycle as a chain whose last element is its first; empty if there is none."""
    done: set[str] = set()

    def visit(node: str, chain: list[str]) -> list[str]:
        if node in chain:
            return [*chain[chain.index(node) :], node]
        if node not in done:
            for other in sorted(graph[node]):
                if cycle := visit(other, [*chain, node]):
                    return cycle
            done.add(node)
        return []

    return next((cycle for node in graph if (cycle := visit(node, []))), [])


def test_a_cycle_is_shown_as_a_chain() -> None:
    assert find_cycle({"a": {"b"}, "b": {"c"}, "c": set()}) == []
    assert find_cycle({"a": {"b"}, "b": {"c", "d"}, "c": set(), "d": {"b"}}) == ["b", "d", "b"]


def test_no_files_import_each_other_in_a_cycle() -> None:
    cycle = find_cycle({module: imports_of(module) for module in FILES})
    assert not cycle, "import cycle: " + " -> ".join(cycle)


@cache
def docstring(package: str) -> str:
    return ast.get_docstring(ast.parse(FILES[package].read_text())) or ""


@pytest.mark.parametrize("package", [ROOT, *PACKAGES])
def test_a_packages_table_lists_each_of_its_modules_once(package: str) -> None:
    modules = {name.rpartition(".")[2] for name in FILES if name.rpartition(".")[0] == package}
    rows = re.findall(r"^\| (``.*?) \| .+ \|$", docstring(package), re.MULTILINE)
    listed = Counter(name for row in rows for name in re.findall(r"``(\w+)``", row))
    if len(modules) < 2 and not listed:
        return
    folder = FILES[package].parent
    assert "| module | what |" in docstring(package), f"{package}/__init__.py has no table of its modules"
    assert not (missing := modules - listed.keys()), f"{package}/__init__.py does not list {sorted(missing)}"
    unknown = [name for name in listed if name not in modules and not (folder / name).exists()]
    assert not unknown, f"{package}/__init__.py lists {unknown}, which do not exist"
    assert set(listed.values()) == {1}, f"{package}/__init__.py lists a module twice: {listed.most_common(1)}"


def test_the_layer_in_a_docstring_contains_the_module() -> None:
    wrong = {}
    for module in FILES.keys() - {f"{ROOT}.__main__"}:
        found = re.search(r"^Layer: ([a-z_]+(?:\.[a-z_]+)*)", docstring(module), re.MULTILINE)
        if found is not None and f"{ROOT}.{found[1]}" in FILES and not is_in(module, f"{ROOT}.{found[1]}"):
            wrong[module] = found[1]
    assert not wrong


def find_module(name: str, package: str) -> str | None:
    """What a name means in the ``May import:`` line of a package."""
    parents = package.split(".")[:-1]
    candidates = [".".join([*parents[:length], name]) for length in range(len(parents), 0, -1)]
    return next((candidate for candidate in [*candidates, name] if candidate in FILES), None)


@pytest.mark.parametrize("package", PACKAGES)
def test_a_package_imports_only_what_its_docstring_says(package: str) -> None:
    match = re.search(r"\bMay import: ([^;]*?)[;.](?=\s|$)", docstring(package))
    assert match, f"{package}/__init__.py has no line 'May import: a, b.'"
    line = " ".join(match[1].split())
    listed = [] if line == "nothing of roomcast" else line.removeprefix("everything but ").split(", ")
    allowed = {name: find_module(name, package) for name in listed}
    unknown = [name for name, module in allowed.items() if module is None]
    assert not unknown, f"{package}/__init__.py: 'May import' names {unknown}, which do not exist"
    exact = not line.startswith("everything but ")
    violations = [
        f"{module} imports {imported}"
        for module in FILES
        if is_in(module, package)
        for imported in sorted(imports_of(module))
        if imported != ROOT and not is_in(imported, package)
        if exact != any(is_in(imported, str(name)) for name in allowed.values())
    ]
    assert not violations, f"{package}/__init__.py: 'May import: {line}', but {', '.join(violations)}"
