"""Chats of tenants, over every store."""

from __future__ import annotations

from dataclasses import replace

import pytest

from roomcast.chat.commands import MemberAction, NewChat, NewMemberChange
from roomcast.chat.errors import ChatNotFound
from roomcast.contract.tenants import qualify
from roomcast.store.opening import open_store
from roomcast.store.options import DatabaseOptions
from support.backend import START

TENANTS = ("", "a", "acme", "acme2")


async def test_a_service_lists_the_chats_of_its_tenant_only(database_options: DatabaseOptions) -> None:
    async with open_store(database_options) as store:
        for tenant in TENANTS:
            for name in ("c", "~d"):
                await store.chats.commit(NewChat(qualify(tenant, name), None, None, START, None, ()))
        for tenant in TENANTS:
            found = await store.chats.chats(10, None, None, tenant)
            assert {chat.id for chat in found} == {qualify(tenant, "c"), qualify(tenant, "~d")}
            (first,) = await store.chats.chats(1, None, None, tenant)
            (second,) = await store.chats.chats(1, first.position, None, tenant)
            assert {first.id, second.id} == {chat.id for chat in found}


async def test_no_chat_has_a_member_of_another_tenant(database_options: DatabaseOptions) -> None:
    async with open_store(database_options) as store:
        for tenant in TENANTS:
            await store.chats.commit(NewChat(qualify(tenant, "c"), None, None, START, None, (qualify(tenant, "ann"),)))
            change = NewMemberChange(qualify(tenant, "c"), "", MemberAction.ADD, None, START)
            for other in TENANTS:
                added = replace(change, user_id=qualify(other, "bob"))
                if other == tenant:
                    assert await store.chats.commit(added) is not None
                else:
                    with pytest.raises(ChatNotFound):
                        await store.chats.commit(added)
            members = await store.chats.members(qualify(tenant, "c"), 10)
            assert [member.user_id for member in members] == [qualify(tenant, "ann"), qualify(tenant, "bob")]
