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
        self.removed: list[tuple[str, str]] = []

    def broadcast(self, room: str, message: EncodedEvent, *, skip: Collection[str] = ()) -> None:
        message.message("/")  # frame it, as a server does
        self.emitted.append((room, list(message.args)))


def ingress_to(rooms: Rooms) -> Ingress:
    return Ingress(rooms, lambda chat_id, user_id: rooms.removed.append((chat_id, user_id)))


def event(**changes: Any) -> bytes:
    whole = {"type": "MESSAGE_CREATED", "chatId": "c", "userId": "u", "messageId": "m", "data": {"id": "m"}, **changes}
    return json.dumps(whole).encode()


@pytest.mark.parametrize("kind", ["MESSAGE_CREATED", "AI_RESPONSE_GENERATED"])
@pytest.mark.parametrize("data", ["text", None, 1, [1, {"a": None}]])
def test_an_event_reaches_its_chats_room_with_its_data_unchanged(kind: str, data: Any) -> None:
    rooms = Rooms()
    ingress_to(rooms).emit(event(type=kind, data=data))
    assert rooms.emitted == [("chat:c", ["new-msg", data])]


@pytest.mark.parametrize("extra", [{}, {"seq": 7, "epoch": "e", "chatId": "other"}])
def test_a_message_names_its_chat_and_cannot_pass_for_a_stored_event(extra: dict[str, Any]) -> None:
    rooms = Rooms()
    data = {"id": "m", "role": "AI", "content": "你好", "time": "2026-01-02T03:04:05.678Z"}
    ingress_to(rooms).emit(event(tenant="acme", data=data | extra))
    ((room, (name, emitted)),) = rooms.emitted
    assert (room, name, emitted) == ("chat:acme\x1fc", "new-msg", data | {"chatId": "c"})


def test_a_removal_takes_the_user_out_of_the_room_and_is_not_emitted() -> None:
    rooms = Rooms()
    ingress = ingress_to(rooms)
    for tenant in ({}, {"tenant": "acme"}):
        ingress.emit(json.dumps({"type": "MEMBER_REMOVED", "chatId": "c", "userId": "bob", **tenant}).encode())
    assert rooms.removed == [("c", "bob"), ("acme\x1fc", "acme\x1fbob")]
    assert rooms.emitted == []
    assert not ingress.counters


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
        json.dumps({"type": "MEMBER_REMOVED", "chatId": "c"}).encode(),
    ],
)
def test_malformed_events_are_counted_and_dropped(published: bytes) -> None:
    rooms = Rooms()
    ingress = ingress_to(rooms)
    ingress.emit(published)
    ingress.emit(event())
    assert (len(rooms.emitted), ingress.counters["malformed"], ingress.counters["delivered"]) == (1, 1, 1)


def test_malformed_events_are_logged_with_decreasing_frequency_and_without_content(
    caplog: pytest.LogCaptureFixture,
) -> None:
    ingress = ingress_to(Rooms())
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
    ingress_to(Rooms()).emit(published)


def test_the_log_warns_that_events_are_not_stored_ever_more_rarely(caplog: pytest.LogCaptureFixture) -> None:
    ingress = ingress_to(Rooms())
    for _ in range(100):
        ingress.emit(event())
    warned = [vars(record)["delivered"] for record in caplog.records if "not stored" in record.message]
    assert warned == [1, 2, 4, 8, 16, 32, 64]
