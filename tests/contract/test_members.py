"""The contract of roles, mutes, bans and invite links, over every store."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import timedelta
from itertools import product
from typing import Any

import pytest

from roomcast.chat.commands import (
    MAX_BANS,
    MAX_INVITES,
    AcceptInvite,
    Ban,
    ChangeAi,
    ChangeChat,
    ChangeMember,
    Command,
    DeleteChat,
    DeleteMessage,
    MemberAction,
    NewChat,
    NewInvite,
    NewMemberChange,
    OpenDirect,
    Pin,
    React,
    ResolveReport,
    RevokeInvite,
)
from roomcast.chat.delivery.relay import Relay
from roomcast.chat.errors import (
    Banned,
    ChatError,
    InviteNotFound,
    LastOwner,
    MemberNotFound,
    Muted,
    NotAllowed,
    RightMissing,
    TooManyEntries,
)
from roomcast.chat.model import Caller, ChatAi
from roomcast.chat.policies.rights import MUTABLE, RIGHTS, Right
from roomcast.chat.use_cases.writing import ChatWriter
from roomcast.contract.events import EventType, MemberRole
from roomcast.contract.rest import CreateInvite
from roomcast.contract.text import format_time
from roomcast.eventlog.memory import MemoryEventLog
from roomcast.store.opening import Store, open_store
from roomcast.store.options import DatabaseOptions
from support.backend import START, FixedClock, new_message

OWNER, MODERATOR, MEMBER, READER = MemberRole
LATER = START + timedelta(hours=1)


@pytest.fixture
async def store(database_options: DatabaseOptions) -> AsyncIterator[Store]:
    """The chat "c" of ann, the owner; mod, bob and eve have the other roles. The chat "free" has no owner."""
    async with open_store(database_options) as opened:
        await opened.chats.commit(NewChat("c", None, None, START, "ann", ("mod", "bob", "eve", "zoe")))
        await opened.chats.commit(NewChat("free", None, None, START, None, ("bob", "eve")))
        await opened.chats.commit(ChangeMember("c", "mod", START, "ann", MODERATOR))
        await opened.chats.commit(ChangeMember("c", "eve", START, "ann", READER))
        yield opened


USERS = {OWNER: "ann", MODERATOR: "mod", MEMBER: "bob", READER: "eve"}


async def send(store: Store, **changes: Any) -> str:
    committed = await store.chats.commit(new_message(**changes))
    found: str = json.loads(committed.event.payload)["id"]
    return found


async def roles(store: Store, chat_id: str = "c") -> dict[str, MemberRole]:
    return {member.user_id: member.role for member in await store.chats.members(chat_id, 100)}


def add(user_id: str, member: str | None, role: MemberRole = MEMBER) -> NewMemberChange:
    return NewMemberChange("c", user_id, MemberAction.ADD, member, START, member, role=role)


def remove(user_id: str, member: str | None, chat_id: str = "c") -> NewMemberChange:
    return NewMemberChange(chat_id, user_id, MemberAction.REMOVE, member, START, member)


def accept(user_id: str, invite: str = "i", **changes: Any) -> AcceptInvite:
    return AcceptInvite("c", invite, user_id, **{"at": START, **changes})


async def _command(store: Store, right: Right, user: str) -> Command[Any]:
    """What a user does to use a right."""
    if right is Right.EDIT_OWN:
        return new_message("c", replaces=await send(store, user_id=user), user_id=user, member=user)
    message_id = await send(store, user_id=user if right is Right.DELETE_OWN else "zoe")
    commands: dict[Right, Command[Any]] = {
        Right.SEND: new_message("c", user_id=user, member=user),
        Right.REACT: React("c", message_id, "👍", user, True, START, user),
        Right.DELETE_OWN: DeleteMessage("c", message_id, START, user),
        Right.DELETE_ANY: DeleteMessage("c", message_id, START, user),
        Right.PIN: Pin("c", message_id, True, START, user),
        Right.ADD_MEMBERS: add("new", user),
        Right.REMOVE_MEMBERS: remove("zoe", user),
        Right.CHANGE_ROLES: ChangeMember("c", "zoe", START, user, READER),
        Right.INVITE: NewInvite("c", "i", MEMBER, START, user),
        Right.BAN: Ban("c", "zoe", True, START, user),
        Right.MUTE: ChangeMember("c", "zoe", START, user, mutes=True, muted_until=LATER),
        Right.CHANGE_AI: ChangeAi("c", ChatAi(answers="never"), START, user),
        Right.RENAME_CHAT: ChangeChat("c", START, title="new", renames=True, member=user),
        Right.ARCHIVE_CHAT: ChangeChat("c", START, archived=True, member=user),
        Right.HANDLE_REPORTS: ResolveReport("c", message_id, "bob", START, user),
        Right.CHANGE_RETENTION: ChangeChat("c", START, retention_days=9, retains=True, member=user),
        Right.DELETE_CHAT: DeleteChat("c", START, user),
    }
    return commands[right]


@pytest.mark.parametrize(("role", "right"), list(product(MemberRole, Right)))
async def test_a_role_has_exactly_its_rights(store: Store, role: MemberRole, right: Right) -> None:
    command = await _command(store, right, USERS[role])
    before = (await store.chats.events_after("c", 0, 100))[1]
    if role in RIGHTS[right]:
        await store.chats.commit(command)
    else:
        with pytest.raises(RightMissing, match=f"as {role} of this chat you may not {right}"):
            await store.chats.commit(command)
        assert (await store.chats.events_after("c", 0, 100))[1] == before


@pytest.mark.parametrize(("role", "other"), list(product((OWNER, MODERATOR), MemberRole)))
async def test_a_moderator_has_its_rights_over_members_and_readers_only(
    store: Store, role: MemberRole, other: MemberRole
) -> None:
    await store.chats.commit(add("target", None, other))
    user = USERS[role]
    may = role is OWNER or other in {MEMBER, READER}
    mute = ChangeMember("c", "target", START, user, mutes=True, muted_until=LATER)
    for command, allowed in (
        (mute, may and other is not OWNER),
        (remove("target", user), may),
        (Ban("c", "target", True, START, user), may),
    ):
        if allowed:
            await store.chats.commit(command)
            continue
        with pytest.raises((RightMissing, NotAllowed)):
            await store.chats.commit(command)


async def test_only_owners_give_the_higher_roles(store: Store) -> None:
    for role, user in product((OWNER, MODERATOR), ("mod", "bob")):
        for command in (add("new", user, role), NewInvite("c", "i", role, START, user)):
            with pytest.raises(RightMissing, match="change roles"):
                await store.chats.commit(command)
    await store.chats.commit(add("new", "ann", OWNER))
    assert (await roles(store))["new"] is OWNER


async def test_a_change_of_a_member_is_an_event_unless_it_changes_nothing(store: Store) -> None:
    change = ChangeMember("c", "bob", START, "ann", READER, mutes=True, muted_until=LATER)
    committed = await store.chats.commit(change)
    assert committed is not None
    assert committed.event.type is EventType.MEMBER_UPDATED
    assert json.loads(committed.event.payload) == {
        "chatId": "c",
        "epoch": store.chats.epoch,
        "seq": committed.event.seq,
        "time": "2026-01-02T03:04:05.678Z",
        "userId": "bob",
        "role": "reader",
        "mutedUntil": "2026-01-02T04:04:05.678Z",
        "actorId": "ann",
    }
    assert await store.chats.commit(change) is None
    assert await store.chats.member("c", "bob") in await store.chats.members("c", 9)
    with pytest.raises(MemberNotFound):
        await store.chats.commit(ChangeMember("c", "absent", START, "ann", READER))


async def test_the_last_owner_stays_while_other_members_remain(store: Store) -> None:
    for command in (remove("ann", "ann"), ChangeMember("c", "ann", START, "ann", MEMBER)):
        with pytest.raises(LastOwner):
            await store.chats.commit(command)
    await store.chats.commit(ChangeMember("c", "bob", START, "ann", OWNER))
    # Of two owners that leave in one batch, one stays.
    left = await asyncio.gather(
        *(store.chats.commit(remove(user, user)) for user in ("ann", "bob")), return_exceptions=True
    )
    assert [type(outcome) for outcome in left].count(LastOwner) == 1
    (last,) = [user for user, role in (await roles(store)).items() if role is OWNER]
    for user in (await roles(store)).keys() - {last}:
        await store.chats.commit(remove(user, last))
    await store.chats.commit(remove(last, last))
    assert await roles(store) == {}


async def test_in_a_chat_without_an_owner_members_remove_members_as_before_and_delete_no_chat(store: Store) -> None:
    for archived in (True, False):
        assert await store.chats.commit(ChangeChat("free", START, archived=archived, member="bob")) is not None
    with pytest.raises(RightMissing):
        await store.chats.commit(DeleteChat("free", START, "bob"))
    await store.chats.commit(remove("eve", "bob", "free"))
    await store.chats.commit(ChangeMember("free", "bob", START, None, OWNER))
    await store.chats.commit(NewMemberChange("free", "eve", MemberAction.ADD, "bob", START, "bob"))
    with pytest.raises(RightMissing):
        await store.chats.commit(remove("bob", "eve", "free"))


async def test_a_muted_member_reads_and_writes_again_at_the_given_time(store: Store) -> None:
    await store.chats.commit(ChangeMember("c", "bob", START, "mod", mutes=True, muted_until=LATER))
    access = await store.chats.access("c", "bob", None)
    assert (access.is_member, access.silent_until) == (True, LATER)
    moment = timedelta(milliseconds=1)
    for right in (Right.SEND, Right.EDIT_OWN, Right.REACT):
        command = await _command(store, right, "bob")
        assert command is not None
        with pytest.raises(Muted):
            await store.chats.commit(command)
    with pytest.raises(Muted):
        await send(store, user_id="bob", member="bob", created_at=LATER - moment)
    await send(store, user_id="bob", member="bob", created_at=LATER)
    await store.chats.commit(ChangeMember("c", "bob", START, "mod", mutes=True))
    assert (await store.chats.access("c", "bob", None)).silent_until is None
    await send(store, user_id="bob", member="bob")
    await store.chats.commit(ChangeMember("c", "bob", START, "ann", READER))
    silent_until = (await store.chats.access("c", "bob", None)).silent_until
    assert silent_until is not None
    assert silent_until.year == 9999


async def test_a_banned_user_does_not_return_until_the_ban_ends(store: Store) -> None:
    await store.chats.commit(NewInvite("c", "i", MEMBER, START, "ann"))
    committed = await store.chats.commit(Ban("c", "bob", True, START, "mod", LATER))
    assert committed is not None
    assert committed.event.type is EventType.MEMBER_REMOVED
    assert json.loads(committed.event.payload)["banned"] is True
    assert not (await store.chats.access("c", "bob", None)).is_member
    for command in (add("bob", "ann"), add("bob", None), accept("bob")):
        with pytest.raises(Banned):
            await store.chats.commit(command)
    (ban,) = await store.chats.bans("c")
    assert (ban.user_id, ban.actor_id, ban.until) == ("bob", "mod", LATER)
    await store.chats.commit(accept("bob", at=LATER))
    # Without an end, and of a user that is no member.
    assert await store.chats.commit(Ban("c", "stranger", True, START, "mod")) is None
    with pytest.raises(Banned):
        await store.chats.commit(accept("stranger", at=LATER))
    await store.chats.commit(Ban("c", "stranger", False, START, "mod"))
    await store.chats.commit(accept("stranger"))


async def test_a_link_makes_users_members_until_it_is_used_up_expired_or_revoked(store: Store) -> None:
    await store.chats.commit(NewInvite("c", "i", READER, START, "bob", LATER, 2))
    assert await store.chats.commit(accept("bob")) is None  # a member already: no use
    committed = await store.chats.commit(accept("new"))
    assert committed is not None
    assert json.loads(committed.event.payload)["role"] == "reader"
    assert await store.chats.commit(accept("new")) is None
    with pytest.raises(InviteNotFound):
        await store.chats.commit(accept("late", at=LATER))
    await store.chats.commit(accept("second"))
    with pytest.raises(InviteNotFound):
        await store.chats.commit(accept("third"))
    assert await store.chats.commit(accept("second")) is None
    invite = await store.chats.invite("i")
    assert invite is not None
    assert (invite.uses, await store.chats.invites("c")) == (2, [invite])
    await store.chats.commit(NewInvite("c", "j", MEMBER, START, "bob"))
    await store.chats.commit(add("zoe2", "ann"))
    with pytest.raises(RightMissing):
        await store.chats.commit(RevokeInvite("c", "j", START, "zoe2"))
    await store.chats.commit(RevokeInvite("c", "j", START, "bob"))
    with pytest.raises(InviteNotFound):
        await store.chats.commit(accept("third", "j"))


@pytest.mark.parametrize("max_uses", [1, 7, 30])
async def test_the_uses_of_a_link_are_exact_under_concurrency(
    store: Store, database_options: DatabaseOptions, max_uses: int
) -> None:
    await store.chats.commit(NewInvite("c", "i", MEMBER, START, "ann", None, max_uses))
    # A second process exists with PostgreSQL only: it locks the file of SQLite.
    stores = [store]
    other = open_store(database_options) if database_options.url.startswith("postgresql") else None
    if other is not None:
        stores.append(await other.__aenter__())
    try:
        users = [f"user-{number}" for number in range(20)] * 3
        outcomes: list[object] = await asyncio.gather(
            *(stores[place % len(stores)].chats.commit(accept(user)) for place, user in enumerate(users)),
            return_exceptions=True,
        )
    finally:
        if other is not None:
            await other.__aexit__(None, None, None)
    joined = min(max_uses, 20)
    assert sum(not isinstance(outcome, ChatError) and outcome is not None for outcome in outcomes) == joined
    invite = await store.chats.invite("i")
    assert invite is not None
    assert invite.uses == joined
    assert await store.chats.member_count("c") == 5 + joined


async def test_a_chat_has_a_limited_number_of_links(store: Store) -> None:
    for number in range(MAX_INVITES):
        await store.chats.commit(NewInvite("c", f"i{number}", MEMBER, START, "ann"))
    with pytest.raises(TooManyEntries):
        await store.chats.commit(NewInvite("c", "one more", MEMBER, START, "ann"))
    await store.chats.commit(RevokeInvite("c", "i0", START, "ann"))
    await store.chats.commit(NewInvite("c", "one more", MEMBER, START, "ann"))


async def test_a_mute_and_the_role_of_a_reader_survive_leaving_until_a_service_adds_the_user(store: Store) -> None:
    for user in ("zoe", "eve"):
        await store.chats.commit(ChangeMember("c", "zoe", START, "mod", mutes=True, muted_until=LATER))
        await store.chats.commit(NewInvite("c", f"by ann for {user}", MEMBER, START, "ann"))
        await store.chats.commit(remove(user, user))
        await store.chats.commit(accept(user, f"by ann for {user}", actor_id="ann"))
    found = {member.user_id: member for member in await store.chats.members("c", 100)}
    assert (found["zoe"].role, found["zoe"].muted_until) == (MEMBER, LATER)
    assert (found["eve"].role, found["eve"].muted_until) == (READER, None)
    with pytest.raises(Muted):
        await send(store, user_id="zoe", member="zoe")
    await store.chats.commit(Ban("c", "zoe", True, START, "mod"))
    await store.chats.commit(Ban("c", "zoe", False, START, "mod"))
    await store.chats.commit(add("zoe", "bob"))
    event = (await store.chats.events_after("c", 0, 100))[0][-1]
    assert json.loads(event.payload)["mutedUntil"] == format_time(LATER)
    await store.chats.commit(remove("zoe", "zoe"))
    await store.chats.commit(add("zoe", None))
    await send(store, user_id="zoe", member="zoe")
    await store.chats.commit(remove("zoe", "zoe"))
    await store.chats.commit(add("zoe", "bob"))
    await send(store, user_id="zoe", member="zoe")


@pytest.mark.parametrize("right", sorted(MUTABLE))
async def test_a_muted_member_does_nothing_that_others_see(store: Store, right: Right) -> None:
    command = await _command(store, right, "bob")
    await store.chats.commit(ChangeMember("c", "bob", START, "mod", mutes=True, muted_until=LATER))
    with pytest.raises(Muted):
        await store.chats.commit(command)


@pytest.mark.parametrize(
    "change",
    [
        remove("bob", "bob"),
        remove("bob", "mod"),
        Ban("c", "bob", True, START, "mod"),
        ChangeMember("c", "bob", START, "ann", READER),
        ChangeMember("c", "bob", START, "mod", mutes=True, muted_until=LATER),
    ],
    ids=lambda change: type(change).__name__,
)
async def test_a_link_leads_nowhere_while_its_creator_may_not_invite(store: Store, change: Command[Any]) -> None:
    await store.chats.commit(NewInvite("c", "i", MEMBER, START, "bob"))
    await store.chats.commit(change)
    for user in ("new", "bob"):
        if user in await roles(store):
            continue
        with pytest.raises((InviteNotFound, Banned)):
            await store.chats.commit(accept(user, actor_id="bob"))
    await store.chats.commit(Ban("c", "bob", False, START, "mod"))
    await store.chats.commit(add("bob", None))
    await store.chats.commit(ChangeMember("c", "bob", START, "ann", MEMBER, mutes=True))
    await store.chats.commit(accept("new", actor_id="bob"))


@pytest.mark.parametrize("change", [remove("ann", None), ChangeMember("c", "ann", START, None, MODERATOR)])
async def test_a_link_gives_the_role_of_an_owner_only_while_its_creator_may(store: Store, change: Command[Any]) -> None:
    await store.chats.commit(NewInvite("c", "i", OWNER, START, "ann"))
    await store.chats.commit(change)
    with pytest.raises(InviteNotFound):
        await store.chats.commit(accept("new", actor_id="ann"))


async def test_a_link_that_does_not_exist_is_revoked_by_any_member(store: Store) -> None:
    assert await store.chats.commit(RevokeInvite("c", "absent", START, "bob")) is None


async def test_the_members_of_a_direct_chat_are_neither_banned_nor_given_other_roles(store: Store) -> None:
    chat_id, _ = await store.chats.commit(OpenDirect("d", ("ann", "bob"), START))
    for command in (Ban(chat_id, "bob", True, START), ChangeMember(chat_id, "bob", START, None, OWNER)):
        with pytest.raises(NotAllowed):
            await store.chats.commit(command)


async def test_what_has_ended_leaves_its_place_to_new_links_and_bans(store: Store) -> None:
    clock = FixedClock()
    clock.advance(60)
    managing = ChatWriter(store.chats, Relay(store.chats, MemoryEventLog()), clock=clock).managing
    for number in range(MAX_INVITES):
        ended = {"expires_at": START + timedelta(seconds=1)} if number % 2 else {"max_uses": 1}
        await store.chats.commit(NewInvite("c", f"i{number}", MEMBER, START, "ann", **ended))
        if not number % 2:
            await store.chats.commit(accept(f"user{number}", f"i{number}", actor_id="ann"))
    for number in range(MAX_BANS):
        await store.chats.commit(Ban("c", f"b{number}", True, START, "ann", START + timedelta(seconds=1)))
    ann = Caller("ann")
    await managing.invite(ann, "c", CreateInvite())
    await managing.ban(ann, "c", "new", None)
    assert len(await store.chats.invites("c")) == 1
    assert [ban.user_id for ban in await store.chats.bans("c")] == ["new"]
