"""Prints the JSON Schema of every public payload, event, ack and error; the TypeScript types are generated from it.

Run: ``python -m roomcast.contract.schema``.

Layer: contract.
"""

from __future__ import annotations

import json
import sys
from typing import Any, Final

from pydantic import BaseModel, Field
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaMode, models_json_schema

from roomcast.contract import errors, events, gateway, rest
from roomcast.contract.model import Input, Output, Payload
from roomcast.contract.text import NewUserId


class ServerToClientEvents(Output):
    """Name and single argument of each event that the gateway emits."""

    new_msg: events.Message = Field(alias="new-msg")
    member_added: events.MemberChange = Field(alias="member-added")
    member_removed: events.MemberChange = Field(alias="member-removed")
    resync: events.Resync
    typing: events.Typing
    presence: events.Presence
    chat_activity: events.ChatActivity = Field(alias="chat-activity")
    ai_status: events.AiStatus = Field(alias="ai-status")
    ai_tool: events.AiTool = Field(alias="ai-tool")
    ai_chunk: events.AiChunk = Field(alias="ai-chunk")
    ai_end: events.AiEnd = Field(alias="ai-end")


class ClientToServerEvents(Payload):
    """Name and single argument of each event that a client sends, except ``ping``, which has no argument."""

    join_user: NewUserId = Field(alias="join-user")
    join_chat: gateway.JoinChatPayload = Field(alias="join-chat")
    leave_chat: gateway.LeaveChatPayload = Field(alias="leave-chat")
    typing: gateway.SetTypingPayload
    ai_resume: gateway.ResumeAnswer = Field(alias="ai-resume")
    ai_stop: gateway.StopAnswer = Field(alias="ai-stop")


class Acks(Output):
    """The ack of each event that a client sends, except ``ping``, whose ack is the bare string ``pong``."""

    join_user: gateway.JoinUserAck | errors.AckFailure = Field(alias="join-user")
    join_chat: gateway.JoinChatAck | errors.AckFailure = Field(alias="join-chat")
    leave_chat: gateway.LeaveChatAck | errors.AckFailure = Field(alias="leave-chat")
    typing: gateway.TypingAck | errors.AckFailure
    ai_resume: gateway.ResumeAnswerAck | errors.AckFailure = Field(alias="ai-resume")
    ai_stop: gateway.StopAnswerAck | errors.AckFailure = Field(alias="ai-stop")


#: The root models. The schema also contains the models that they refer to.
PUBLIC_MODELS: Final[tuple[type[BaseModel], ...]] = (
    ServerToClientEvents,
    ClientToServerEvents,
    Acks,
    errors.Problem,
    rest.SendMessage,
    rest.CreateChat,
    rest.AiSettings,
    rest.EditMessage,
    rest.MessageVersions,
    rest.Chat,
    rest.ChatPage,
    rest.EventPage,
    rest.MessagePage,
    rest.MemberPage,
    rest.Config,
    rest.Health,
)


class _PlainSchema(GenerateJsonSchema):
    """Omits the titles of fields, since the TypeScript generator makes a named type of each title."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        del schema
        return False


def build_schema() -> dict[str, Any]:
    """A JSON Schema (draft 2020-12) whose ``$defs`` have the names of the models."""
    _, document = models_json_schema(
        [(model, _mode(model)) for model in PUBLIC_MODELS],
        title="Roomcast contract",
        ref_template="#/$defs/{model}",
        schema_generator=_PlainSchema,
    )
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **document}


def _mode(model: type[BaseModel]) -> JsonSchemaMode:
    """The server always sends a field that has a default; clients may leave it out."""
    return "validation" if issubclass(model, (Input, Payload)) else "serialization"


if __name__ == "__main__":
    json.dump(build_schema(), sys.stdout, indent=2, ensure_ascii=False)
    sys.stdout.write("\n")
