"""The audit log, over every store."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from roomcast.chat.commands import (
    AcceptInvite,
    Ban,
    ChangeAi,
    ChangeChat,
    ChangeMember,
    DeleteChat,
    DeleteMessage,
    MemberAction,
    NewChat,
    NewInvite,
    NewMemberChange,
    RevokeInvite,
)
from roomcast.chat.errors import NotAMember
from roomcast.chat.model import Act, ChatAi
from roomcast.chat.ports import Erasure
from roomcast.contract.events import MemberRole
from roomcast.contract.internal import EndedSession
from roomcast.contract.tenants import local_id, qualify
from roomcast.contract.text import MAX_SEQ
from roomcast.store.opening import Store, open_store
from roomcast.store.options import DatabaseOptions
from support.backend import START, new_message


@pytest.fixture
async def store(database_options: DatabaseOptions) -> AsyncIterator[Store]:
    async with open_store(database_options) as opened:
        await opened.chats.commit(NewChat("c", None, None, START, "ann", ("bob",)))
        yield opened


async def acts(store: Store, chat_id: str | None = None, actor_id: str | None = None) -> list[Act]:
    return list(await store.chats.acts(MAX_SEQ, 10, chat_id, actor_id))


def change(user_id: str, action: MemberAction, actor_id: str | None, member: str | None = None) -> NewMemberChange:
    return NewMemberChange("c", user_id, action, actor_id, START, member, trace="00-ab")


async def test_each_change_of_a_membership_is_an_act_and_one_without_effect_is_none(store: Store) -> None:
    assert [(act.action, act.actor_id, act.object_id) for act in await acts(store)] == [
        ("member.added", "ann", "bob"),
        ("member.added", "ann", "ann"),
    ]
    for _ in range(2):
        await store.chats.commit(change("bob", MemberAction.REMOVE, None))
    newest, *others = await acts(store)
    assert (newest.action, newest.actor_id, newest.object_id, newest.chat_id) == ("member.removed", None, "bob", "c")
    assert (newest.at, newest.trace, len(others)) == (START, "00-ab", 2)


async def test_a_rejected_command_leaves_no_act(store: Store) -> None:
    before = await acts(store)
    with pytest.raises(NotAMember):
        await store.chats.commit(change("eve", MemberAction.ADD, "eve", member="eve"))
    assert await acts(store) == before


async def test_the_deletion_of_anothers_message_is_an_act_and_that_of_an_own_is_none(store: Store) -> None:
    ids = []
    for _ in range(2):
        committed = await store.chats.commit(new_message(user_id="ann", member="ann"))
        ids.append(json.loads(committed.event.payload)["id"])
    before = len(await acts(store))
    await store.chats.commit(DeleteMessage("c", ids[0], START, "ann"))
    assert len(await acts(store)) == before
    await store.chats.commit(DeleteMessage("c", ids[1], START))
    newest, *others = await acts(store)
    assert (newest.action, newest.actor_id, newest.object_id, len(others)) == (
        "message.deleted",
        None,
        ids[1],
        before,
    )


async def test_pages_and_selections(store: Store) -> None:
    await store.chats.commit(NewChat("d", None, None, START, "cyd", ()))
    assert [act.chat_id for act in await acts(store)] == ["d", "c", "c"]
    assert [act.chat_id for act in await acts(store, chat_id="c")] == ["c", "c"]
    assert [act.object_id for act in await acts(store, actor_id="cyd")] == ["cyd"]
    first = await store.chats.acts(MAX_SEQ, 2, None, None)
    rest = await store.chats.acts(first[-1].id, 2, None, None)
    assert [*first, *rest] == await acts(store)


async def test_each_administrative_change_is_an_act(store: Store) -> None:
    commit = store.chats.commit
    await commit(ChangeMember("c", "bob", START, "ann", MemberRole.MODERATOR, True, START + timedelta(days=1)))
    for _ in range(2):  # a repeat changes nothing
        await commit(ChangeChat("c", START, title="new", renames=True, archived=True, retention_days=3, retains=True))
        await commit(ChangeChat("c", START, archived=False, member="ann"))
        await commit(ChangeChat("c", START, archived=False, member="ann"))
    for _ in range(2):
        await commit(ChangeAi("c", ChatAi(answers="never"), START, "ann"))
    await commit(NewInvite("c", "link", MemberRole.MEMBER, START, "ann"))
    await commit(AcceptInvite("c", "link", "cyd", START))
    for _ in range(2):
        await commit(RevokeInvite("c", "link", START, "ann"))
    await commit(Ban("c", "eve", True, START, "bob"))
    for _ in range(2):
        await commit(Ban("c", "eve", False, START, "bob"))
    await commit(DeleteChat("c", START, "ann"))
    found = await store.chats.acts(MAX_SEQ, 50, "c", None)
    assert [(act.action, act.actor_id, act.object_id) for act in reversed(found)][2:] == [
        ("member.role-changed", "ann", "bob"),
        ("member.mute-changed", "ann", "bob"),
        ("chat.renamed", None, None),
        ("chat.archived", None, None),
        ("chat.retention-changed", None, None),
        ("chat.unarchived", "ann", None),
        ("chat.archived", None, None),
        ("chat.unarchived", "ann", None),
        ("chat.ai-changed", "ann", None),
        ("invite.created", "ann", "link"),
        ("member.added", "cyd", "cyd"),
        ("invite.used", "cyd", "link"),
        ("invite.revoked", "ann", "link"),
        ("user.banned", "bob", "eve"),
        ("user.ban-ended", "bob", "eve"),
        ("chat.deleted", "ann", None),
    ]


async def test_ended_sessions_and_erasures_are_acts_of_no_chat(store: Store) -> None:
    user = qualify("acme", "dan")
    for by_service in (False, True):
        ended = EndedSession(user_id=user, token=None, ended_at=1, expires_at=9)
        await store.sessions.end_session(ended, 1, by_service=by_service)
    for _ in range(2):
        await store.personal.request_erasure(Erasure(qualify("acme", "erased-1"), user, START))
    found = await store.chats.acts(MAX_SEQ, 9, None, None, "acme")
    assert [(act.action, local_id(act.chat_id), local_id(act.object_id or "")) for act in found] == [
        ("user.erased", "", "erased-1"),
        ("user.sessions-ended", "", "dan"),
    ]
