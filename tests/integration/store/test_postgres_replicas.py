"""Several processes that write to one PostgreSQL at once."""

from __future__ import annotations

import asyncio

from roomcast.chat.commands import NewChat
from roomcast.chat.errors import AdditionLimitReached
from roomcast.chat.policies.additions import AdditionLimits
from roomcast.store.opening import open_store
from support.backend import START
from support.databases import fresh_postgres
from support.postgres_server import PostgresServer

LIMITS = AdditionLimits(same_user=5)


async def test_replicas_share_the_limits_of_additions(postgres: PostgresServer) -> None:
    options = fresh_postgres(postgres)
    async with open_store(options) as one, open_store(options) as two, open_store(options) as three:
        for actor in "abcd":  # the first additions of a user, which have no row to lock
            outcomes = await asyncio.gather(
                *(
                    store.chats.commit(NewChat(f"{actor}{n}", None, None, START, actor, ("bob",), LIMITS))
                    for n, store in enumerate((one, two, three) * 6)
                ),
                return_exceptions=True,
            )
            refused = [outcome for outcome in outcomes if isinstance(outcome, BaseException)]
            assert [type(outcome) for outcome in refused] == [AdditionLimitReached] * 13
        assert len(await one.chats.chats(100, None, "bob")) == 20
