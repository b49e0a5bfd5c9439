"""The OpenAPI document, for programs that read it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import jsonschema
import pytest

from roomcast.api.app import create_api
from roomcast.api.services import ApiServices


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return create_api(ApiServices(*[None] * 11, personal=None)).openapi()


def parts(node: object) -> Iterator[dict[str, Any]]:
    if isinstance(node, dict):
        yield node
    for child in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        yield from parts(child)


def test_python_reads_every_pattern(document: dict[str, Any]) -> None:
    patterns = {part["pattern"] for part in parts(document) if isinstance(part.get("pattern"), str)}
    assert len(patterns) > 10
    for pattern in patterns:
        re.compile(pattern)


def test_the_limits_of_every_number_are_stated(document: dict[str, Any]) -> None:
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            for parameter in operation.get("parameters", ()):
                for schema in parts(parameter["schema"]):
                    if schema.get("type") == "integer":
                        assert {"minimum", "maximum"} <= set(schema), (path, method, parameter["name"])


def test_a_message_without_a_text_needs_a_file(document: dict[str, Any]) -> None:
    content = document["paths"]["/api/chat/messages"]["post"]["requestBody"]["content"]
    validator = jsonschema.Draft202012Validator({**content["application/json"]["schema"], **document})
    message = {"chatId": "c", "role": "USER", "content": ""}
    assert not validator.is_valid(message)
    assert not validator.is_valid({**message, "files": []})
    assert validator.is_valid({**message, "files": ["f"]})
    assert validator.is_valid({**message, "content": "x"})


@pytest.mark.parametrize(
    ("url", "valid"),
    [
        ("https://example.com", True),
        ("https://example.com:65535/a?b=c", True),
        ("https://[2001:db8::1]:8443/", True),
        ("https://example.com?a", True),
        ("https://example.com:65536", False),
        ("https://example.com:0", False),
        ("https://me@example.com", False),
        ("https://example.com/#a", False),
        ("https://", False),
    ],
)
def test_the_document_states_which_urls_are_valid(document: dict[str, Any], url: str, valid: bool) -> None:
    for model, name in (("NewWebhook", "url"), ("PushSubscription", "endpoint")):
        schema = document["components"]["schemas"][model]["properties"][name]
        assert jsonschema.Draft202012Validator(schema).is_valid(url) is valid


def test_each_link_gives_every_parameter_of_the_path(document: dict[str, Any]) -> None:
    paths = {
        operation["operationId"]: path
        for path, operations in document["paths"].items()
        for operation in operations.values()
    }
    found = [
        (source["operationId"], link)
        for operations in document["paths"].values()
        for source in operations.values()
        for response in source["responses"].values()
        for link in response.get("links", {}).values()
    ]
    for _, link in found:
        assert set(link["parameters"]) == set(re.findall(r"{(\w+)}", paths[link["operationId"]]))
    edges = {(source, link["operationId"]) for source, link in found}
    assert edges >= {
        ("create_chat", "read_chat"),
        ("send_message", "pin_message"),
        ("send_message", "stop_turn"),
        ("create_invite", "accept_invite"),
        ("upload_file", "remove_file"),
        ("create_webhook", "test_webhook"),
        ("erase_user", "read_erasure"),
    }
    # The id of a chat alone leads to no message.
    assert ("create_chat", "pin_message") not in edges
