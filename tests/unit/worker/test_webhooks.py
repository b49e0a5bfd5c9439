"""The sender of webhooks, over a real database and a receiver on a real socket."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest

from roomcast.chat.commands import DeleteChat, MarkPublished, NewChat
from roomcast.chat.ports import SystemClock
from roomcast.chat.use_cases.webhooks import Webhooks
from roomcast.contract.tenants import act_in, qualify
from roomcast.contract.text import MAX_SEQ
from roomcast.contract.webhooks import ChangeWebhook, NewWebhook
from roomcast.store.opening import Store, open_store
from roomcast.webhooks.http import HttpWebhookSender
from roomcast.worker.options import WebhookOptions
from roomcast.worker.webhook_run import WebhookServices
from roomcast.worker.webhooks import WebhookWorker
from support.backend import START, fresh_database, new_message
from support.waiting import until
from support.webhook_receiver import Receiver, running_receiver

#: Pauses of hundredths of a second, in place of minutes.
FAST = WebhookOptions(retry_s=0.05, max_retry_s=0.2, probe_s=0.2, poll_s=0.05, lease_s=1.0, heartbeat_s=0.1)
CHATS = ("c1", "c2", "c3")


class Installation:
    """A database, a receiver, and a worker that sends to it."""

    def __init__(self, store: Store, receiver: Receiver, sender: HttpWebhookSender) -> None:
        self.store = store
        self.receiver = receiver
        self.sender = sender
        self.webhooks = Webhooks(store.webhooks, store.feed, sender, SystemClock())

    async def send(self, *chats: str) -> None:
        for chat_id in chats:
            await self.store.chats.commit(new_message(chat_id, created_at=datetime.now(UTC)))

    async def create(self, tenant: str = "", **fields: Any) -> str:
        state, _ = await self.webhooks.create(tenant, NewWebhook(url=self.receiver.url, **fields))
        return state.webhook.id

    @asynccontextmanager
    async def worker(self, options: WebhookOptions = FAST) -> AsyncIterator[WebhookWorker]:
        services = WebhookServices(self.store.webhooks, self.sender, SystemClock())
        worker = WebhookWorker(services, self.store.feed, options)
        task = asyncio.create_task(worker.run())
        try:
            yield worker
        finally:
            await worker.stop()
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


@pytest.fixture
async def installation(tmp_path: Path) -> AsyncIterator[Installation]:
    sender = HttpWebhookSender([ip_network("127.0.0.0/8")], timeout_s=1.0)
    async with open_store(fresh_database(tmp_path)) as store, running_receiver() as receiver:
        for chat_id in CHATS:
            await store.chats.commit(NewChat(chat_id, None, None, START))
        try:
            yield Installation(store, receiver, sender)
        finally:
            await sender.close()


async def test_only_the_wanted_events_of_the_tenant_are_sent_with_local_ids(installation: Installation) -> None:
    own, other = qualify("acme", "c1"), qualify("acme", "c2")
    for chat_id in (own, other):
        await installation.store.chats.commit(NewChat(chat_id, None, None, START))
    act_in("acme")
    await installation.create("acme", chats=["c1"], events=["message-created"])
    act_in("")
    async with installation.worker():
        await installation.send("c1", other, own, "c2")
        await installation.receiver.until(lambda: len(installation.receiver.requests) == 1)
        await installation.send(other, own)
        await installation.receiver.until(lambda: len(installation.receiver.requests) == 2)
    assert [request.key for request in installation.receiver.requests] == [("c1", 1), ("c1", 2)]
    assert all(b"acme" not in request.raw for request in installation.receiver.requests)


async def test_all_chats_are_those_of_the_tenant(installation: Installation) -> None:
    own = qualify("acme", "own")
    await installation.store.chats.commit(NewChat(own, None, None, START))
    await installation.create("acme")
    async with installation.worker():
        await installation.send("c1", "c2")
        await installation.send(own)
        await installation.receiver.until(lambda: len(installation.receiver.requests) == 1)
    assert [request.key for request in installation.receiver.requests] == [("own", 1)]


async def test_events_of_before_the_creation_are_not_sent(installation: Installation) -> None:
    await installation.store.chats.commit(new_message("c1", created_at=datetime.now(UTC) - timedelta(hours=1)))
    await installation.create()
    async with installation.worker():
        await installation.send("c2", "c1")
        await installation.receiver.until(lambda: len(installation.receiver.requests) == 2)
    assert {request.key for request in installation.receiver.requests} == {("c2", 1), ("c1", 2)}


async def test_an_event_has_the_same_id_in_each_attempt_and_its_chat_waits_for_it(installation: Installation) -> None:
    receiver = installation.receiver
    failures = 3

    def answer(body: Any) -> tuple[int, dict[str, str]]:
        nonlocal failures
        if body["data"]["chatId"] == "c1" and failures:
            failures -= 1
            return 500, {}
        return 200, {}

    receiver.answer = answer
    await installation.create()
    async with installation.worker():
        await installation.send("c1", "c2", "c1", "c2", "c1", "c3")
        await receiver.until(lambda: len(receiver.delivered) == 6)
    assert receiver.first_copies() == {"c1": [1, 2, 3], "c2": [1, 2], "c3": [1]}
    attempts = [request for request in receiver.requests if request.key == ("c1", 1)]
    assert ([request.status for request in attempts], len({r.headers["webhook-id"] for r in attempts})) == (
        [500, 500, 500, 200],
        1,
    )
    assert len({request.headers["webhook-id"] for request in receiver.delivered}) == 6


async def test_a_chat_that_fails_does_not_hold_back_the_others(installation: Installation) -> None:
    receiver = installation.receiver
    receiver.answer = lambda body: (500 if body["data"]["chatId"] == "c1" else 200, {})
    webhook_id = await installation.create()
    async with installation.worker() as worker:
        for _ in range(10):
            await installation.send(*CHATS)
        await receiver.until(lambda: len(receiver.delivered) == 20)
        await until(lambda: worker.waiting == 10, limit_s=10)
    (first, *_) = await installation.store.webhooks.waiting(webhook_id, 20)
    assert (first.chat_id, first.seq, first.status) == ("c1", 1, 500)
    assert {request.key for request in receiver.requests if request.status == 500} == {("c1", 1)}


async def test_more_events_than_are_held_in_memory_keep_their_order(installation: Installation) -> None:
    receiver = installation.receiver
    receiver.answer = lambda _body: (500, {})
    webhook_id = await installation.create()
    few = replace(FAST, max_waiting=20)
    await installation.send(*["c1"] * 60)
    async with installation.worker(few) as worker:
        await until(lambda: worker.waiting == 60, limit_s=20)
    receiver.answer = lambda _body: (200, {})
    # A deployment: another worker claims the webhook.
    async with installation.worker(few):
        await installation.send(*["c1"] * 5)
        await receiver.until(lambda: len(receiver.delivered) == 65)
    assert receiver.first_copies() == {"c1": list(range(1, 66))}
    assert (await installation.webhooks.read("", webhook_id)).waiting == 0


async def test_a_receiver_that_was_away_gets_everything_in_order_with_one_probe_at_a_time(
    installation: Installation,
) -> None:
    receiver = installation.receiver
    await installation.create()
    await receiver.stop()
    async with installation.worker() as worker:
        for _ in range(20):
            await installation.send(*CHATS)
        await until(lambda: worker.states["away"] == 1, limit_s=10)
        await installation.send(*CHATS)
        await receiver.start()
        await receiver.until(lambda: len(receiver.delivered) >= 63)
        await until(lambda: worker.waiting == 0, limit_s=10)
        assert worker.states == {"receiving": 1, "away": 0}
    assert receiver.first_copies() == {chat_id: list(range(1, 22)) for chat_id in CHATS}


async def test_a_chat_that_always_fails_does_not_make_a_receiver_of_others_unreachable(
    installation: Installation,
) -> None:
    receiver = installation.receiver
    receiver.answer = lambda body: (500 if body["data"]["chatId"] == "c1" else 200, {})
    await installation.create()
    async with installation.worker() as worker:
        await installation.send("c1")
        await until(lambda: worker.states["away"] == 1, limit_s=10)
        await installation.send("c2")
        await receiver.until(lambda: len(receiver.delivered) == 1)
        await until(lambda: worker.states["away"] == 0, limit_s=10)
    assert receiver.delivered[0].key == ("c2", 1)


async def test_a_receiver_that_answers_410_is_disabled(
    installation: Installation, caplog: pytest.LogCaptureFixture
) -> None:
    installation.receiver.answer = lambda _: (410, {})
    webhook_id = await installation.create()
    async with installation.worker() as worker:
        await installation.send("c1")
        await until(lambda: "webhook disabled: its receiver answered 410" in caplog.messages, limit_s=10)
        await until(lambda: worker.states["receiving"] == 0, limit_s=10)
        webhook = (await installation.webhooks.read("", webhook_id)).webhook
        assert (webhook.active, webhook.disabled) == (False, "gone")
        installation.receiver.answer = lambda _: (200, {})
        await installation.webhooks.change("", webhook_id, ChangeWebhook.model_validate({"active": True}))
        await installation.receiver.until(lambda: len(installation.receiver.delivered) == 1)
    assert installation.receiver.delivered[0].key == ("c1", 1)


async def test_retry_after_is_respected(installation: Installation) -> None:
    times: list[float] = []

    def answer(_: Any) -> tuple[int, dict[str, str]]:
        times.append(asyncio.get_running_loop().time())
        return (503, {"Retry-After": "1"}) if len(times) == 1 else (200, {})

    installation.receiver.answer = answer
    await installation.create()
    async with installation.worker():
        await installation.send("c1")
        await installation.receiver.until(lambda: len(times) == 2)
    assert times[1] - times[0] >= 0.99


async def test_an_event_is_dead_after_its_time_and_the_next_of_its_chat_is_sent(
    installation: Installation, caplog: pytest.LogCaptureFixture
) -> None:
    receiver = installation.receiver
    receiver.answer = lambda body: (500 if body["data"]["seq"] == 1 else 200, {})
    webhook_id = await installation.create()
    options = WebhookOptions(give_up_s=1, retry_s=0.1, poll_s=0.05, heartbeat_s=0.1)
    async with installation.worker(options) as worker:
        await installation.send("c1", "c1")
        await receiver.until(lambda: len(receiver.delivered) == 1)
        assert receiver.delivered[0].key == ("c1", 2)
        ((dead, _),) = await installation.webhooks.undelivered("", webhook_id, dead=True, after=0, limit=5)
        assert (dead.seq, dead.status, dead.error) == (1, 500, "the receiver answered 500")
        assert dead.attempts == len(receiver.requests) - 1 > 2
        assert dead.dead_at is not None
        assert dead.tried_at is not None
        assert dead.dead_at - dead.tried_at >= 1_000
        assert worker.counters.attempts["dead"] == 1
        records = [record for record in caplog.records if record.levelno == logging.ERROR]
        assert [record.message for record in records] == ["webhook: an event is not sent any more"]
        receiver.answer = lambda _: (200, {})
        await installation.webhooks.replay_dead("", webhook_id, dead.position)
        await receiver.until(lambda: len(receiver.delivered) == 2)
    assert receiver.delivered[1].key == ("c1", 1)


async def test_a_replay_sends_everything_since_a_cursor_again(installation: Installation) -> None:
    receiver = installation.receiver
    webhook_id = await installation.create()
    async with installation.worker():
        await installation.send("c1", "c2", "c1")
        await receiver.until(lambda: len(receiver.delivered) == 3)
        cursor = (await installation.store.feed.read(None, 1)).cursor
        await installation.webhooks.replay_since("", webhook_id, cursor)
        await receiver.until(lambda: len(receiver.delivered) == 5)
    assert {request.key for request in receiver.delivered[3:]} == {("c2", 1), ("c1", 2)}


async def test_nothing_is_sent_while_a_webhook_is_inactive_and_nothing_is_lost(installation: Installation) -> None:
    receiver = installation.receiver
    webhook_id = await installation.create()
    async with installation.worker() as worker:
        await installation.webhooks.change("", webhook_id, ChangeWebhook.model_validate({"active": False}))
        await until(lambda: worker.states["receiving"] == 0, limit_s=10)
        await installation.send("c1", "c1")
        await installation.webhooks.change("", webhook_id, ChangeWebhook.model_validate({"active": True}))
        await receiver.until(lambda: len(receiver.delivered) == 2)
    assert receiver.first_copies() == {"c1": [1, 2]}


async def test_events_of_an_erased_chat_are_dropped(installation: Installation) -> None:
    receiver, store = installation.receiver, installation.store
    receiver.answer = lambda body: (500 if body["type"] == "message-created" else 200, {})
    webhook_id = await installation.create(chats=["c1"])
    async with installation.worker() as worker:
        await installation.send("c1")
        await until(lambda: worker.waiting == 1, limit_s=10)
        await store.chats.commit(DeleteChat("c1", START))
        await store.chats.commit(MarkPublished({"c1": MAX_SEQ}))
        while await store.chats.erase_deleted(500):
            pass
        await receiver.until(lambda: len(receiver.delivered) == 1)
        await until(lambda: worker.waiting == 0, limit_s=10)
    assert receiver.delivered[0].body["type"] == "chat-deleted"
    assert (await installation.webhooks.read("", webhook_id)).waiting == 0


async def test_a_stopped_worker_hands_its_webhooks_over_at_once(installation: Installation) -> None:
    await installation.create()
    options = WebhookOptions(poll_s=0.05, lease_s=600.0)
    async with installation.worker(options) as first:
        await until(lambda: first.states["receiving"] == 1, limit_s=10)
    async with installation.worker(options):
        await installation.send("c1")
        await installation.receiver.until(lambda: len(installation.receiver.delivered) == 1)


async def test_more_waiting_events_than_permitted_stop_the_reading_and_nothing_is_lost(
    installation: Installation,
) -> None:
    receiver = installation.receiver
    receiver.answer = lambda body: (500 if body["data"]["chatId"] == "c1" else 200, {})
    await installation.create()
    options = WebhookOptions(retry_s=0.05, max_retry_s=0.2, probe_s=0.2, poll_s=0.05, max_waiting=5)
    async with installation.worker(options):
        await installation.send(*["c1"] * 8)
        await receiver.until(lambda: len(receiver.requests) > 3)
        await installation.send("c2")
        receiver.answer = lambda _: (200, {})
        await receiver.until(lambda: len(receiver.delivered) == 9)
    assert receiver.first_copies() == {"c1": list(range(1, 9)), "c2": [1]}
