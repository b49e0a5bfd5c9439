"""The contract of webhooks in the database, over every store."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from roomcast.chat.commands import DeleteChat, MarkPublished, NewChat
from roomcast.chat.errors import TooManyWebhooks, WebhookLost
from roomcast.chat.webhook_values import StoredWebhook, Undelivered, WebhookClaim
from roomcast.contract.tenants import qualify
from roomcast.contract.text import MAX_SEQ
from roomcast.store.opening import Store, open_store
from roomcast.store.options import DatabaseOptions
from roomcast.store.queries.webhooks import KEEP_DEAD_S
from support.backend import START, new_message

LEASE = timedelta(seconds=10)


@pytest.fixture
async def store(database_options: DatabaseOptions) -> AsyncIterator[Store]:
    async with open_store(database_options) as opened:
        for chat_id in ("c1", "c2"):
            await opened.chats.commit(NewChat(chat_id, None, None, START))
        yield opened


def webhook(webhook_id: str = "w1", **values: Any) -> StoredWebhook:
    given = {"tenant": "", "url": "https://example.com", "events": None, "chats": None, "secret": b"k", "created_at": 5}
    return StoredWebhook(id=webhook_id, **given | values)


async def claimed(store: Store) -> WebhookClaim:
    found = await store.webhooks.claim(START, START + LEASE)
    assert found is not None
    return WebhookClaim(found.id, found.generation)


def item(position: int, **values: Any) -> Undelivered:
    return Undelivered(position=position, chat_id="c1", seq=position, **{"next_at": 7} | values)


async def waiting(store: Store) -> list[int]:
    return [found.position for found in await store.webhooks.waiting("w1", 10)]


async def dead(store: Store) -> list[int]:
    return [found.position for found, _ in await store.webhooks.undelivered("w1", dead=True, after=0, limit=10)]


async def test_a_webhook_is_read_as_it_was_written_and_begins_at_the_end_of_the_feed(store: Store) -> None:
    for _ in range(3):
        await store.chats.commit(new_message("c1"))
    await store.feed.place()
    given = webhook(tenant="acme", events=frozenset({"custom", "pin-changed"}), chats=frozenset({qualify("acme", "c")}))
    await store.webhooks.create(given, 5)
    state = await store.webhooks.webhook("acme", "w1")
    assert state is not None
    assert (state.webhook, state.waiting, state.dead) == (replace(given, position=3), 0, 0)
    assert [listed.webhook.id for listed in await store.webhooks.list("acme")] == ["w1"]


async def test_another_tenant_cannot_see_or_change_a_webhook(store: Store) -> None:
    await store.webhooks.create(webhook(tenant="acme"), 5)
    for tenant in ("", "other"):
        assert await store.webhooks.list(tenant) == []
        assert await store.webhooks.webhook(tenant, "w1") is None
        assert not await store.webhooks.change(tenant, "w1", {"active": False})
        assert not await store.webhooks.delete(tenant, "w1")
        assert await store.webhooks.replay_dead(tenant, "w1", None, 1) == 0
        await store.webhooks.replay_since(tenant, "w1", 0)
    state = await store.webhooks.webhook("acme", "w1")
    assert state is not None
    assert (state.webhook.active, state.webhook.generation) == (True, 0)


async def test_a_tenant_has_a_limited_number_of_webhooks(store: Store) -> None:
    await store.webhooks.create(webhook("w1"), 1)
    await store.webhooks.create(webhook("w2", tenant="acme"), 1)
    with pytest.raises(TooManyWebhooks):
        await store.webhooks.create(webhook("w3"), 1)


async def test_one_worker_at_a_time_has_a_webhook_and_an_earlier_claim_writes_nothing(store: Store) -> None:
    await store.webhooks.create(webhook(), 5)
    first = await claimed(store)
    assert await store.webhooks.claim(START + LEASE / 2, START + LEASE) is None
    second = await store.webhooks.claim(START + LEASE * 1.1, START + LEASE * 2.1)
    assert second is not None
    assert second.generation == first.generation + 1
    for write in (
        store.webhooks.save(first, 9, changed=[item(1)]),
        store.webhooks.save(first, done=[1]),
        store.webhooks.disable(first, "gone"),
    ):
        with pytest.raises(WebhookLost):
            await write
    current = WebhookClaim("w1", second.generation)
    assert await store.webhooks.renew([first, current], START + LEASE * 3) == {first}
    assert await waiting(store) == []
    await store.webhooks.release([first])
    assert await store.webhooks.claim(START + LEASE * 2, START + LEASE * 3) is None
    await store.webhooks.release([current])
    assert await store.webhooks.claim(START + LEASE * 2, START + LEASE * 3) is not None


async def test_a_lease_from_before_the_clock_was_set_back_has_ended(store: Store) -> None:
    await store.webhooks.create(webhook(), 5)
    assert await store.webhooks.claim(START + LEASE * 360, START + LEASE * 361) is not None
    assert await store.webhooks.claim(START, START + LEASE) is not None


async def test_a_change_ends_the_claim_so_that_the_webhook_is_claimed_as_it_is_then(store: Store) -> None:
    await store.webhooks.create(webhook(), 5)
    for change in (
        store.webhooks.change("", "w1", {"url": "https://example.org", "events": frozenset({"custom"})}),
        store.webhooks.replay_dead("", "w1", None, 1),
        store.webhooks.replay_since("", "w1", 0),
    ):
        before = await claimed(store)
        await change
        with pytest.raises(WebhookLost):
            await store.webhooks.save(before, 1)
    found = await store.webhooks.claim(START, START + LEASE)
    assert found is not None
    assert (found.url, found.events) == ("https://example.org", frozenset({"custom"}))


async def test_an_inactive_webhook_is_not_claimed_and_a_disabled_one_says_why(store: Store) -> None:
    await store.webhooks.create(webhook(), 5)
    await store.webhooks.disable(await claimed(store), "gone")
    state = await store.webhooks.webhook("", "w1")
    assert state is not None
    assert (state.webhook.active, state.webhook.disabled) == (False, "gone")
    assert await store.webhooks.claim(START, START + LEASE) is None
    await store.webhooks.change("", "w1", {"active": True, "disabled": None})
    assert await store.webhooks.claim(START, START + LEASE) is not None


async def test_progress_is_written_at_once_and_dead_events_wait_again_when_replayed(store: Store) -> None:
    for _ in range(5):
        await store.chats.commit(new_message("c1"))
    await store.feed.place()
    await store.webhooks.create(webhook(), 5)
    claim = await claimed(store)
    gone = {"next_at": None, "dead_at": 50, "attempts": 3, "tried_at": 4, "status": 500, "error": "no"}
    await store.webhooks.save(claim, 4, changed=[item(1), item(2, **gone), item(3, **gone)])
    await store.webhooks.save(claim, changed=[item(4)], done=[1])
    assert (await waiting(store), await dead(store)) == ([4], [2, 3])
    state = await store.webhooks.webhook("", "w1")
    assert state is not None
    assert (state.webhook.position, state.waiting, state.dead) == (4, 1, 2)
    page = await store.webhooks.undelivered("w1", dead=True, after=2, limit=1)
    assert page == [(item(3, **gone), store.chats.epoch)]
    assert await store.webhooks.replay_dead("", "w1", 4, 60) == 0  # it is not dead
    assert await store.webhooks.replay_dead("", "w1", 3, 60) == 1
    assert (await waiting(store), await dead(store)) == ([3, 4], [2])
    assert (await store.webhooks.waiting("w1", 1))[0] == item(3, next_at=60, status=500, error="no")
    assert await store.webhooks.replay_dead("", "w1", None, 60) == 1


async def test_dead_events_are_deleted_after_their_time(store: Store) -> None:
    for _ in range(2):
        await store.chats.commit(new_message("c1"))
    await store.webhooks.create(webhook(), 5)
    claim = await claimed(store)
    await store.webhooks.save(claim, 1, changed=[item(1, next_at=None, dead_at=50)])
    await store.webhooks.save(claim, 2, changed=[item(2, next_at=None, dead_at=50 + KEEP_DEAD_S * 1_000)])
    assert await dead(store) == [1, 2]
    await store.webhooks.save(claim, 2, changed=[item(2, next_at=None, dead_at=51 + KEEP_DEAD_S * 1_000)])
    assert await dead(store) == [2]


async def test_a_replay_from_a_position_replaces_what_waits_behind_it_and_never_goes_forward(store: Store) -> None:
    for _ in range(5):
        await store.chats.commit(new_message("c1"))
    await store.feed.place()
    await store.webhooks.create(webhook(since=99), 5)
    claim = await claimed(store)
    await store.webhooks.save(claim, 4, changed=[item(1), item(2, next_at=None, dead_at=50), item(3)])
    await store.webhooks.replay_since("", "w1", 9)
    assert (await waiting(store), await dead(store)) == ([1, 3], [2])
    await store.webhooks.replay_since("", "w1", 1)
    state = await store.webhooks.webhook("", "w1")
    assert state is not None
    assert (await waiting(store), await dead(store), state.webhook.position, state.webhook.since) == ([1], [], 1, 0)
    assert [placed.position for placed in await store.webhooks.after(1, 2)] == [2, 3]
    assert await store.webhooks.head() == 5


async def test_an_event_that_was_erased_with_its_chat_is_none(store: Store) -> None:
    await store.chats.commit(new_message("c1"))
    event = await store.webhooks.event("c1", 1)
    assert event is not None
    assert (event.chat_id, event.seq, event.epoch) == ("c1", 1, store.chats.epoch)
    await store.chats.commit(DeleteChat("c1", START))
    await store.chats.commit(MarkPublished({"c1": MAX_SEQ}))
    while await store.chats.erase_deleted(500):
        pass
    assert await store.webhooks.event("c1", 1) is None


async def test_a_deleted_webhook_takes_its_undelivered_events_with_it(store: Store) -> None:
    await store.webhooks.create(webhook(), 5)
    claim = await claimed(store)
    await store.webhooks.save(claim, 1, changed=[item(1)])
    assert await store.webhooks.delete("", "w1")
    assert (await store.webhooks.webhook("", "w1"), await waiting(store)) == (None, [])
    with pytest.raises(WebhookLost):
        await store.webhooks.save(claim, 2, changed=[item(2)])
    assert not await store.webhooks.delete("", "w1")
