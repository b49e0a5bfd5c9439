"""The contract of `chat.ports.ChatStore`, over every implementation."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from itertools import product

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from roomcast.chat.commands import MarkPublished, MemberAction, NewChat, NewMemberChange
from roomcast.chat.errors import AdditionLimitReached, ChatExists, ChatNotFound, NotAMember, StoreUnavailable
from roomcast.chat.model import ChatPosition, StoredMember
from roomcast.chat.policies.additions import AdditionLimits
from roomcast.chat.ports import ChatStore
from roomcast.contract.cursor import Cursor
from roomcast.contract.events import EventType, LastMessage, MemberRole
from roomcast.store.opening import open_store
from roomcast.store.options import DatabaseOptions
from roomcast.store.queries import chats as chat_queries
from support.backend import START, new_message
from support.databases import KINDS, fresh_options


@pytest.fixture
async def store(database_options: DatabaseOptions) -> AsyncIterator[ChatStore]:
    async with open_store(database_options) as opened:
        yield opened.chats


def change(user_id: str, action: MemberAction, *, member: str | None = None) -> NewMemberChange:
    return NewMemberChange("c", user_id, action, member, START, member=member)


async def test_a_message_is_an_event_a_message_and_an_outbox_mark(store: ChatStore) -> None:
    committed = await store.commit(new_message(content="héllo", client_msg_id="x"))
    assert committed.created
    event = committed.event
    assert (event.chat_id, event.seq, event.epoch, event.type) == ("c", 1, store.epoch, EventType.MESSAGE_CREATED)
    payload = json.loads(event.payload)
    assert payload == {
        "id": payload["id"],
        "role": "USER",
        "content": "héllo",
        "time": "2026-01-02T03:04:05.678Z",
        "chatId": "c",
        "epoch": store.epoch,
        "seq": 1,
        "place": 1,
        "version": 1,
        "turn": None,
        "parts": None,
        "userId": "ann",
        "clientMsgId": "x",
        "status": "sent",
    }
    assert await store.events_after("c", 0, 10) == ([event], 1)
    messages, head = await store.messages("c", before=None, after=None, limit=10)
    assert [(message.id, message.seq, message.content) for message in messages] == [(payload["id"], 1, "héllo")]
    assert head == 1
    assert await store.unpublished(10) == ["c"]


async def test_a_rejected_write_leaves_no_gap_in_the_seqs(store: ChatStore) -> None:
    await store.commit(new_message())
    with pytest.raises(NotAMember):
        await store.commit(new_message(member="nobody"))
    assert (await store.commit(new_message())).event.seq == 2


async def test_a_repeat_returns_the_first_result_and_writes_nothing(store: ChatStore) -> None:
    first = await store.commit(new_message(content="one", client_msg_id="x"))
    repeat = await store.commit(new_message(content="two", client_msg_id="x"))
    assert not repeat.created
    assert repeat.event == first.event
    assert (await store.events_after("c", 0, 10))[1] == 1


async def test_the_same_key_in_another_chat_is_another_message(store: ChatStore) -> None:
    await store.commit(new_message("c", client_msg_id="x"))
    assert (await store.commit(new_message("d", client_msg_id="x"))).created


async def test_repeats_in_one_batch_are_one_message(store: ChatStore, caplog: pytest.LogCaptureFixture) -> None:
    outcomes = await asyncio.gather(*(store.commit(new_message(client_msg_id="x")) for _ in range(20)))
    assert caplog.text == ""  # the batch was not committed one by one
    assert sum(outcome.created for outcome in outcomes) == 1
    assert len({outcome.event.payload for outcome in outcomes}) == 1


@pytest.mark.parametrize("size", [1, 63, 64, 200])
async def test_every_row_of_a_batch_is_stored_whatever_its_size(store: ChatStore, size: int) -> None:
    first = asyncio.create_task(store.commit(new_message("first")))  # the others wait for its commit
    sent = [new_message(content=f"{number} ü", client_msg_id=f"key-{number}") for number in range(size)]
    outcomes = await asyncio.gather(*map(store.commit, sent))
    await first
    assert [outcome.event.seq for outcome in outcomes] == list(range(1, size + 1))
    events, head = await store.events_after("c", 0, size + 1)
    assert (events, head) == ([outcome.event for outcome in outcomes], size)
    messages, _ = await store.messages("c", before=None, after=0, limit=size + 1)
    found = [(message.id, message.content, message.client_msg_id, message.seq) for message in messages]
    assert found == [(new.id, new.content, new.client_msg_id, seq) for seq, new in enumerate(sent, 1)]


async def test_a_rejected_message_does_not_affect_the_others_of_its_batch(store: ChatStore) -> None:
    outcomes = await asyncio.gather(
        store.commit(new_message()),
        store.commit(new_message("unknown", creates=None)),
        store.commit(new_message()),
        return_exceptions=True,
    )
    assert isinstance(outcomes[1], ChatNotFound)
    assert [outcome.event.seq for outcome in (outcomes[0], outcomes[2])] == [1, 2]  # type: ignore[union-attr]


async def test_a_message_that_violates_a_constraint_does_not_affect_the_others_of_its_batch(
    store: ChatStore, caplog: pytest.LogCaptureFixture
) -> None:
    # A message of another chat has this id already, which the batch does not load.
    await store.commit(new_message("d", id="taken"))
    outcomes = await asyncio.gather(
        store.commit(new_message()),
        store.commit(new_message(id="taken")),
        store.commit(new_message()),
        return_exceptions=True,
    )
    assert isinstance(outcomes[1], Exception)
    assert [outcome.event.seq for outcome in (outcomes[0], outcomes[2])] == [1, 2]  # type: ignore[union-attr]
    assert "one by one" in caplog.text


async def test_a_cancelled_send_is_committed_with_the_others(store: ChatStore) -> None:
    cancelled = asyncio.create_task(store.commit(new_message(client_msg_id="x")))
    kept = asyncio.create_task(store.commit(new_message()))
    await asyncio.sleep(0)
    cancelled.cancel()
    assert (await kept).event.seq == 2
    assert not (await store.commit(new_message(client_msg_id="x"))).created


async def test_an_unknown_chat_is_an_error_unless_the_message_creates_it(store: ChatStore) -> None:
    with pytest.raises(ChatNotFound):
        await store.commit(new_message(creates=None))
    assert await store.chat("c") is None
    await store.commit(new_message())
    assert (await store.commit(new_message(creates=None))).event.seq == 2


async def test_a_chat_is_created_with_its_members_as_its_first_events(store: ChatStore) -> None:
    chat, events = await store.commit(NewChat("c", "Title", None, START, "ann", ("bob", "ann")))
    assert (chat.title, chat.last_seq, chat.created_at) == ("Title", 2, START)
    assert [(event.seq, event.type, json.loads(event.payload)["userId"]) for event in events] == [
        (1, EventType.MEMBER_ADDED, "ann"),
        (2, EventType.MEMBER_ADDED, "bob"),
    ]
    assert [member.user_id for member in await store.members("c", 10)] == ["ann", "bob"]
    assert await store.chat("c") == chat


async def test_a_chat_id_is_used_once(store: ChatStore) -> None:
    new = NewChat("c", None, None, START)
    outcomes = await asyncio.gather(*(store.commit(new) for _ in range(3)), return_exceptions=True)
    assert sum(isinstance(outcome, ChatExists) for outcome in outcomes) == 2


async def test_membership_is_checked_at_the_commit(store: ChatStore) -> None:
    await store.commit(NewChat("c", None, None, START, "ann"))
    assert (await store.commit(new_message(member="ann", client_msg_id="x"))).created
    with pytest.raises(NotAMember):
        await store.commit(new_message(member="eve"))
    with pytest.raises(NotAMember):
        await store.commit(new_message(member="eve", client_msg_id="x"))
    with pytest.raises(NotAMember):
        await store.commit(change("eve", MemberAction.ADD, member="eve"))
    removal, send = await asyncio.gather(
        store.commit(change("ann", MemberAction.REMOVE, member="ann")),
        store.commit(new_message(member="ann")),
        return_exceptions=True,
    )
    assert not isinstance(removal, BaseException)
    assert isinstance(send, NotAMember)


async def test_a_member_change_takes_a_seq_unless_it_changes_nothing(store: ChatStore) -> None:
    await store.commit(new_message())
    added = await store.commit(change("bob", MemberAction.ADD))
    assert added is not None
    assert json.loads(added.event.payload) == {
        "chatId": "c",
        "epoch": store.epoch,
        "seq": 2,
        "userId": "bob",
        "actorId": None,
        "role": "member",
        "time": "2026-01-02T03:04:05.678Z",
    }
    assert await store.commit(change("bob", MemberAction.ADD)) is None
    removed = await store.commit(change("bob", MemberAction.REMOVE))
    assert removed is not None
    assert (removed.event.seq, removed.event.type) == (3, EventType.MEMBER_REMOVED)
    assert await store.commit(change("bob", MemberAction.REMOVE)) is None
    assert await store.members("c", 10) == []


async def test_a_member_change_in_an_unknown_chat_is_rejected(store: ChatStore) -> None:
    with pytest.raises(ChatNotFound):
        await store.commit(change("bob", MemberAction.ADD))


async def test_the_last_of_several_changes_of_one_member_in_a_batch_wins(store: ChatStore) -> None:
    await store.commit(new_message())
    actions = [MemberAction.ADD, MemberAction.REMOVE, MemberAction.ADD]
    outcomes = await asyncio.gather(*(store.commit(change("bob", action)) for action in actions))
    assert [outcome.event.seq for outcome in outcomes if outcome] == [2, 3, 4]
    assert [member.user_id for member in await store.members("c", 10)] == ["bob"]


async def test_chats_are_listed_by_latest_activity_in_pages(store: ChatStore) -> None:
    for number in range(5):
        await store.commit(new_message(f"c{number}", created_at=START + timedelta(seconds=number)))
    await store.commit(new_message("c1", created_at=START + timedelta(seconds=9)))
    first = await store.chats(2, None, None)
    assert [chat.id for chat in first] == ["c1", "c4"]
    position = ChatPosition(round(first[-1].last_activity_at.timestamp() * 1000), first[-1].id)
    assert [chat.id for chat in await store.chats(9, position, None)] == ["c3", "c2", "c0"]


async def test_chats_with_the_same_activity_are_ordered_by_id(store: ChatStore) -> None:
    for chat_id in "abc":
        await store.commit(new_message(chat_id))
    position = ChatPosition(round(START.timestamp() * 1000), "b")
    assert [chat.id for chat in await store.chats(9, position, None)] == ["a"]


async def test_chats_can_be_limited_to_those_of_a_member(store: ChatStore) -> None:
    await store.commit(NewChat("a", None, None, START, "ann"))
    await store.commit(NewChat("b", None, None, START, "bob", ("ann",)))
    await store.commit(NewChat("x", None, None, START, "eve"))
    assert {chat.id for chat in await store.chats(9, None, "ann")} == {"a", "b"}


@pytest.mark.parametrize("newest", [4, 1_000])
async def test_the_chats_of_a_member_of_many_are_listed_once_in_order(
    store: ChatStore, monkeypatch: pytest.MonkeyPatch, newest: int
) -> None:
    monkeypatch.setattr(chat_queries, "FEW", 2)
    monkeypatch.setattr(chat_queries, "_NEWEST", newest)  # fewer or more than there are
    expected = []
    for number in range(24):
        of_ann = number % 8 < 3  # among others, of which some pages have none
        await store.commit(NewChat(f"c{number}", None, None, START, "ann" if of_ann else "bob"))
        # Two at a time have the same activity.
        await store.commit(new_message(f"c{number}", created_at=START + timedelta(seconds=9 + number // 2)))
        expected = [f"c{number}", *expected] if of_ann else expected
    listed = await store.chats(30, None, "ann")
    assert sorted(chat.id for chat in listed) == sorted(expected)
    pages: list[str] = []
    position = None
    while page := await store.chats(2, position, "ann"):
        pages += [chat.id for chat in page]
        position = ChatPosition(round(page[-1].last_activity_at.timestamp() * 1000), page[-1].id)
    assert pages == [chat.id for chat in listed]
    assert listed == sorted(listed, key=lambda chat: (chat.last_activity_at, chat.id), reverse=True)


async def test_a_listed_chat_has_its_newest_message_whatever_happened_after_it(store: ChatStore) -> None:
    await store.commit(NewChat("c", None, None, START, "ann"))
    empty = await store.chat("c")
    assert empty is not None
    assert empty.last_message is None
    await store.commit(new_message(created_at=START + timedelta(seconds=1)))
    later = START + timedelta(seconds=2)
    await store.commit(new_message(created_at=later, user_id="bob"))
    await store.commit(change("eve", MemberAction.ADD))
    chat = await store.chat("c")
    assert chat is not None
    assert (chat.last_seq, await store.chats(9, None, "ann")) == (4, [chat])
    assert chat.last_message == LastMessage(epoch=store.epoch, seq=3, user_id="bob", time=later)
    # The author of an AI's message is no user.
    last = START + timedelta(seconds=3)
    await store.commit(new_message(created_at=last, role="AI", user_id="bot"))
    chat = await store.chat("c")
    assert chat is not None
    assert chat.last_message == LastMessage(epoch=store.epoch, seq=5, user_id=None, time=last)


async def test_last_activity_never_decreases(store: ChatStore) -> None:
    await store.commit(new_message())
    await store.commit(new_message(created_at=START - timedelta(hours=1)))
    chat = await store.chat("c")
    assert chat is not None
    assert chat.last_activity_at == START + timedelta(milliseconds=1)


async def test_chats_are_listed_by_the_order_of_their_commits_after_the_clock_was_set_back(store: ChatStore) -> None:
    def before(minutes: int) -> datetime:
        return START - timedelta(minutes=minutes)

    await store.commit(new_message("a"))
    await store.commit(new_message("b", created_at=before(60)))
    await store.commit(NewChat("d", None, None, before(59), "ann"))
    await store.commit(NewChat("e", None, None, before(58)))
    event = (await store.commit(new_message("a", created_at=before(57)))).event
    chats = await store.chats(9, None, None)
    assert [chat.id for chat in chats] == ["a", "e", "d", "b"]
    # Clients compare the times of announcements, which are those of the events.
    assert chats[0].last_message is not None
    assert event.created_at == chats[0].last_activity_at == chats[0].last_message.time
    assert [chat.id for chat in await store.chats(9, chats[1].position, None)] == ["d", "b"]
    messages, _ = await store.messages("a", before=None, after=None, limit=9)
    assert messages[-1].created_at == before(57)


async def test_one_activity_of_a_clock_that_was_days_ahead_changes_the_time_of_its_chat_only(store: ChatStore) -> None:
    await store.commit(NewChat("ahead", None, None, START + timedelta(days=36_500)))
    await store.commit(new_message("a"))
    await store.commit(new_message("b", created_at=START + timedelta(seconds=1)))
    ahead, *others = await store.chats(9, None, None)
    assert ahead.id == "ahead"
    assert [(chat.id, chat.last_activity_at - START) for chat in others] == [
        ("b", timedelta(seconds=1)),
        ("a", timedelta()),
    ]


async def test_events_are_read_in_pages_with_the_head(store: ChatStore) -> None:
    for _ in range(5):
        await store.commit(new_message())
    events, head = await store.events_after("c", 1, 2)
    assert ([event.seq for event in events], head) == ([2, 3], 5)
    assert await store.events_after("c", 5, 2) == ([], 5)
    assert [event.seq for event in await store.recent_events("c", 2)] == [4, 5]
    assert await store.events_after("none", 0, 2) == ([], 0)
    assert await store.recent_events("none", 2) == []


@pytest.mark.parametrize(
    ("before", "after", "limit", "seqs"),
    [
        (None, None, 2, [4, 5]),
        (4, None, 2, [2, 3]),
        (1, None, 2, []),
        (None, 0, 2, [1, 2]),
        (None, 3, 9, [4, 5]),
        (None, 5, 9, []),
    ],
)
async def test_messages_are_read_in_both_directions(
    store: ChatStore, before: int | None, after: int | None, limit: int, seqs: list[int]
) -> None:
    for _ in range(5):
        await store.commit(new_message())
    messages, head = await store.messages("c", before=before, after=after, limit=limit)
    assert ([message.seq for message in messages], head) == (seqs, 5)


async def test_messages_leave_out_other_events_but_the_head_counts_them(store: ChatStore) -> None:
    await store.commit(new_message())
    await store.commit(change("bob", MemberAction.ADD))
    messages, head = await store.messages("c", before=None, after=None, limit=9)
    assert ([message.seq for message in messages], head) == ([1], 2)


async def test_outbox_marks_are_deleted_up_to_a_seq(store: ChatStore) -> None:
    for _ in range(3):
        await store.commit(new_message("c"))
    await store.commit(new_message("d"))
    assert [await store.first_unpublished(chat_id) for chat_id in ("c", "d", "e")] == [1, 1, None]
    assert await store.unpublished(10) == ["c", "d"]
    assert [await store.unpublished(1, after) for after in ("", "c", "d")] == [["c"], ["d"], []]
    await store.commit(MarkPublished({"c": 2, "d": 1}))
    assert await store.unpublished(10) == ["c"]
    assert [await store.first_unpublished(chat_id) for chat_id in ("c", "d")] == [3, None]
    await store.commit(MarkPublished({"c": 3}))
    assert await store.unpublished(10) == []


async def test_standing_returns_existence_head_membership_and_cursor_validity(store: ChatStore) -> None:
    absent = await store.access("c", "ann", None)
    assert (absent.exists, absent.last_seq, absent.is_member, absent.cursor_valid) == (False, 0, False, True)
    await store.commit(NewChat("c", None, None, START, "ann"))
    ann = await store.access("c", "ann", Cursor(epoch=store.epoch, seq=1))
    assert (ann.exists, ann.last_seq, ann.is_member, ann.cursor_valid) == (True, 1, True, True)
    assert not (await store.access("c", "eve", None)).is_member
    assert not (await store.access("c", None, None)).is_member


async def test_questions_that_share_a_read_receive_the_answers_that_each_would_receive_alone(store: ChatStore) -> None:
    for number in range(3):
        await store.commit(NewChat(f"c{number}", None, None, START, "ann", ("bob", "eve")[:number], AdditionLimits()))
    cursors = [None, *(Cursor(epoch=epoch, seq=seq) for epoch in (store.epoch, "other") for seq in range(5))]
    chats, users = ("c0", "c1", "c2", "absent", 'quote"'), (None, "ann", "bob", "eve", 'quote"')
    questions = list(product(chats, users, cursors))
    alone = [await store.access(*question) for question in questions]
    assert len(set(alone)) > 8
    assert await asyncio.gather(*(store.access(*question) for question in questions * 5)) == alone * 5


async def test_a_question_that_waits_for_a_read_sees_the_commits_before_it(store: ChatStore) -> None:
    waiting = []
    for seq in range(1, 30):
        await store.commit(new_message())
        waiting.append((seq, asyncio.create_task(store.access("c", None, None))))
        await asyncio.sleep(0)
    for seq, answer in waiting:
        assert (await answer).last_seq >= seq


async def test_a_cancelled_question_leaves_the_others_their_answers(store: ChatStore) -> None:
    await store.commit(new_message())
    tasks = [asyncio.create_task(store.access("c", None, None)) for _ in range(20)]
    await asyncio.sleep(0)
    later = [asyncio.create_task(store.access("c", "ann", None)) for _ in range(20)]
    await asyncio.sleep(0)
    for task in (*tasks[::2], *later[::2]):
        task.cancel()
    assert [answer.last_seq for answer in await asyncio.gather(*tasks[1::2], *later[1::2])] == [1] * 20
    assert (await store.access("c", None, None)).last_seq == 1


@pytest.mark.parametrize(
    ("cursor_epoch", "seq", "holds"),
    [("current", 0, True), ("current", 2, True), ("current", 3, False), ("unknown", 0, False), ("unknown", 1, False)],
)
async def test_a_cursor_holds_in_a_known_epoch_up_to_the_head(
    store: ChatStore, cursor_epoch: str, seq: int, holds: bool
) -> None:
    for _ in range(2):
        await store.commit(new_message())
    epoch = store.epoch if cursor_epoch == "current" else "unknown"
    assert (await store.access("c", None, Cursor(epoch=epoch, seq=seq))).cursor_valid is holds


LIMITS = AdditionLimits(same_user=2, all_users=4, period_s=100)


async def create(
    store: ChatStore, chat_id: str, *members: str, after_s: float = 0, creator: str | None = "eve"
) -> None:
    await store.commit(NewChat(chat_id, None, None, START + timedelta(seconds=after_s), creator, members, LIMITS))


async def test_a_user_adds_the_same_user_a_limited_number_of_times(store: ChatStore) -> None:
    await create(store, "a", "bob")
    await create(store, "b", "bob", "bob", "eve")
    with pytest.raises(AdditionLimitReached) as error:
        await create(store, "c", "ann", "bob")
    assert (error.value.retry_after_s, await store.chat("c")) == (50, None)
    await create(store, "d", "bob", creator="ann")
    await create(store, "e", "ann")
    with pytest.raises(AdditionLimitReached):
        await create(store, "f", "bob", after_s=49.9)
    await create(store, "f", "bob", after_s=50)
    assert {chat.id for chat in await store.chats(9, None, "bob")} == {"a", "b", "d", "f"}


async def test_a_user_adds_others_a_limited_number_of_times(store: ChatStore) -> None:
    await create(store, "a", "b1", "b2", "b3")
    with pytest.raises(AdditionLimitReached) as error:
        await create(store, "b", "b4", "b5")
    assert error.value.retry_after_s == 25
    await create(store, "c", "b4")
    with pytest.raises(AdditionLimitReached):
        await create(store, "d", "b5")
    for number in range(9):  # its own memberships and those that a service adds
        await create(store, f"own-{number}")
        await create(store, f"service-{number}", "b1", creator=None)


async def test_a_member_that_is_added_again_counts_again(store: ChatStore) -> None:
    async def turn(action: MemberAction, actor: str | None = "eve") -> bool:
        return await store.commit(NewMemberChange("c", "bob", action, actor, START, limits=LIMITS)) is not None

    await create(store, "c")
    for _ in range(2):
        assert await turn(MemberAction.ADD)
        assert not await turn(MemberAction.ADD)  # changes nothing, and counts for nothing
        assert await turn(MemberAction.REMOVE)
    with pytest.raises(AdditionLimitReached):
        await turn(MemberAction.ADD)
    assert await store.members("c", 9) == [StoredMember("eve", START, MemberRole.OWNER)]
    assert await turn(MemberAction.ADD, actor=None)
    assert await turn(MemberAction.REMOVE)


async def test_additions_in_one_batch_are_limited(store: ChatStore) -> None:
    outcomes = await asyncio.gather(*(create(store, f"c{n}", "bob") for n in range(20)), return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [type(None)] * 2 + [AdditionLimitReached] * 18


async def test_a_restart_does_not_reset_the_limits_of_additions(database_options: DatabaseOptions) -> None:
    for chat_id in "ab":
        async with open_store(database_options) as opened:
            await create(opened.chats, chat_id, "bob")
    async with open_store(database_options) as opened:
        with pytest.raises(AdditionLimitReached):
            await create(opened.chats, "c", "bob")


async def test_a_user_message_in_a_chat_with_a_responder_queues_a_turn(store: ChatStore) -> None:
    assert (await store.commit(new_message(default_responder="demo"))).turn_queued
    assert not (await store.commit(new_message(role="AI", default_responder="demo"))).turn_queued
    assert not (await store.commit(new_message("d"))).turn_queued


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    sends=st.lists(
        st.tuples(st.sampled_from("ab"), st.sampled_from([None, "k1", "k2", "k3"])), min_size=1, max_size=25
    ),
    parts=st.integers(1, 4),
    data=st.data(),
)
async def test_concurrent_senders_get_one_total_order_and_each_key_once(
    tmp_path_factory: pytest.TempPathFactory,
    request: pytest.FixtureRequest,
    kind: str,
    sends: list[tuple[str, str | None]],
    parts: int,
    data: st.DataObject,
) -> None:
    async with open_store(fresh_options(kind, request, tmp_path_factory.mktemp("store"))) as opened:
        store = opened.chats

        async def sender(mine: list[tuple[str, str | None]]) -> list[tuple[str, str | None, int, bool]]:
            outcomes = []
            for chat_id, key in mine:
                committed = await store.commit(new_message(chat_id, client_msg_id=key))
                outcomes.append((chat_id, key, committed.event.seq, committed.created))
                if data.draw(st.booleans()):
                    await asyncio.sleep(0)
            return outcomes

        results = await asyncio.gather(*(sender(sends[part::parts]) for part in range(parts)))
        outcomes = [outcome for result in results for outcome in result]
        for chat_id in "ab":
            created = sorted(seq for chat, _, seq, fresh in outcomes if chat == chat_id and fresh)
            events, head = await store.events_after(chat_id, 0, 100)
            assert created == list(range(1, head + 1)) == [event.seq for event in events]
            by_key: dict[str, set[int]] = {}
            for chat, key, seq, _ in outcomes:
                if chat == chat_id and key is not None:
                    by_key.setdefault(key, set()).add(seq)
            assert all(len(seqs) == 1 for seqs in by_key.values())


async def test_a_closed_store_rejects_writes_and_has_lost_none(database_options: DatabaseOptions) -> None:
    async with open_store(database_options) as opened:
        waiting = [asyncio.create_task(opened.chats.commit(new_message())) for _ in range(50)]
        await asyncio.sleep(0)
    assert [(await task).event.seq for task in waiting] == list(range(1, 51))
    with pytest.raises(StoreUnavailable):
        await opened.chats.commit(new_message())
    async with open_store(database_options) as opened:
        assert (await opened.chats.events_after("c", 0, 100))[1] == 50
