"""The documentation site is built without a warning, and contains the whole contract."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import socketio
from jsonschema import Draft7Validator

from roomcast.contract.errors import ErrorCode
from roomcast.contract.schema import build_schema
from roomcast.realtime import Server
from support.document_commands import blocks
from support.processes import clean_environment

ROOT = Path(__file__).resolve().parents[3]
DOCUMENTS = [ROOT / "README.md", *sorted(ROOT.glob("docs/**/*.md"))]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site. Strict: a broken link or anchor, or any other warning, fails the build."""
    directory = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(directory)]
    environment = clean_environment({"NO_MKDOCS_2_WARNING": "1", "PYTHONWARNINGS": ""})
    build = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=50, check=False)
    assert (build.returncode, build.stdout + build.stderr) == (0, "")
    return directory


def test_no_page_loads_anything_from_another_host(site: Path) -> None:
    pages = list(site.rglob("*.html"))
    loaded = {
        (page.name, url)
        for page in pages
        for url in re.findall(
            r'<(?:script|link|img|iframe)\b[^>]*?(?:src|href)="((?:https?:)?//[^"]+)"', page.read_text()
        )
    }
    assert len(pages) > 10
    assert loaded == set()


def test_the_page_of_events_has_every_event_field_and_error_code(site: Path) -> None:
    page = (site / "reference" / "socketio.html").read_text()
    definitions = build_schema()["$defs"]
    names = {
        name
        for model in ("ServerToClientEvents", "ClientToServerEvents", "Message", "AiChunk", "JoinChatAck")
        for name in definitions[model]["properties"]
    }
    names |= {code.value for code in ErrorCode} | {"iss", "aud", "sub", "exp", "scope"}
    assert {name for name in names if f"<code>{name}</code>" not in page} == set()


def test_no_part_of_a_page_is_left_to_generate(site: Path) -> None:
    assert [page.name for page in site.rglob("*.html") if "<!-- generated: " in page.read_text()] == []


@pytest.mark.parametrize("name", ["asyncapi", "openapi"])
def test_every_reference_in_a_document_of_the_contract_resolves(site: Path, name: str) -> None:
    document = json.loads((site / "reference" / f"{name}.json").read_text())
    references = list(_references(document))
    assert len(references) > 20
    for reference in references:
        target = document
        for part in reference.removeprefix("#/").split("/"):
            target = target[part.replace("~1", "/").replace("~0", "~")]


@pytest.mark.node
def test_the_document_of_the_events_is_valid_asyncapi(site: Path) -> None:
    document = json.loads((site / "reference" / "asyncapi.json").read_text())
    schemas = ROOT / "web" / "node_modules" / "@asyncapi" / "specs" / "schemas"
    validator = Draft7Validator(json.loads((schemas / f"{document['asyncapi']}.json").read_text()))
    assert [error.message for error in validator.iter_errors(document)] == []
    for change in (
        {"operations": {"x": {"action": "shout"}}},
        {"channels": {"gateway": {"messages": {"x": {"y": 1}}}}},
    ):
        assert not validator.is_valid(document | change)


def _references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"]
        value = list(value.values())
    if isinstance(value, list):
        for each in value:
            yield from _references(each)


PYTHON = [path for path in DOCUMENTS if any(block.language == "python" for block in blocks(path))]


@pytest.mark.parametrize("document", PYTHON, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_python_snippet_is_valid_python(document: Path) -> None:
    for block in blocks(document):
        if block.language == "python":
            body = "\n".join(f"    {line}" for line in block.text.splitlines())
            ast.parse(f"async def snippet():\n{body}\n")


#: The snippets for clients of other protocols need packages that the page does not have; tests/e2e runs such clients.
TYPED = (ROOT / "README.md", ROOT / "docs" / "tutorial.md", ROOT / "docs" / "reference" / "socketio.md")
FOREIGN = ("@ai-sdk/", "@ag-ui/")


@pytest.mark.node
def test_every_typescript_snippet_fits_the_types_of_the_packages() -> None:
    snippets = [
        block.text
        for document in TYPED
        for block in blocks(document)
        if block.language in {"ts", "tsx"} and not any(name in block.text for name in FOREIGN)
    ]
    assert len(snippets) == len(TYPED)
    page = ROOT / "web" / "apps" / "chat"  # below it the compiler finds the packages
    with tempfile.TemporaryDirectory(dir=page / "node_modules") as name:
        for number, text in enumerate(snippets):
            (Path(name) / f"snippet{number}.tsx").write_text(text)
        # A snippet may show names that it does not use.
        options = {"jsx": "react-jsx", "noEmit": True, "noUnusedLocals": False, "types": ["vite/client", "node"]}
        config = {"extends": "../../../../tsconfig.base.json", "compilerOptions": options, "include": ["*.tsx"]}
        (Path(name) / "tsconfig.json").write_text(json.dumps({**config, "exclude": []}))
        command = [ROOT / "web" / "node_modules" / ".bin" / "tsc", "--project", name]
        check = subprocess.run(command, capture_output=True, text=True, timeout=50, check=False)
    assert check.returncode == 0, check.stdout


def test_the_server_has_the_methods_of_python_socketio_but_for_those_that_its_page_names() -> None:
    page = (ROOT / "docs" / "moving" / "python-socketio.md").read_text()
    names = {name for name in dir(socketio.AsyncServer) if not name.startswith("_")}
    # Properties of the implementation, which its documentation does not name.
    names -= {"is_asyncio_based", "reserved_events"}
    missing = {name for name in names if not hasattr(Server, name)}
    assert missing
    assert {name for name in missing if f"`{name}" not in page} == set()
