"""The API as its OpenAPI document describes it: Schemathesis, briefly; and requests that no client sends by accident.

The long runs are among the chaos tests.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from roomcast.api.middleware import MAX_BODY_BYTES
from roomcast.auth.options import AuthOptions
from roomcast.auth.tokens import TokenIssuer
from support.conformance import check_conformance, environment
from support.isolation import ENV, SECRET
from support.postgres_server import PostgresServer
from support.processes import Roomcast

JSON = {"Content-Type": "application/json"}


@pytest.mark.timeout(600)  # beside other tests
@pytest.mark.parametrize(
    ("caller", "options"),
    [
        ("service", ("--phases", "coverage,stateful", "--max-examples", "10")),
        ("user", ("--phases", "fuzzing", "--max-examples", "2")),
    ],
)
def test_the_api_does_what_its_document_says(tmp_path: Path, caller: str, options: tuple[str, ...]) -> None:
    with Roomcast.api(tmp_path / "data", env=environment(tmp_path)) as server:
        check_conformance(server, caller, tmp_path, "--generation-deterministic", *options)


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def client(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    directory = tmp_path_factory.mktemp("data")
    data, env = directory, environment(directory)
    if request.param == "postgresql":
        server: PostgresServer = request.getfixturevalue("postgres")
        data, env = None, {**env, "DATABASE_URL": server.url(server.create_database())}
    token = TokenIssuer(AuthOptions(SECRET)).issue("back-end", ttl_s=3_600, service=True)
    with (
        Roomcast.api(data, env=env) as api,
        httpx.Client(base_url=api.api_url, headers={"Authorization": f"Bearer {token}"}, timeout=60) as client,
    ):
        yield client
        assert "request failed" not in api.output


#: Valid values of members, by name, where a text without special characters or the smallest number is none.
VALUES = {
    "name": "a",
    "role": "USER",
    "endpoint": "https://host.invalid/",
    "p256dh": "A" * 87,
    "auth": "A" * 22,
    "url": "https://host.invalid/",
    "responder": ENV["ROOMCAST_RESPONDER"],
    "since": "eyJlcG9jaCI6ImEiLCJzZXEiOjB9",  # a cursor
}
#: In place of a text, of a number, and of a part of a path: U+0000, lone surrogates, more than any limit.
TEXTS = (r'"a\u0000b"', r'"\ud800"', '"' + "x" * 40_000 + '"')
NUMBERS = ("9" * 400, "9" * 5_000, "1e999", "NaN", "-1e999")
PATH_PARTS = ("a%00b", "%ED%A0%80", "x" * 2_000)


def example(schema: dict[str, Any], models: dict[str, Any], name: str = "") -> Any:
    """A valid value with all its members."""
    if "$ref" in schema:
        schema = models[schema["$ref"].rpartition("/")[2]]
    elif "anyOf" in schema:
        return example(schema["anyOf"][0], models, name)
    text = schema.get("const", schema.get("enum", [VALUES.get(name, "x")])[0])
    kinds: dict[str, Any] = {"string": text, "boolean": False}
    if schema["type"] == "object":
        return {key: example(member, models, key) for key, member in schema.get("properties", {}).items()}
    if schema["type"] == "array":
        return [example(schema["items"], models, name)]
    return kinds.get(schema["type"], max(1, schema.get("minimum", 1)))


def spoilt(body: Any, mark: str = "MARK") -> Iterator[str]:
    """The JSON of a body, once with each text and number replaced."""

    def walk(value: Any) -> Iterator[tuple[Any, tuple[str, ...]]]:
        if isinstance(value, dict | list):
            for key, member in value.items() if isinstance(value, dict) else enumerate(value):
                for other, bad in walk(member):
                    copy = value.copy()
                    copy[key] = other
                    yield copy, bad
        elif isinstance(value, str):
            yield mark, TEXTS
        elif not isinstance(value, bool):
            yield mark, NUMBERS

    for changed, values in walk(body):
        for value in values:
            yield json.dumps(changed).replace(f'"{mark}"', value)


def refuses(client: httpx.Client, method: str, url: str, content: bytes | str | None = None) -> int:
    """The status of a request that has to be refused."""
    response = client.request(method, url, params={"userId": "ann"}, content=content, headers=JSON)
    shown = (method, url[:200], (content or "")[:300], response.status_code, response.text[:300])
    assert 400 <= response.status_code < 500, shown
    assert response.headers["content-type"] == "application/problem+json", shown
    return response.status_code


@pytest.mark.timeout(300)
def test_what_no_database_can_store_and_what_is_too_large_is_refused(client: httpx.Client) -> None:
    document = client.get("/openapi.json").json()
    models = document["components"]["schemas"]
    operations = [
        (method.upper(), path, operation)
        for path, operations in document["paths"].items()
        for method, operation in operations.items()
    ]
    refused: Counter[str] = Counter()
    for method, path, operation in operations:
        valid = re.sub(r"{(\w+)}", "c", path)
        for name in re.findall(r"{\w+}", path):
            for part in PATH_PARTS:
                refuses(client, method, re.sub(r"{\w+}", "c", path.replace(name, part)))
                refused["path"] += 1
        for parameter in operation.get("parameters", ()):
            if parameter["in"] == "query":
                for part in PATH_PARTS:
                    client.request(method, f"{valid}?{parameter['name']}={part}")  # `client` checks that none failed
        content = operation.get("requestBody", {}).get("content", {}).get("application/json")
        if content is None:
            continue
        body = example(content["schema"], models)
        if operation["operationId"] != "log_out":  # it would end the token
            answer = client.request(method, valid, params={"userId": "ann"}, json=body)
            assert answer.status_code not in {400, 422}, (method, path, body, answer.text)
        for changed in spoilt(body):
            refuses(client, method, valid, changed)
            refused["body"] += 1
        assert refuses(client, method, valid, b"{") == 400
        assert refuses(client, method, valid, b"\xff{}") == 400
        assert refuses(client, method, valid, b"[" * 100_000) == 400
        assert refuses(client, method, valid, b'"' + b"x" * MAX_BODY_BYTES + b'"') == 413
    assert refused["path"] > 200
    assert refused["body"] > 100
