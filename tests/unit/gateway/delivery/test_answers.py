"""Chunks of answers go to the sockets that joined with ``stream``, and the end of a turn goes once to every socket."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Collection
from datetime import UTC, datetime
from typing import Any

import pytest

from roomcast.chat.answers.chunks import encode_chunks
from roomcast.chat.delivery.encoding import encode_message, event_args
from roomcast.chat.ids import new_id
from roomcast.chat.model import StoredEvent, StoredMessage, StoredTurn
from roomcast.chat.ports import Head, LogEntry, TurnFrame, encode_frame
from roomcast.contract.events import AiChunk, AiEnd, EventType, TurnStatus
from roomcast.gateway.delivery.answers import LiveAnswers, short_end
from roomcast.gateway.delivery.feeds import Feeds
from roomcast.gateway.delivery.joins import JoinRefused, Joins
from roomcast.gateway.ports import Cursor
from roomcast.gateway.rooms import chat_room, stream_room
from roomcast.realtime import EncodedEvent, RoomLimitExceeded
from support.gateway_model import ClientSocket, Database, LocalRooms, UnreliableLog
from support.virtual_time import run_in_virtual_time

DELTA: dict[str, Any] = {"type": "text-delta", "id": "0", "delta": 'né 漢字 👩‍👩‍👧 "quoted"\n\x1e'}


def frame(first: int = 0, count: int = 1, generation: int = 1, turn_id: str = "t1") -> TurnFrame:
    chunks = json.dumps([DELTA] * count, ensure_ascii=False).encode()
    return TurnFrame(turn_id, generation, first, first + count - 1, chunks)


def answer(seq: int, *, turn: bool = True, role: Any = "AI", message_id: str = "t1") -> LogEntry:
    """A message as the database stores it and the relay publishes it."""
    message = StoredMessage(
        id=message_id,
        chat_id="a",
        epoch="e1",
        seq=seq,
        role=role,
        content="the text",
        user_id=None,
        client_msg_id=None,
        created_at=datetime(2026, 11, 28, tzinfo=UTC),
        place=1,
        turn=StoredTurn("t1", "q1", TurnStatus.COMPLETE, generation=1, last=3) if turn else None,
        parts=({"type": "text", "text": "the text"},) if turn else None,
    )
    stored = StoredEvent("a", seq, "e1", EventType.MESSAGE_CREATED, encode_message(message), message.created_at)
    return LogEntry(seq, event_args(stored))


class World:
    """One gateway's joins, feeds and answers."""

    def __init__(self) -> None:
        self.log = UnreliableLog()
        self.database = Database(self.log)
        self.rooms = LocalRooms()
        self.answers = LiveAnswers(self.rooms)
        self.feeds = Feeds(self.log, self.database, self.rooms, signals=self.answers.take)
        self.joins = Joins(self.feeds, self.database)

    async def join(self, *, stream: bool, user: str | None = None, socket: ClientSocket | None = None) -> ClientSocket:
        socket = socket or self.rooms.socket()
        await self.joins.join(socket, "a", user, None, stream=stream)
        return socket

    async def publish(self, entry: LogEntry) -> None:
        self.database.commit("a")
        await self.log.append("a", "e1", [entry])

    async def signal(self, frame: TurnFrame) -> None:
        await self.log.signal("a", encode_frame(frame))


def names(socket: ClientSocket) -> list[str]:
    return [name for name, _ in socket.frames]


def test_chunks_go_to_the_sockets_that_joined_with_stream_only() -> None:
    async def main() -> None:
        world = World()
        plain, streaming = await world.join(stream=False), await world.join(stream=True)
        await world.signal(frame(4, 2, generation=3))
        assert plain.frames == []
        [(name, data)] = streaming.frames
        assert name == "ai-chunk"
        assert data == {
            "chatId": "a",
            "turnId": "t1",
            "generation": 3,
            "first": 4,
            "last": 5,
            "chunks": [DELTA, DELTA],
        }
        assert AiChunk.model_validate(data).last == 5
        assert world.answers.frames == {"emitted": 1}

    run_in_virtual_time(main())


def test_a_chat_id_of_any_characters_is_encoded() -> None:
    rooms = LocalRooms()
    socket = rooms.socket()
    chat_id = 'a "b" \\ 漢 '
    socket.join(stream_room(chat_id))
    LiveAnswers(rooms).take(chat_id, encode_frame(frame()))
    assert socket.frames[0][1]["chatId"] == chat_id


@pytest.mark.parametrize(("generation", "sent"), [(1, None), (2, 2)])
def test_the_first_generation_is_left_out_as_in_the_contract(generation, sent) -> None:
    rooms = LocalRooms()
    socket = rooms.socket()
    socket.join(stream_room("a"))
    LiveAnswers(rooms).take("a", encode_frame(frame(generation=generation)))
    [(_, data)] = socket.frames
    assert data.get("generation") == sent
    assert AiChunk.model_validate(data).model_dump() == data


def test_an_event_is_at_most_200_bytes_larger_than_the_text_of_its_chunk() -> None:
    chat_id, turn_id = new_id(), new_id()
    chunks = encode_chunks([{"type": "text-delta", "id": "0", "delta": "a"}])
    sent: list[EncodedEvent] = []

    class Recorder(LocalRooms):
        def broadcast(self, room: str, message: EncodedEvent, *, skip: Collection[str] = ()) -> None:
            sent.append(message)

    LiveAnswers(Recorder()).take(chat_id, encode_frame(TurnFrame(turn_id, 1, 99_999, 99_999, chunks)))
    assert len(sent[0].message("/").frames) <= 200


