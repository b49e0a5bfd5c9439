"""Base classes of the payloads: camelCase on the wire, snake_case in Python.

Layer: contract.
"""

from __future__ import annotations

from typing import Any, Final, Self

from pydantic import BaseModel, ConfigDict, ModelWrapValidatorHandler, model_validator
from pydantic.alias_generators import to_camel

from roomcast.contract.tenants import acting_in


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

    @model_validator(mode="wrap")
    @classmethod
    def _of_the_server(cls, values: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        # The ids are the server's own, also in the middle of a request; they become local when they are encoded.
        with acting_in(None):
            return handler(values)

    @classmethod
    def encode(cls, **values: Any) -> bytes:
        """The UTF-8 JSON of a payload.

        Args:
            **values: Valid values of all fields, in their order. A validation would double the cost, and
                `model_construct` would cost even more.
        """
        payload = cls.__new__(cls)
        for name, value in (("__dict__", values), *_STATE):
            object.__setattr__(payload, name, value)
        return cls.__pydantic_serializer__.to_json(payload, by_alias=True)


# Of an instance without extra and private attributes.
_STATE: Final[tuple[tuple[str, object], ...]] = (
    ("__pydantic_fields_set__", frozenset()),
    ("__pydantic_extra__", None),
    ("__pydantic_private__", None),
)
