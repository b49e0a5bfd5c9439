"""The structure of src/roomcast: no import cycles."""

from __future__ import annotations

import ast
from pathlib import Path

SOURCE = Path(__file__).resolve().parents[2] / "src"


def name_of(path: Path) -> str:
    return ".".join(path.relative_to(SOURCE).with_suffix("").parts).removesuffix(".__init__")


# Migrations are loaded by path, and no part of the import graph.
FILES = {name_of(path): path for path in sorted(SOURCE.rglob("*.py")) if path.parent.name != "versions"}


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


IMPORTS = {module: imports_of(module) for module in FILES}


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
    cycle = find_cycle(IMPORTS)
    assert not cycle, "import cycle: " + " -> ".join(cycle)
