"""Base classes of the payloads: camelCase on the wire, snake_case in Python.

Layer: contract.
"""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, alias_generator=to_camel, validate_by_alias=True, serialize_by_alias=True)


class Input(_Model):
    """The body of a REST request. Strict types; an unknown field is an error, so that a misspelt option is noticed."""

    model_config = ConfigDict(strict=True, extra="forbid")


class Payload(_Model):
    """The argument of a client's Socket.IO event. Strict types; fields of newer clients are ignored."""

    model_config = ConfigDict(strict=True, extra="ignore")


class Output(_Model):
    """A payload that the server sends. Readers ignore unknown fields, so that new ones can be added."""

    model_config = ConfigDict(
        extra="ignore",
        # The server constructs it by field name, a reader in Python parses it by alias.
        validate_by_name=True,
        json_schema_serialization_defaults_required=True,
    )
