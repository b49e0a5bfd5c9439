"""Queues of pushes, in virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from roomcast.chat.model import PushDevice
from roomcast.chat.ports import Push, PushOutcome
from roomcast.worker import push_deliveries as module
from roomcast.worker.push_deliveries import MAX_SERVICES, MAX_SERVICES_OF_USER, MAX_WAITING, Deliveries, Delivery
from support.virtual_time import run_in_virtual_time


class Sender:
    """Answers as scripted: by host, else ``sent``."""

    def __init__(self) -> None:
        self.sent: list[tuple[float, str]] = []
        self.outcomes: dict[str, list[PushOutcome]] = {}
        self.silent: set[str] = set()

    async def send(self, push: Push) -> PushOutcome:
        endpoint = push.device.endpoint
        self.sent.append((asyncio.get_running_loop().time(), endpoint))
        if endpoint in self.silent:
            await asyncio.sleep(10)
            return PushOutcome("failed")
        outcomes = self.outcomes.get(endpoint, [])
        return outcomes.pop(0) if outcomes else PushOutcome("sent")


class Devices:
    """Records which devices are deleted."""

    def __init__(self) -> None:
        self.removed: list[str] = []

    async def remove_device(self, device_id: str, user_id: str | None) -> None:
        assert user_id is None
        self.removed.append(device_id)


def delivery(endpoint: str, allowed: Callable[[], Awaitable[bool]] | None = None, *, user_id: str = "ann") -> Delivery:
    async def always() -> bool:
        return True

    device = PushDevice(endpoint, user_id, endpoint, "key", "auth")
    now = asyncio.get_running_loop().time()
    return Delivery(Push(device, b"{}", "topic", urgent=False, ttl_s=60), allowed or always, now)


def open_deliveries() -> tuple[Deliveries, Sender, Devices]:
    sender, devices = Sender(), Devices()
    return Deliveries(sender, devices), sender, devices  # type: ignore[arg-type]  # one method of the port is used


def test_a_push_is_repeated_with_growing_pauses_and_then_dropped() -> None:
    async def scenario() -> None:
        deliveries, sender, devices = open_deliveries()
        url = "https://push.example/1"
        sender.outcomes[url] = [PushOutcome("failed")] * 9
        deliveries.add(delivery(url))
        await asyncio.sleep(60)
        assert len(sender.sent) == 4
        assert sender.sent[-1][0] - sender.sent[0][0] < 26
        assert (deliveries.counters["failed"], deliveries.counters["repeated"]) == (1, 3)
        sender.outcomes[url] = [PushOutcome("failed", retry_after_s=40.0)]
        deliveries.add(delivery(url))
        await asyncio.sleep(60)
        assert sender.sent[-1][0] - sender.sent[-2][0] >= 20
        assert (deliveries.counters["sent"], devices.removed) == (1, [])

    run_in_virtual_time(scenario())


@pytest.mark.parametrize("result", ["gone", "refused"])
def test_a_device_that_is_gone_is_deleted_and_a_refused_push_is_not_repeated(result: str) -> None:
    async def scenario() -> None:
        deliveries, sender, devices = open_deliveries()
        sender.outcomes["https://push.example/1"] = [PushOutcome(result)]  # type: ignore[arg-type]
        deliveries.add(delivery("https://push.example/1"))
        await asyncio.sleep(60)
        assert len(sender.sent) == 1
        assert devices.removed == (["https://push.example/1"] if result == "gone" else [])

    run_in_virtual_time(scenario())


def test_a_push_that_waited_is_sent_only_if_it_still_may_be() -> None:
    async def scenario() -> None:
        deliveries, sender, _ = open_deliveries()
        left = False

        async def allowed() -> bool:
            return not left

        url = "https://push.example/1"
        sender.outcomes[url] = [PushOutcome("failed", retry_after_s=10.0)] * 2
        deliveries.add(delivery(url, allowed))
        await asyncio.sleep(1)
        left = True
        await asyncio.sleep(60)
        assert (len(sender.sent), deliveries.counters["outdated"]) == (1, 1)

    run_in_virtual_time(scenario())


def test_a_service_that_does_not_answer_delays_no_other_and_its_queue_is_bounded() -> None:
    async def scenario() -> None:
        deliveries, sender, _ = open_deliveries()
        dead = "https://dead.example/1"
        sender.silent.add(dead)
        for _ in range(MAX_WAITING + 10):
            deliveries.add(delivery(dead))
        for number in range(20):
            deliveries.add(delivery(f"https://push.example/{number}"))
        await asyncio.sleep(0.1)
        assert deliveries.counters["sent"] == 20
        assert len([endpoint for _, endpoint in sender.sent if endpoint == dead]) == 4
        # All waited before the first one was taken.
        assert deliveries.counters["dropped"] == 10
        for number in range(MAX_SERVICES + 5):
            sender.silent.add(f"https://{number}.example/")
            deliveries.add(delivery(f"https://{number}.example/", user_id=f"u{number}"))
        assert deliveries.counters["dropped"] == 10 + 5 + 1
        await deliveries.close(1.0)

    run_in_virtual_time(scenario())


def test_the_devices_of_one_user_begin_few_queues() -> None:
    async def scenario() -> None:
        deliveries, sender, _ = open_deliveries()
        urls = [f"https://{number}.example/" for number in range(MAX_SERVICES_OF_USER + 3)]
        sender.silent.update(urls)
        for url in urls:
            deliveries.add(delivery(url))
        assert deliveries.counters["dropped"] == 3
        deliveries.add(delivery(urls[0]))
        deliveries.add(delivery("https://push.example/1", user_id="bob"))
        await asyncio.sleep(0.1)
        assert (deliveries.counters["dropped"], deliveries.counters["sent"]) == (3, 1)
        await deliveries.close(1.0)

    run_in_virtual_time(scenario())


def test_the_longest_queue_loses_its_oldest_push_beyond_the_limit_of_all(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        deliveries, sender, _ = open_deliveries()
        silent = [f"https://{number}.example/" for number in range(3)]
        sender.silent.update(silent)
        for number, size in enumerate((7, 2, 1)):
            for _ in range(size):
                deliveries.add(delivery(silent[number]))
        assert deliveries.counters["dropped"] == 0
        deliveries.add(delivery(silent[2]))
        deliveries.add(delivery("https://push.example/1"))
        assert deliveries.counters["dropped"] == 2
        await asyncio.sleep(0.1)
        assert deliveries.counters["sent"] == 1
        await asyncio.sleep(600)
        assert [endpoint for _, endpoint in sender.sent].count(silent[0]) == 5 * 4
        # What was sent does not count.
        for _ in range(10):
            deliveries.add(delivery(silent[0]))
        assert deliveries.counters["dropped"] == 2
        await deliveries.close(1.0)

    monkeypatch.setattr(module, "MAX_ALL_WAITING", 10)
    run_in_virtual_time(scenario())
