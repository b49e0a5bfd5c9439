"""The guide's ingress: valid events are emitted, any other bytes are dropped."""

from __future__ import annotations

import json
import pickle
from collections.abc import Collection
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roomcast.gateway.ingress import Ingress
from roomcast.realtime.fanout.message import EncodedEvent


class Rooms:
    def __init__(self) -> None:
        self.emitted: list[tuple[str, list[Any]]] = []

    def broadcast(self, room: str, message: EncodedEvent, *, skip: Collection[str] = ()) -> None:
        message.message("/")  # frame it, as a server does
        self.emitted.append((room, list(message.args)))


def event(**changes: Any) -> bytes:
    whole = {"type": "MESSAGE_CREATED", "chatId": "c", "userId": "u", "messageId": "m", "data": {"id": "m"}, **changes}
    return json.dumps(whole).encode()


@pytest.mark.parametrize("kind", ["MESSAGE_CREATED", "AI_RESPONSE_GENERATED"])
@pytest.mark.parametrize("data", ["text", None, 1, [1, {"a": None}]])
def test_an_event_reaches_its_chats_room_with_its_data_unchanged(kind: str, data: Any) -> None:
    rooms = Rooms()
    Ingress(rooms).emit(event(type=kind, data=data))
    assert rooms.emitted == [("chat:c", ["new-msg", data])]


@pytest.mark.parametrize("extra", [{}, {"seq": 7, "epoch": "e", "chatId": "other"}])
def test_a_message_names_its_chat_and_cannot_pass_for_a_stored_event(extra: dict[str, Any]) -> None:
    rooms = Rooms()
    data = {"id": "m", "role": "AI", "content": "你好", "time": "2026-01-02T03:04:05.678Z"}
    Ingress(rooms).emit(event(tenant="acme", data=data | extra))
    ((room, (name, emitted)),) = rooms.emitted
    assert (room, name, emitted) == ("chat:acme\x1fc", "new-msg", data | {"chatId": "c"})


@pytest.mark.parametrize(
    "published",
    [
        b"",
        b"\xff\xfe",
        b"[]",
        b"{}",
        b"{" * 100_000,
        b"[" * 100_000,
        pickle.dumps({"type": "MESSAGE_CREATED"}),
        event(type="DELETE_EVERYTHING"),
        event(chatId="a room\nwith a line"),
        event(chatId=7),
        event(data=float("nan")),
        event(data=float("inf")),
        json.dumps({"type": "MESSAGE_CREATED", "chatId": "c"}).encode(),
    ],
)
def test_malformed_events_are_counted_and_dropped(published: bytes) -> None:
    rooms = Rooms()
    ingress = Ingress(rooms)
    ingress.emit(published)
    ingress.emit(event())
    assert (len(rooms.emitted), ingress.counters["malformed"], ingress.counters["delivered"]) == (1, 1, 1)


def test_malformed_events_are_logged_with_decreasing_frequency_and_without_content(
    caplog: pytest.LogCaptureFixture,
) -> None:
    ingress = Ingress(Rooms())
    published = event(type="a secret of two people", data="a secret of two people")
    for _ in range(20):
        ingress.emit(published)
    facts_logged = [record.__dict__ for record in caplog.records]
    assert [facts["malformed"] for facts in facts_logged] == [1, 2, 4, 8, 16]
    assert {(facts["size_bytes"], facts["error"]) for facts in facts_logged} == {(len(published), "ValidationError")}
    assert "a secret" not in repr(facts_logged)
    assert ingress.counters["malformed"] == 20


@given(st.binary(max_size=300))
def test_no_bytes_end_the_listener(published: bytes) -> None:
    Ingress(Rooms()).emit(published)


def test_the_log_warns_that_events_are_not_stored_ever_more_rarely(caplog: pytest.LogCaptureFixture) -> None:
    ingress = Ingress(Rooms())
    for _ in range(100):
        ingress.emit(event())
    warned = [vars(record)["delivered"] for record in caplog.records if "not stored" in record.message]
    assert warned == [1, 2, 4, 8, 16, 32, 64]
