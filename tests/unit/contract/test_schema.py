from __future__ import annotations

import json
import subprocess
import sys

from roomcast.contract.schema import build_schema


def test_every_reference_is_defined() -> None:
    document = build_schema()
    text = json.dumps(document)
    names = {part.split('"')[0] for part in text.split("#/$defs/")[1:]}
    assert names <= set(document["$defs"])


def test_the_models_that_the_sdk_uses_are_defined() -> None:
    defs = build_schema()["$defs"]
    assert set(defs) >= {
        "Message",
        "MemberAdded",
        "Resync",
        "JoinChat",
        "JoinChatAck",
        "AckFailure",
        "Problem",
        "ErrorCode",
        "EventPage",
        "MessagePage",
        "ChatPage",
        "Config",
        "SendMessage",
        "ServerToClientEvents",
        "ClientToServerEvents",
    }
    left_out = {"replyTo", "deleted", "reactions", "pinned", "attachments"}
    assert set(defs["Message"]["required"]) == set(defs["Message"]["properties"]) - left_out
    assert set(defs["SendMessage"]["required"]) == {"chatId", "role", "content"}
    assert "reset" not in defs["JoinChatAck"]["required"]


def test_fields_have_no_titles() -> None:
    for model in build_schema()["$defs"].values():
        assert not any("title" in field for field in model.get("properties", {}).values())


def test_the_module_prints_the_document() -> None:
    printed = subprocess.run(
        [sys.executable, "-m", "roomcast.contract.schema"], check=True, capture_output=True, timeout=30
    )
    assert json.loads(printed.stdout) == build_schema()
