"""The oracle of the chaos runs detects each kind of error."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest

from chaos.cluster.client_pool import ClientPool, Plan
from chaos.cluster.oracle import (
    ChatMessage,
    ConnectionRecord,
    JoinAck,
    ResyncNotice,
    check_chat,
    check_connection,
)

EPOCH = "e1"
STORED = [ChatMessage(seq, f"id-{seq}", EPOCH, f"{seq % 2}-{seq}", "c", f"message {seq}") for seq in range(1, 7)]
ACKNOWLEDGED = {str(message.client_id): (message.seq, message.id) for message in STORED}


@pytest.fixture(autouse=True)
def no_quiet_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chaos.cluster.client_pool.QUIET_S", 0.0)


# --- what the clients have at the end


def test_a_run_passes_in_which_every_client_has_every_message_once_in_order() -> None:
    check_chat(STORED, ACKNOWLEDGED, {0: STORED, 1: list(STORED)})
    # A stored message need not be acknowledged: its answer may have been lost.
    check_chat(STORED, {}, {0: STORED})


@pytest.mark.parametrize(
    ("applied", "what"),
    [
        (STORED[:-1], "the last one is lost"),
        (STORED[:2] + STORED[3:], "one in the middle is lost"),
        ([*STORED, STORED[-1]], "one is repeated"),
        ([STORED[1], STORED[0], *STORED[2:]], "two are reordered"),
        ([*STORED, STORED[0]._replace(seq=7, id="id-7")], "one is not stored"),
        ([*STORED[:-1], STORED[-1]._replace(content="another")], "one has another text"),
        ([*STORED[:-1], STORED[-1]._replace(chat="d")], "one is of another chat"),
        ([], "everything is lost"),
    ],
)
def test_a_client_with_other_messages_fails(applied: list[ChatMessage], what: str) -> None:
    with pytest.raises(AssertionError, match="1 clients differ"):
        check_chat(STORED, ACKNOWLEDGED, {0: STORED, 1: applied})
    assert what


def test_two_clients_that_saw_different_orders_fail() -> None:
    swapped = [*STORED[:4], STORED[5], STORED[4]]
    with pytest.raises(AssertionError, match=r"1 clients differ from the database: \[1\]"):
        check_chat(STORED, ACKNOWLEDGED, {0: STORED, 1: swapped})


def test_an_acknowledged_message_that_is_not_stored_fails() -> None:
    with pytest.raises(AssertionError, match="not stored once"):
        check_chat(STORED, {**ACKNOWLEDGED, "0-8": (8, "id-8")}, {})


def test_a_message_that_is_stored_twice_fails() -> None:
    twice = [*STORED, STORED[5]._replace(seq=7, id="id-7")]
    with pytest.raises(AssertionError, match="not stored once"):
        check_chat(twice, ACKNOWLEDGED, {})


@pytest.mark.parametrize("answer", [(5, "id-6"), (6, "id-5"), (5, "id-5"), (9, "id-6"), (0, "id-6")])
def test_an_answer_with_another_seq_or_id_than_stored_fails(answer: tuple[int, str]) -> None:
    with pytest.raises(AssertionError, match="another seq"):
        check_chat(STORED, {**ACKNOWLEDGED, "0-6": answer}, {})


def test_a_database_with_a_gap_or_out_of_a_senders_order_fails() -> None:
    with pytest.raises(AssertionError, match="gaps"):
        check_chat(STORED[:2] + STORED[3:], {}, {})
    swapped = [STORED[0]._replace(client_id="0-2"), STORED[1]._replace(client_id="0-1")]
    with pytest.raises(AssertionError, match="out of order"):
        check_chat(swapped, {}, {})


# --- what one connection received


def joined(seq: int, *, recovered: bool = True, epoch: str = EPOCH, reset: bool = False) -> JoinAck:
    return JoinAck(epoch, seq, recovered, reset)


def resync(seq: int, *, epoch: str = EPOCH, reset: bool = False) -> ResyncNotice:
    return ResyncNotice(epoch, seq, reset)


M1, M2, M3, M4, M5, M6 = STORED


@pytest.mark.parametrize(
    "received",
    [
        [],
        [M3, M4],  # the connection ended before the ack
        [joined(2), M3, M4],
        [M3, M4, joined(4), M5, M6],
        [joined(4, recovered=False), M5],
        [joined(2), M3, resync(5), M6],
        [joined(2), resync(2), M3],
        [joined(1, recovered=False, reset=True), M2],
        [joined(2), M3, resync(4, reset=True), M5],
    ],
)
def test_a_connection_that_meets_the_guarantees_passes(received: list[ChatMessage | JoinAck | ResyncNotice]) -> None:
    check_connection(ConnectionRecord(0, EPOCH, 2, received, ended=True), STORED)


@pytest.mark.parametrize(
    "received",
    [
        [joined(2), M3, M4, M5, M6],
        [joined(6, recovered=False)],
        [joined(2), resync(6)],
        [M3, M4, M5, M6, joined(6)],
    ],
)
def test_an_open_connection_that_received_everything_passes(
    received: list[ChatMessage | JoinAck | ResyncNotice],
) -> None:
    check_connection(ConnectionRecord(0, EPOCH, 2, received), STORED)


@pytest.mark.parametrize(
    ("received", "why"),
    [
        ([joined(2), M3, M4], "got 4 of 6 and then nothing"),
        ([joined(2), M3, resync(5)], "got 5 of 6 and then nothing"),
        ([], "never got the ack"),
        ([M3, M4, M5, M6], "never got the ack"),
    ],
)
def test_an_open_connection_that_did_not_receive_everything_fails(
    received: list[ChatMessage | JoinAck | ResyncNotice], why: str
) -> None:
    with pytest.raises(AssertionError, match=why):
        check_chat(STORED, ACKNOWLEDGED, {0: STORED}, [ConnectionRecord(0, EPOCH, 2, received)])


@pytest.mark.parametrize(
    ("received", "why"),
    [
        ([joined(2), M3, M4, M4], "stale or repeated"),
        ([joined(2), M3, M4, M3], "stale or repeated"),
        # A gateway continues after SIGSTOP and sends an event again.
        ([joined(2), M2], "stale or repeated"),
        ([joined(2), M3, resync(6), M4], "stale or repeated"),
        ([M1, M2, M3, joined(3)], "stale or repeated"),
        ([M3, M4, M3, joined(4)], "stale or repeated"),
        ([joined(2), M3, M5], "a gap without a resync"),
        ([joined(2), M4, M3], "a gap without a resync"),
        ([joined(4, recovered=False), M6], "a gap without a resync"),
        ([M4, M3, joined(4)], "a gap without a resync"),
        ([M3, joined(4)], "was replayed up to 3"),
        ([joined(4)], "was replayed up to 2"),
        ([M3, joined(3, recovered=False)], "was replayed up to 3"),
        ([joined(2, epoch="e2")], "was replayed up to 2"),
        ([joined(2, reset=True)], "was replayed up to 2"),
        ([joined(2), joined(2)], "two acks"),
        ([resync(4)], "before the ack"),
        ([joined(4, recovered=False), resync(3)], "was at 4 and got"),
        ([joined(2), resync(3, epoch="e2")], "was at 2 and got"),
        ([joined(2), M3._replace(epoch="e2")], "was in epoch"),
        ([joined(2), M3._replace(id="id-4")], "but stored is"),
        ([joined(2), M3._replace(content="another")], "but stored is"),
        ([joined(2), M3, M4, M5, M6, M6._replace(seq=7)], "is not stored"),
        ([joined(9, recovered=False)], "and stored are 6"),
        ([joined(2), resync(7)], "and stored are 6"),
    ],
)
def test_a_connection_that_breaks_a_guarantee_fails(
    received: list[ChatMessage | JoinAck | ResyncNotice], why: str
) -> None:
    broken = ConnectionRecord(7, EPOCH, 2, received, ended=True)
    with pytest.raises(AssertionError, match=f"client 7 .*{why}"):
        check_connection(broken, STORED)
    # Also if the client ends up with the right messages.
    with pytest.raises(AssertionError, match=why):
        check_chat(STORED, ACKNOWLEDGED, {7: STORED}, [broken])


# --- what the pool records


def frame(seq: int) -> dict[str, Any]:
    message = STORED[seq - 1]
    return {
        "seq": seq,
        "id": message.id,
        "epoch": EPOCH,
        "clientMsgId": message.client_id,
        "chatId": "c",
        "content": message.content,
    }


def pool_with_stored_messages(monkeypatch: pytest.MonkeyPatch, acknowledged: int = 6) -> ClientPool:
    """One member of a chat with six stored messages; the test answers its REST requests."""
    pool = ClientPool([1], ["http://nowhere"], Plan(1, ("c",)), seed=1)
    pool.acknowledged = {str(message.client_id): ("c", message.seq, message.id) for message in STORED[:acknowledged]}
    pool.sent = acknowledged
    member = pool.members[0]
    member.epoch = EPOCH
    member.connections.append(ConnectionRecord(0, EPOCH, 0))
    member._acknowledged({"ok": True, "epoch": EPOCH, "seq": 0, "recovered": True})
    member._buffering = False

    async def get(path: str, *, after: int, **_: Any) -> Any:
        assert path == "/api/chats/c/events"
        return {"reset": False, "more": False, "events": [{"data": frame(seq)} for seq in range(after + 1, 7)]}

    monkeypatch.setattr(pool, "get", get)
    return pool


def receiver(pool: ClientPool) -> Callable[[dict[str, Any]], None]:
    def receive(data: dict[str, Any]) -> None:
        name = "resync" if "reset" in data else "new-msg"
        pool.members[0]._event(name, lambda: data, json.dumps(data).encode())

    return receive


async def caught_up(pool: ClientPool) -> None:
    async with asyncio.timeout(1):
        if (fetching := pool.members[0]._catching_up) is not None:
            await fetching


async def test_a_run_of_real_frames_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    pool = pool_with_stored_messages(monkeypatch)
    receive = receiver(pool)
    for seq in (1, 2, 3):
        receive(frame(seq))
    receive({"epoch": EPOCH, "seq": 5, "reset": False})
    await caught_up(pool)
    # REST was ahead of the gateway: the event comes again and is dropped.
    receive(frame(6))
    assert "1 resyncs" in await pool.check()


@pytest.mark.parametrize(
    ("seqs", "why"),
    [
        ((1, 2, 3, 3, 4, 5, 6), "stale or repeated"),
        ((1, 2, 3, 4, 5, 6, 2), "stale or repeated"),
        ((1, 3, 2, 4, 5, 6), "a gap"),
        ((1, 2, 4, 5, 6), "a gap"),
        ((1, 2, 3, 4, 5), "differ from the database"),
    ],
)
async def test_a_gateways_error_is_found_although_the_client_hides_it(
    seqs: tuple[int, ...], why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool = pool_with_stored_messages(monkeypatch)
    receive = receiver(pool)
    for seq in seqs:
        receive(frame(seq))
    await caught_up(pool)
    with pytest.raises(AssertionError, match=why):
        await pool.check()


async def test_another_message_under_a_known_seq_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    pool = pool_with_stored_messages(monkeypatch)
    receive = receiver(pool)
    for seq in (1, 2, 3, 4, 5):
        receive(frame(seq))
    receive({**frame(6), "content": "another"})
    with pytest.raises(AssertionError, match="differ from the database"):
        await pool.check()


async def test_a_run_without_sends_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(AssertionError, match="nothing was sent"):
        await pool_with_stored_messages(monkeypatch, acknowledged=0).check()


async def test_a_send_that_was_never_acknowledged_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    pool = pool_with_stored_messages(monkeypatch)
    pool.sent += 1
    with pytest.raises(AssertionError, match="7 were sent"):
        await pool.check()


async def test_a_reset_of_a_client_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    pool = pool_with_stored_messages(monkeypatch)
    receive = receiver(pool)
    for seq in range(1, 7):
        receive(frame(seq))
    pool.counters.resets += 1
    with pytest.raises(AssertionError, match="1 resets"):
        await pool.check()


async def test_a_resync_during_a_fetch_is_followed_by_another_fetch(monkeypatch: pytest.MonkeyPatch) -> None:
    pool = pool_with_stored_messages(monkeypatch)
    receive = receiver(pool)
    answers = [3, 6]

    async def get(_path: str, *, after: int, **_: Any) -> Any:
        end = answers.pop(0)
        if end == 3:
            # Committed after the API read its answer.
            receive({"epoch": EPOCH, "seq": 6, "reset": False})
        return {"reset": False, "more": False, "events": [{"data": frame(seq)} for seq in range(after + 1, end + 1)]}

    monkeypatch.setattr(pool, "get", get)
    receive({"epoch": EPOCH, "seq": 3, "reset": False})
    await caught_up(pool)
    assert pool.members[0].seq == 6
