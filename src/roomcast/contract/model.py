"""The two kinds of model: what others send us, and what we send.

camelCase on the wire, snake_case in Python.

Layer: contract.
"""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel


class Input(BaseModel):
    """What a REST client sends: strict types, no unknown members, so that a misspelt option is noticed."""

    model_config = ConfigDict(
        strict=True,
        extra="forbid",
        frozen=True,
        alias_generator=to_camel,
        validate_by_alias=True,
        validate_by_name=False,
        serialize_by_alias=True,
    )


class Output(BaseModel):
    """What we send. A reader ignores members that it does not know, so that new ones may be added."""

    model_config = ConfigDict(
        extra="ignore",
        frozen=True,
        json_schema_serialization_defaults_required=True,
        alias_generator=to_camel,
        validate_by_alias=True,
        validate_by_name=True,
        serialize_by_alias=True,
    )


class Payload(BaseModel):
    """What a Socket.IO client sends: strict types; unknown members are ignored: an older server meets newer clients."""

    model_config = ConfigDict(
        strict=True,
        extra="ignore",
        frozen=True,
        alias_generator=to_camel,
        validate_by_alias=True,
        validate_by_name=False,
        serialize_by_alias=True,
    )
