from __future__ import annotations

from typing import Any

import pytest

from roomcast.realtime import Namespace, Server
from roomcast.realtime.core.handlers.registry import NO_ACK, Registry, call


def handler(name: str) -> Any:
    def function(*args: Any) -> tuple[Any, ...]:
        return (name, *args)

    return function


def test_the_most_specific_handler_wins() -> None:
    registry = Registry()
    for namespace, event in (("*", "*"), ("*", "a"), ("/", "*"), ("/", "a")):
        registry.add(namespace, event, handler(f"{namespace} {event}"))

    def result(event: str, namespace: str) -> Any:
        found = registry.find(event, namespace)
        return None if found is None else call(found, event, "sid")

    assert result("a", "/") == ("/ a", "sid")
    assert result("b", "/") == ("/ *", "b", "sid")
    assert result("a", "/x") == ("* a", "/x", "sid")
    assert result("b", "/x") == ("* *", "b", "/x", "sid")
    assert result("connect", "/") is None
    assert result("*", "/") == ("/ *", "*", "sid"), (
        "a client may name an event *; the catch-all handler receives it like any other"
    )
    assert result("*", "/x") == ("* *", "*", "/x", "sid")


def test_functions_come_before_classes_and_named_classes_before_the_wildcard_class() -> None:
    class Own(Namespace):
        def on_a(self, sid: str) -> str:
            return "own"

    class General(Namespace):
        def on_a(self, namespace: str, sid: str) -> str:
            return f"general {namespace}"

    registry = Registry()
    registry.add_namespace(Own("/own"))
    registry.add_namespace(General("*"))
    found = registry.find("a", "/own")
    assert found is not None
    assert call(found, "a", "sid") == "own"
    found = registry.find("a", "/other")
    assert found is not None
    assert call(found, "a", "sid") == "general /other"
    assert registry.find("missing", "/own") is None
    registry.add("/own", "a", handler("function"))
    found = registry.find("a", "/own")
    assert found is not None
    assert call(found, "a", "sid") == ("function", "sid")


def test_connect_may_leave_out_auth_and_disconnect_the_reason() -> None:
    registry = Registry()
    registry.add("/", "connect", lambda sid, environ: (sid, environ))
    registry.add("/", "disconnect", lambda sid: sid)
    found = registry.find("connect", "/")
    assert found is not None
    assert call(found, "connect", "sid", {}, {"auth": 1}) == ("sid", {})
    found = registry.find("disconnect", "/")
    assert found is not None
    assert call(found, "disconnect", "sid", "reason") == "sid"
    registry.add("/", "connect", lambda sid, environ, auth: auth)
    found = registry.find("connect", "/")
    assert found is not None
    assert call(found, "connect", "sid", {}, {"auth": 1}) == {"auth": 1}


def test_a_type_error_inside_a_handler_is_not_mistaken_for_a_signature_mismatch() -> None:
    def connect(sid: str, environ: Any, auth: Any) -> None:
        raise TypeError("inside")

    registry = Registry()
    registry.add("/", "connect", connect)
    found = registry.find("connect", "/")
    assert found is not None
    with pytest.raises(TypeError, match="inside"):
        call(found, "connect", "sid", {}, None)


async def test_a_namespace_class_may_override_the_dispatch() -> None:
    class Own(Namespace):
        async def trigger_event(self, event: str, *args: Any) -> Any:
            return [event, *args]

    registry = Registry()
    registry.add_namespace(Own("/"))
    found = registry.find("anything", "/")
    assert found is not None
    assert await call(found, "anything", "sid", 1) == ["anything", "sid", 1]
    assert await Namespace().trigger_event("missing", "sid") is NO_ACK


def test_a_namespace_knows_its_server_once_it_is_registered() -> None:
    namespace = Namespace("/x")
    with pytest.raises(RuntimeError, match="/x"):
        _ = namespace.server
    server = Server()
    server.register_namespace(namespace)
    assert namespace.server is server
    with pytest.raises(ValueError, match="namespace"):
        server.register_namespace(object())  # type: ignore[arg-type]


def test_handlers_are_registered_in_every_form_of_python_socketio() -> None:
    server = Server()

    @server.event
    def one(sid: str) -> None: ...

    @server.event(namespace="/x")
    def two(sid: str) -> None: ...

    @server.on("three-with-a-dash", namespace="/x")
    def three(sid: str) -> None: ...

    server.on("four", handler("four"))
    registry = server.engine.registry
    assert registry.find("one", "/") == (one, ())
    assert registry.find("two", "/x") == (two, ())
    assert registry.find("three-with-a-dash", "/x") == (three, ())
    assert registry.find("four", "/") is not None