@pytest.mark.parametrize(
    "payload", [b"T", b"T t1 1 0 0 -\n{}", b"T t1 x 0 0 -\n[]", b"T " + b"t" * 200 + b" 1 0 0 -\n[]"]
)
def test_a_malformed_frame_is_counted_and_dropped(payload: bytes) -> None:
    async def main() -> None:
        world = World()
        socket = await world.join(stream=True)
        await world.log.signal("a", payload)
        assert socket.frames == []
        assert world.answers.frames == {"malformed": 1}

    run_in_virtual_time(main())


def test_the_end_of_a_turn_is_the_whole_message_or_the_short_one_and_at_the_same_place_in_the_order() -> None:
    async def main() -> None:
        world = World()
        plain, streaming = await world.join(stream=False), await world.join(stream=True)
        await world.publish(answer(1, role="USER", message_id="q1"))
        await world.signal(frame())
        await world.publish(answer(2))
        await world.publish(answer(3, turn=False, message_id="m3"))
        assert (names(plain), plain.seqs()) == (["new-msg"] * 3, [1, 2, 3])
        assert [(name, data.get("seq")) for name, data in streaming.frames] == [
            ("new-msg", 1),
            ("ai-chunk", None),
            ("ai-end", 2),
            ("new-msg", 3),
        ]
        whole, short = plain.frames[1][1], streaming.frames[2][1]
        assert whole["content"] == "the text"
        assert short == {key: value for key, value in whole.items() if key in short}
        assert {"content", "parts"}.isdisjoint(short)
        assert AiEnd.model_validate(short).turn.last == 3

    run_in_virtual_time(main())


def test_a_replay_has_the_whole_message() -> None:
    async def main() -> None:
        world = World()
        await world.join(stream=False)
        await world.publish(answer(1))
        socket = world.rooms.socket()
        ack = await world.joins.join(socket, "a", None, Cursor(epoch="e1", seq=0), stream=True)
        assert (ack.recovered, names(socket)) == (True, ["new-msg"])

    run_in_virtual_time(main())


def test_another_value_of_stream_in_a_repeated_join_takes_effect() -> None:
    async def main() -> None:
        world = World()
        socket = await world.join(stream=False)
        await world.join(stream=True, socket=socket)
        await world.signal(frame())
        await world.publish(answer(1))
        await world.join(stream=False, socket=socket)
        await world.signal(frame(1))
        await world.publish(answer(2))
        assert names(socket) == ["ai-chunk", "ai-end", "new-msg"]

    run_in_virtual_time(main())


def test_a_socket_that_leaves_or_whose_user_is_removed_gets_no_further_chunk() -> None:
    async def main() -> None:
        world = World()
        world.database.members = {"ada", "bob", "eve"}
        left, kicked, stays = [await world.join(stream=True, user=user) for user in ("ada", "bob", "eve")]
        await world.signal(frame())
        await world.joins.leave(left, "a")
        world.database.remove("a", "bob")
        await world.database.publish("a")
        await world.signal(frame(1))
        assert names(left) == ["ai-chunk"]
        assert names(kicked) == ["ai-chunk", "member-removed"]
        assert names(stays) == ["ai-chunk", "member-removed", "ai-chunk"]
        assert world.rooms.members[stream_room("a")] == {stays.sid}

    run_in_virtual_time(main())


def test_no_chunk_is_emitted_while_memberships_are_being_confirmed() -> None:
    async def main() -> None:
        world = World()
        world.database.members = {"ada"}
        socket = await world.join(stream=True, user="ada")
        world.database.available = False
        # A log of another epoch: the feed resyncs, and cannot confirm the members.
        await world.log.seed("a", Head("e2", 8), [answer(8)])
        await world.signal(frame())
        assert names(socket) == ["resync"]
        world.database.available = True
        await asyncio.sleep(20)
        await world.signal(frame(1))
        assert names(socket) == ["resync", "ai-chunk"]
        await world.feeds.close()

    run_in_virtual_time(main())


def test_a_join_that_exceeds_the_rooms_of_a_socket_enters_none() -> None:
    class FullSocket(ClientSocket):
        def join(self, room: str) -> None:
            if room == stream_room("a"):
                raise RoomLimitExceeded(1)
            super().join(room)

    async def main() -> None:
        world = World()
        socket = FullSocket("full", world.rooms)
        world.rooms.sockets[socket.sid] = socket
        with pytest.raises(JoinRefused) as refused:
            await world.join(stream=True, socket=socket)
        assert refused.value.code == "limit-reached"
        assert world.rooms.members[chat_room("a")] == set()
        # A socket that follows the chat still does after such a refusal.
        await world.join(stream=False, socket=socket)
        with pytest.raises(JoinRefused):
            await world.join(stream=True, socket=socket)
        await world.publish(answer(1))
        assert names(socket) == ["new-msg"]

    run_in_virtual_time(main())


@pytest.mark.parametrize(
    "args",
    [
        answer(1, role="USER").args,
        answer(1, turn=False).args,
        b'["member-added",{"id":"x","role":"AI","turn":{}}]',
        b'["new-msg",{"id":"x","role":"USER","content":"\\"role\\":\\"AI\\",","turn":{}}]',
    ],
)
def test_other_events_have_no_short_form(args: bytes) -> None:
    assert short_end(args) is None
