"""Ids of tenants: qualified inside the server, local at its edges."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import typing

import pytest
from pydantic import BaseModel, TypeAdapter, ValidationError

import roomcast.contract
from roomcast.contract import events
from roomcast.contract.model import Input, Output, Payload
from roomcast.contract.tenants import QUALIFIED, SEPARATOR, acting_in, local_id, qualify, tenant_of
from roomcast.contract.text import ChatId, NewUserId, UserId
from roomcast.gateway import ingress

#: Fields that name a chat or a user; `client_msg_id` and others name neither.
_NAMES = ("chat_id", "thread_id", "user_id", "user_ids", "actor_id", "members", "online", "offline", "user", "users")


@pytest.mark.parametrize("kind", [ChatId, UserId, NewUserId])
def test_an_id_of_a_request_is_qualified_with_its_tenant_and_written_without_it(kind: object) -> None:
    adapter: TypeAdapter[str] = TypeAdapter(kind)
    with acting_in("acme"):
        qualified = adapter.validate_python("ann")
    assert qualified == qualify("acme", "ann") == "acme\x1fann"
    assert (tenant_of(qualified), local_id(qualified)) == ("acme", "ann")
    assert adapter.dump_python(qualified) == "ann"
    assert adapter.dump_json(qualified) == b'"ann"'
    assert adapter.validate_python("ann") == "ann"


@pytest.mark.parametrize("tenant", ["", "acme"])
@pytest.mark.parametrize("kind", [ChatId, UserId, NewUserId])
def test_a_peer_cannot_write_a_qualified_id(kind: object, tenant: str) -> None:
    with acting_in(tenant), pytest.raises(ValidationError):
        TypeAdapter(kind).validate_python(qualify("other", "ann"))


def test_an_id_that_would_not_fit_is_refused_with_the_limit_of_its_tenant() -> None:
    adapter: TypeAdapter[str] = TypeAdapter(ChatId)
    with acting_in("acme"):
        assert len(adapter.validate_python("c" * 123)) == 128
        with pytest.raises(ValidationError, match="at most 123 characters"):
            adapter.validate_python("c" * 124)


def test_a_payload_of_the_server_takes_qualified_ids_in_the_middle_of_a_request() -> None:
    with acting_in("acme"):
        typed = events.Typing(chat_id="other\x1fc", user_id="ann", typing=True)
    assert (typed.chat_id, typed.user_id) == ("other\x1fc", "ann")
    assert typed.model_dump() == {"chatId": "c", "userId": "ann", "typing": True}
    assert events.Typing.encode(chat_id="acme\x1fc", user_id="acme\x1fann", typing=True) == (
        b'{"chatId":"c","userId":"ann","typing":true}'
    )


def _translates(annotation: object) -> bool:
    metadata = getattr(annotation, "__metadata__", ())
    return QUALIFIED in metadata or any(_translates(part) for part in typing.get_args(annotation))


def _models() -> list[type[BaseModel]]:
    contract = (
        importlib.import_module(f"roomcast.contract.{found.name}")
        for found in pkgutil.iter_modules(roomcast.contract.__path__)
        if found.name != "internal"  # between processes ids stay qualified
    )
    modules = (*contract, ingress)
    found = (value for module in modules for value in vars(module).values() if inspect.isclass(value))
    return [model for model in set(found) if issubclass(model, (Input, Output, Payload))]


def test_every_field_of_the_contract_that_names_a_chat_or_a_user_translates() -> None:
    forgotten = []
    for model in _models():
        for name, field in model.model_fields.items():
            names = name in _NAMES or name.endswith(("_user_id", "_chat_id"))
            translates = QUALIFIED in field.metadata or _translates(field.annotation)
            nested = any(
                inspect.isclass(part) and issubclass(part, BaseModel) for part in typing.get_args(field.annotation)
            )
            if names and not translates and not nested:
                forgotten.append(f"{model.__name__}.{name}")
    assert not forgotten, f"use ChatId, UserId or NewUserId of contract/text.py: {forgotten}"


def test_the_separator_is_in_no_local_id() -> None:
    for kind in (ChatId, UserId, NewUserId):
        with pytest.raises(ValidationError):
            TypeAdapter(kind).validate_python(f"a{SEPARATOR}b")
