"""Prints the JSON Schema of every public payload, event, ack and error; the TypeScript types are generated from it.

Run: ``python -m roomcast.contract.schema``.

Layer: contract.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from types import ModuleType
from typing import Any, Final

from pydantic import BaseModel, Field, create_model
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaMode, models_json_schema

from roomcast.contract import errors, events, gateway, rest
from roomcast.contract.model import Input, Output, Payload
from roomcast.contract.text import NewUserId


def _events(name: str, doc: str, payloads: Mapping[str, type[BaseModel]]) -> type[BaseModel]:
    """A model with one field per event."""
    fields: dict[str, Any] = {
        event.replace("-", "_"): (payload, Field(alias=event)) for event, payload in payloads.items()
    }
    return create_model(name, __base__=Output, __doc__=doc, **fields)


_STORED: Final = {kind.name: kind.payload for kind in events.STORED_EVENTS.values()}
StoredEvents: Final = _events("StoredEvents", "Name and single argument of each event that has a seq.", _STORED)
ServerToClientEvents: Final = _events(
    "ServerToClientEvents",
    "Name and single argument of each event that the gateway emits.",
    {**_STORED, **events.EPHEMERAL_EVENTS},
)


class ClientToServerEvents(Payload):
    """Name and single argument of each event that a client sends, except ``ping``, which has no argument."""

    join_user: NewUserId = Field(alias="join-user")
    join_chat: gateway.JoinChatPayload = Field(alias="join-chat")
    leave_chat: gateway.LeaveChatPayload = Field(alias="leave-chat")
    typing: gateway.SetTypingPayload
    ai_resume: gateway.ResumeAnswer = Field(alias="ai-resume")
    ai_stop: gateway.StopAnswer = Field(alias="ai-stop")
    auth_refresh: gateway.RefreshAuth = Field(alias="auth-refresh")


class Acks(Output):
    """The ack of each event that a client sends, except ``ping``, whose ack is the bare string ``pong``."""

    join_user: gateway.JoinUserAck | errors.AckFailure = Field(alias="join-user")
    join_chat: gateway.JoinChatAck | errors.AckFailure = Field(alias="join-chat")
    leave_chat: gateway.LeaveChatAck | errors.AckFailure = Field(alias="leave-chat")
    typing: gateway.TypingAck | errors.AckFailure
    ai_resume: gateway.ResumeAnswerAck | errors.AckFailure = Field(alias="ai-resume")
    ai_stop: gateway.StopAnswerAck | errors.AckFailure = Field(alias="ai-stop")
    auth_refresh: gateway.RefreshAuthAck | errors.AckFailure = Field(alias="auth-refresh")


def _models(module: ModuleType) -> list[type[BaseModel]]:
    """The models that a module defines."""
    return [
        value
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, BaseModel) and value.__module__ == module.__name__
    ]


#: The root models. The schema also contains the models that they refer to.
PUBLIC_MODELS: Final[tuple[type[BaseModel], ...]] = (
    StoredEvents,
    ServerToClientEvents,
    ClientToServerEvents,
    Acks,
    errors.Problem,
    *_models(rest),
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
