"""Base classes of the payloads: camelCase on the wire, snake_case in Python.

Layer: contract.
"""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, alias_generator=to_camel, validate_by_alias=True, serialize_by_alias=True)


class Input(_Model):
    """The body of a REST request. Types are strict; unknown fields are errors, so that typos are noticed."""

    model_config = ConfigDict(strict=True, extra="forbid")


class Payload(_Model):
    """The argument of a client's Socket.IO event. Types are strict; unknown fields (of newer clients) are ignored."""

    model_config = ConfigDict(strict=True, extra="ignore")


class Output(_Model):
    """A payload that the server sends. Readers ignore unknown fields, so that new ones can be added."""

    model_config = ConfigDict(
        extra="ignore",
        # The server constructs payloads by field name; a Python client parses them by alias.
        validate_by_name=True,
        json_schema_serialization_defaults_required=True,
    )
