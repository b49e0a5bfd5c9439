"""The oracle of the chaos runs fails on each thing that must not happen."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest

from chaos.cluster.crowd import Crowd, Plan
from chaos.cluster.oracle import Connection, Joined, Resynced, Told, judge, judge_connection

EPOCH = "e1"
TRUTH = [Told(seq, f"id-{seq}", EPOCH, f"{seq % 2}-{seq}", "c", f"message {seq}") for seq in range(1, 7)]
ACKNOWLEDGED = {str(message.client_id): (message.seq, message.id) for message in TRUTH}


@pytest.fixture(autouse=True)
def no_latecomers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chaos.cluster.crowd.QUIET_S", 0.0)


# --- what the clients ended up with


def test_a_run_in_which_everybody_has_everything_once_in_order_is_exact() -> None:
    judge(TRUTH, ACKNOWLEDGED, {0: TRUTH, 1: list(TRUTH)})
    # What was stored and not acknowledged is allowed: the answer may have been lost.
    judge(TRUTH, {}, {0: TRUTH})


@pytest.mark.parametrize(
    ("applied", "what"),
    [
        (TRUTH[:-1], "the last one is lost"),
        (TRUTH[:2] + TRUTH[3:], "one in the middle is lost"),
        ([*TRUTH, TRUTH[-1]], "one is doubled"),
        ([TRUTH[1], TRUTH[0], *TRUTH[2:]], "two are reordered"),
        ([*TRUTH, TRUTH[0]._replace(seq=7, id="id-7")], "one is not of the truth"),
        ([*TRUTH[:-1], TRUTH[-1]._replace(content="another")], "one has another text"),
        ([*TRUTH[:-1], TRUTH[-1]._replace(chat="d")], "one is of another chat"),
        ([], "everything is lost"),
    ],
)
def test_a_client_that_has_something_else_fails(applied: list[Told], what: str) -> None:
    with pytest.raises(AssertionError, match="1 clients differ"):
        judge(TRUTH, ACKNOWLEDGED, {0: TRUTH, 1: applied})
    assert what


def test_two_clients_that_saw_different_orders_fail() -> None:
    swapped = [*TRUTH[:4], TRUTH[5], TRUTH[4]]
    with pytest.raises(AssertionError, match=r"1 clients differ from the truth: \[1\]"):
        judge(TRUTH, ACKNOWLEDGED, {0: TRUTH, 1: swapped})


def test_an_acknowledged_message_that_is_not_stored_fails() -> None:
    with pytest.raises(AssertionError, match="not stored once"):
        judge(TRUTH, {**ACKNOWLEDGED, "0-8": (8, "id-8")}, {})


def test_a_message_that_is_stored_twice_fails() -> None:
    twice = [*TRUTH, TRUTH[5]._replace(seq=7, id="id-7")]
    with pytest.raises(AssertionError, match="not stored once"):
        judge(twice, ACKNOWLEDGED, {})


@pytest.mark.parametrize("answer", [(5, "id-6"), (6, "id-5"), (5, "id-5"), (9, "id-6"), (0, "id-6")])
def test_an_answer_with_another_seq_or_id_fails(answer: tuple[int, str]) -> None:
    with pytest.raises(AssertionError, match="another seq"):
        judge(TRUTH, {**ACKNOWLEDGED, "0-6": answer}, {})


def test_a_truth_with_a_gap_or_out_of_a_senders_order_fails() -> None:
    with pytest.raises(AssertionError, match="gaps"):
        judge(TRUTH[:2] + TRUTH[3:], {}, {})
    swapped = [TRUTH[0]._replace(client_id="0-2"), TRUTH[1]._replace(client_id="0-1")]
    with pytest.raises(AssertionError, match="out of order"):
        judge(swapped, {}, {})


# --- what one connection brought


def joined(seq: int, *, recovered: bool = True, epoch: str = EPOCH, reset: bool = False) -> Joined:
    return Joined(epoch, seq, recovered, reset)


def resync(seq: int, *, epoch: str = EPOCH, reset: bool = False) -> Resynced:
    return Resynced(epoch, seq, reset)


M1, M2, M3, M4, M5, M6 = TRUTH


@pytest.mark.parametrize(
    "seen",
    [
        [],
        [M3, M4],  # it ended before the ack
        [joined(2), M3, M4],
        [M3, M4, joined(4), M5, M6],
        [joined(4, recovered=False), M5],
        [joined(2), M3, resync(5), M6],
        [joined(2), resync(2), M3],
        [joined(1, recovered=False, reset=True), M2],
        [joined(2), M3, resync(4, reset=True), M5],
    ],
)
def test_a_connection_that_keeps_the_promise_passes(seen: list[Told | Joined | Resynced]) -> None:
    judge_connection(Connection(0, EPOCH, 2, seen, ended=True), TRUTH)


@pytest.mark.parametrize(
    "seen",
    [
        [joined(2), M3, M4, M5, M6],
        [joined(6, recovered=False)],
        [joined(2), resync(6)],
        [M3, M4, M5, M6, joined(6)],
    ],
)
def test_a_connection_that_lives_to_the_end_and_has_brought_everything_passes(
    seen: list[Told | Joined | Resynced],
) -> None:
    judge_connection(Connection(0, EPOCH, 2, seen), TRUTH)


@pytest.mark.parametrize(
    ("seen", "why"),
    [
        ([joined(2), M3, M4], "was brought 4 of 6, and then nothing more"),
        ([joined(2), M3, resync(5)], "was brought 5 of 6, and then nothing more"),
        ([], "never told that it had joined"),
        ([M3, M4, M5, M6], "never told that it had joined"),
    ],
)
def test_a_connection_that_lives_to_the_end_and_falls_silent_fails(
    seen: list[Told | Joined | Resynced], why: str
) -> None:
    with pytest.raises(AssertionError, match=why):
        judge(TRUTH, ACKNOWLEDGED, {0: TRUTH}, [Connection(0, EPOCH, 2, seen)])


@pytest.mark.parametrize(
    ("seen", "why"),
    [
        ([joined(2), M3, M4, M4], "stale, or twice"),
        ([joined(2), M3, M4, M3], "stale, or twice"),
        # A gateway that was stopped wakes and sends what its clients have.
        ([joined(2), M2], "stale, or twice"),
        ([joined(2), M3, resync(6), M4], "stale, or twice"),
        ([M1, M2, M3, joined(3)], "stale, or twice"),
        ([M3, M4, M3, joined(4)], "stale, or twice"),
        ([joined(2), M3, M5], "a hole, and nothing said so"),
        ([joined(2), M4, M3], "a hole, and nothing said so"),
        ([joined(4, recovered=False), M6], "a hole, and nothing said so"),
        ([M4, M3, joined(4)], "a hole, and nothing said so"),
        ([M3, joined(4)], "was replayed up to 3"),
        ([joined(4)], "was replayed up to 2"),
        ([M3, joined(3, recovered=False)], "was replayed up to 3"),
        ([joined(2, epoch="e2")], "was replayed up to 2"),
        ([joined(2, reset=True)], "was replayed up to 2"),
        ([joined(2), joined(2)], "told twice"),
        ([resync(4)], "before it had joined"),
        ([joined(4, recovered=False), resync(3)], "was at 4 and told"),
        ([joined(2), resync(3, epoch="e2")], "was at 2 and told"),
        ([joined(2), M3._replace(epoch="e2")], "was in epoch"),
        ([joined(2), M3._replace(id="id-4")], "but stored is"),
        ([joined(2), M3._replace(content="another")], "but stored is"),
        ([joined(2), M3, M4, M5, M6, M6._replace(seq=7)], "is not stored"),
        ([joined(9, recovered=False)], "and stored are 6"),
        ([joined(2), resync(7)], "and stored are 6"),
    ],
)
def test_a_connection_that_breaks_the_promise_fails(seen: list[Told | Joined | Resynced], why: str) -> None:
    broken = Connection(7, EPOCH, 2, seen, ended=True)
    with pytest.raises(AssertionError, match=f"client 7 .*{why}"):
        judge_connection(broken, TRUTH)
    # Whatever the client made of it.
    with pytest.raises(AssertionError, match=why):
        judge(TRUTH, ACKNOWLEDGED, {7: TRUTH}, [broken])


# --- what is recorded for it


def frame(seq: int) -> dict[str, Any]:
    message = TRUTH[seq - 1]
    return {
        "seq": seq,
        "id": message.id,
        "epoch": EPOCH,
        "clientMsgId": message.client_id,
        "chatId": "c",
        "content": message.content,
    }


def crowd_with_truth(monkeypatch: pytest.MonkeyPatch, acknowledged: int = 6) -> Crowd:
    """One member of a chat that has the first six messages; REST is this test."""
    crowd = Crowd([1], ["http://nowhere"], Plan(1, ("c",)), seed=1)
    crowd.acknowledged = {str(message.client_id): ("c", message.seq, message.id) for message in TRUTH[:acknowledged]}
    crowd.sent = acknowledged
    member = crowd.members[0]
    member.epoch = EPOCH
    member.connections.append(Connection(0, EPOCH, 0))
    member._acknowledged({"ok": True, "epoch": EPOCH, "seq": 0, "recovered": True})
    member._busy = False

    async def get(path: str, *, after: int, **_: Any) -> Any:
        assert path == "/api/chats/c/events"
        return {"reset": False, "more": False, "events": [{"data": frame(seq)} for seq in range(after + 1, 7)]}

    monkeypatch.setattr(crowd, "get", get)
    return crowd


def receiver(crowd: Crowd) -> Callable[[dict[str, Any]], None]:
    def receive(data: dict[str, Any]) -> None:
        name = "resync" if "reset" in data else "new-msg"
        crowd.members[0]._event(name, lambda: data, json.dumps(data).encode())

    return receive


async def settled(crowd: Crowd) -> None:
    async with asyncio.timeout(1):
        if (fetching := crowd.members[0]._fetching) is not None:
            await fetching


async def test_a_run_of_real_frames_is_judged_exact(monkeypatch: pytest.MonkeyPatch) -> None:
    crowd = crowd_with_truth(monkeypatch)
    receive = receiver(crowd)
    for seq in (1, 2, 3):
        receive(frame(seq))
    receive({"epoch": EPOCH, "seq": 5, "reset": False})
    await settled(crowd)
    # REST was ahead of the gateway: what it gave comes again, and is dropped.
    receive(frame(6))
    assert "1 resyncs" in await crowd.exact()


@pytest.mark.parametrize(
    ("seqs", "why"),
    [
        ((1, 2, 3, 3, 4, 5, 6), "stale, or twice"),
        ((1, 2, 3, 4, 5, 6, 2), "stale, or twice"),
        ((1, 3, 2, 4, 5, 6), "a hole"),
        ((1, 2, 4, 5, 6), "a hole"),
        ((1, 2, 3, 4, 5), "differ from the truth"),
    ],
)
async def test_a_client_that_hides_what_its_gateway_did_wrong_is_seen_through(
    seqs: tuple[int, ...], why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    crowd = crowd_with_truth(monkeypatch)
    receive = receiver(crowd)
    for seq in seqs:
        receive(frame(seq))
    await settled(crowd)
    with pytest.raises(AssertionError, match=why):
        await crowd.exact()


async def test_another_message_under_a_seq_that_the_client_has_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    crowd = crowd_with_truth(monkeypatch)
    receive = receiver(crowd)
    for seq in (1, 2, 3, 4, 5):
        receive(frame(seq))
    receive({**frame(6), "content": "another"})
    with pytest.raises(AssertionError, match="differ from the truth"):
        await crowd.exact()


async def test_a_run_in_which_nothing_was_sent_proves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(AssertionError, match="nothing was sent"):
        await crowd_with_truth(monkeypatch, acknowledged=0).exact()


async def test_a_send_that_was_never_acknowledged_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    crowd = crowd_with_truth(monkeypatch)
    crowd.sent += 1
    with pytest.raises(AssertionError, match="7 were sent"):
        await crowd.exact()


async def test_a_client_that_was_told_to_throw_away_what_it_has_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    crowd = crowd_with_truth(monkeypatch)
    receive = receiver(crowd)
    for seq in range(1, 7):
        receive(frame(seq))
    crowd.tally.resets += 1
    with pytest.raises(AssertionError, match="1 resets"):
        await crowd.exact()


async def test_a_resync_that_comes_while_the_client_fetches_is_not_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    crowd = crowd_with_truth(monkeypatch)
    receive = receiver(crowd)
    answers = [3, 6]

    async def get(_path: str, *, after: int, **_: Any) -> Any:
        end = answers.pop(0)
        if end == 3:
            # The answer was made before these were committed.
            receive({"epoch": EPOCH, "seq": 6, "reset": False})
        return {"reset": False, "more": False, "events": [{"data": frame(seq)} for seq in range(after + 1, end + 1)]}

    monkeypatch.setattr(crowd, "get", get)
    receive({"epoch": EPOCH, "seq": 3, "reset": False})
    await settled(crowd)
    assert crowd.members[0].seq == 6
