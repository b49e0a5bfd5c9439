"""A client of AG-UI as small as the tests need: the reducer and the order rules of ``@ag-ui/client`` 1.0."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any


class AgUiClient:
    """Holds the messages of a thread, and checks each event against the rules of ``verify.ts``.

    Attributes:
        messages: As ``agent.messages``.
        outcome: How the last run ended: the type of its outcome, or ``error: <code>``; None while it runs.
        custom: The custom events.
    """

    def __init__(self, messages: Iterable[dict[str, Any]] = ()) -> None:
        self.messages = list(messages)
        self.outcome: str | None = None
        self.custom: list[Mapping[str, Any]] = []
        self._open: set[tuple[str, str]] = set()

    def text(self, message_id: str) -> str:
        """The content of a message; empty if there is none."""
        found = self._find(message_id)
        return "" if found is None else found.get("content", "")

    def begin(self) -> None:
        """Begin another run."""
        self._open.clear()
        self.outcome = None

    def apply(self, events: Iterable[Mapping[str, Any]]) -> None:
        """Apply the events of a run."""
        for event in events:
            assert self.outcome is None, f"{event} after the end"
            self._apply(event)

    def _find(self, message_id: str) -> dict[str, Any] | None:
        return next((message for message in self.messages if message["id"] == message_id), None)

    def _call(self, call_id: str) -> dict[str, Any] | None:
        calls = (call for message in self.messages for call in message.get("toolCalls", ()))
        return next((call for call in calls if call["id"] == call_id), None)

    def _apply(self, event: Mapping[str, Any]) -> None:
        match event["type"]:
            case "RUN_STARTED":
                pass
            case "RUN_FINISHED":
                assert not self._open, f"still open: {self._open}"
                self.outcome = event["outcome"]["type"]
            case "RUN_ERROR":
                self.outcome = f"error: {event['code']}"
            case "CUSTOM":
                self.custom.append(event)
            case str(kind) if kind.startswith("TOOL_CALL"):
                self._apply_tool(event)
            case _:
                self._apply_text(event)

    def _apply_text(self, event: Mapping[str, Any]) -> None:
        kind, _, action = event["type"].rpartition("_")
        message_id = event["messageId"]
        match action:
            case "START":
                self._open_one(kind, message_id)
                if kind != "REASONING" and self._find(message_id) is None:
                    self.messages.append({"id": message_id, "role": event["role"], "content": ""})
            case "CONTENT":
                assert (kind, message_id) in self._open
                message = self._find(message_id)
                assert message is not None
                message["content"] = message.get("content", "") + event["delta"]
                message["metadata"] = message.get("metadata", {}) | event["metadata"]
            case "END":
                self._open.remove((kind, message_id))

    def _apply_tool(self, event: Mapping[str, Any]) -> None:
        call_id = event["toolCallId"]
        call = self._call(call_id)
        match event["type"]:
            case "TOOL_CALL_START":
                self._open_one("call", call_id)
                if call is None:
                    parent = self._find(event["parentMessageId"])
                    if parent is None:
                        parent = {"id": event["parentMessageId"], "role": "assistant"}
                        self.messages.append(parent)
                    call = {"id": call_id, "function": {"name": event["toolCallName"], "arguments": ""}}
                    parent.setdefault("toolCalls", []).append(call)
            case "TOOL_CALL_ARGS":
                assert ("call", call_id) in self._open
                assert call is not None
                call["function"]["arguments"] += event["delta"]
            case "TOOL_CALL_END":
                self._open.remove(("call", call_id))
            case "TOOL_CALL_RESULT":
                names = ("role", "toolCallId", "content")
                self.messages.append({"id": event["messageId"]} | {name: event[name] for name in names})

    def _open_one(self, kind: str, key: str) -> None:
        assert (kind, key) not in self._open, f"{kind} {key} is open"
        self._open.add((kind, key))
