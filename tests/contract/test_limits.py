"""The contract of `chat.ports.RateLimiter`, over every implementation, and what processes share."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Callable, Iterator
from math import ceil

import pytest

from roomcast.chat.errors import RateLimitReached
from roomcast.chat.policies.rates import LimitName, Rate
from roomcast.limits.memory import MemoryRateLimiter
from roomcast.limits.redis import RedisRateLimiter
from roomcast.redis_client import Commands, RedisAddress, RedisOptions
from support.redis_server import RedisServer, running

#: 10 at once, and one each 6 s; 1,000 bytes; a limit that is not shared.
RATES = {
    LimitName.MESSAGES: Rate(10),
    LimitName.BYTES: Rate(1_000),
    LimitName.CHAT_MESSAGES: Rate(10),
    LimitName.REFUSALS: Rate(2, shared=False),
}
PERIOD_S, UNIT_S = 60.0, 6.0
MAX_KEYS = 100


class Time:
    """Monotonic seconds that only a test moves."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(scope="module")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with running(RedisServer(tmp_path_factory.mktemp("redis"))) as server:
        yield server


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
async def replicas(redis_server: RedisServer, time: Time) -> AsyncIterator[Callable[[], RedisRateLimiter]]:
    """Creates the limiters of several processes. A test reports by itself, so that it knows when."""
    redis_server.command("FLUSHALL")
    address = RedisAddress("127.0.0.1", redis_server.port)
    commands = Commands(RedisOptions(addresses=(address,), command_timeout_s=1.0))
    yield lambda: RedisRateLimiter(RATES, commands, clock=time, max_keys=MAX_KEYS)
    await commands.close()


@pytest.fixture(params=["memory", "redis"])
def limiter(request: pytest.FixtureRequest, time: Time) -> MemoryRateLimiter:
    if request.param == "memory":
        return MemoryRateLimiter(RATES, clock=time, max_keys=MAX_KEYS)
    replica: RedisRateLimiter = request.getfixturevalue("replicas")()
    return replica


def granted(limiter: MemoryRateLimiter, key: str = "ann", attempts: int = 30) -> int:
    """How many of these messages the limiter permits."""
    count = 0
    for _ in range(attempts):
        try:
            limiter.charge((LimitName.MESSAGES, key, 1))
            count += 1
        except RateLimitReached:
            pass
    return count


def test_a_whole_allowance_is_granted_at_once_and_then_refilled_evenly(limiter: MemoryRateLimiter, time: Time) -> None:
    assert granted(limiter) == 10
    for _ in range(20):
        time.now += UNIT_S
        assert granted(limiter) == 1
    time.now += 3.5 * UNIT_S
    assert granted(limiter) == 3
    time.now += 1_000 * PERIOD_S
    assert granted(limiter) == 10


def test_the_error_says_when_the_same_request_can_succeed(limiter: MemoryRateLimiter, time: Time) -> None:
    assert limiter.wait_s(LimitName.MESSAGES, "ann") == 0
    granted(limiter)
    time.now += 1.5
    with pytest.raises(RateLimitReached) as caught:
        limiter.charge((LimitName.MESSAGES, "ann", 1))
    assert (caught.value.limit, caught.value.retry_after_s) == ("messages", 5)
    assert ceil(limiter.wait_s(LimitName.MESSAGES, "ann")) == 5
    time.now += 4.4
    assert granted(limiter) == 0
    time.now += 0.1
    assert granted(limiter) == 1


def test_keys_have_allowances_of_their_own(limiter: MemoryRateLimiter) -> None:
    assert granted(limiter, "ann") == granted(limiter, "ben") == 10


def test_several_charges_are_made_together_or_not_at_all(limiter: MemoryRateLimiter) -> None:
    both = ((LimitName.MESSAGES, "ann", 1), (LimitName.BYTES, "ann", 400))
    limiter.charge(*both)
    limiter.charge(*both)
    for _ in range(20):
        with pytest.raises(RateLimitReached, match="bytes"):
            limiter.charge(*both)
    assert granted(limiter) == 8
    assert limiter.refused["bytes"] == 20


def test_a_limit_that_is_off_permits_everything_and_remembers_nothing(limiter: MemoryRateLimiter) -> None:
    for _ in range(100):
        limiter.charge((LimitName.JOINS, "ann", 1_000))
    limiter.spend(LimitName.JOINS, "ann", 1_000)
    assert limiter.wait_s(LimitName.JOINS, "ann") == 0
    assert "joins" not in limiter.keys


def test_an_amount_above_the_whole_limit_passes_when_the_allowance_is_full(limiter: MemoryRateLimiter) -> None:
    limiter.charge((LimitName.BYTES, "ann", 50_000))
    with pytest.raises(RateLimitReached):
        limiter.charge((LimitName.BYTES, "ann", 1))


def test_what_has_happened_is_counted_up_to_one_whole_limit_more(limiter: MemoryRateLimiter, time: Time) -> None:
    for _ in range(50):
        limiter.spend(LimitName.CHAT_MESSAGES, "c", 1)
    assert limiter.wait_s(LimitName.CHAT_MESSAGES, "c") == pytest.approx(PERIOD_S + UNIT_S)
    time.now += PERIOD_S + UNIT_S
    assert limiter.wait_s(LimitName.CHAT_MESSAGES, "c") == 0


def test_random_keys_do_not_make_the_memory_grow(limiter: MemoryRateLimiter, time: Time) -> None:
    for number in range(20 * MAX_KEYS):
        granted(limiter, f"user {number}", attempts=11)
    assert limiter.keys["messages"] == MAX_KEYS
    time.now += PERIOD_S
    for number in range(MAX_KEYS):  # each new key removes old ones, without a sweep
        limiter.charge((LimitName.MESSAGES, f"later {number}", 1))
    assert limiter.keys["messages"] <= MAX_KEYS
    time.now += PERIOD_S
    for number in range(3):
        limiter.charge((LimitName.MESSAGES, f"last {number}", 1))
    assert limiter.keys["messages"] < MAX_KEYS


def test_the_grants_of_any_sequence_stay_within_the_rate(limiter: MemoryRateLimiter, time: Time) -> None:
    source = random.Random(7)
    grants: list[float] = []
    for _ in range(3_000):
        time.now += source.expovariate(1.0)
        grants += [time.now] * granted(limiter, attempts=source.choice((0, 0, 1, 12)))
    for first in range(len(grants)):
        for last in range(first, min(first + 40, len(grants))):
            assert last - first + 1 <= 10 + (grants[last] - grants[first]) / UNIT_S + 0.001


# --- several processes


Replicas = Callable[[], RedisRateLimiter]


async def test_a_process_knows_after_a_report_what_others_have_granted(replicas: Replicas, time: Time) -> None:
    a, b = replicas(), replicas()
    assert granted(a) == 10
    assert await a.report()
    assert granted(b, attempts=1) == 1  # it has not asked yet
    assert await b.report()
    assert granted(b) == 0
    assert b.wait_s(LimitName.MESSAGES, "ann") == pytest.approx(2 * UNIT_S, abs=0.5)


async def test_what_was_granted_above_the_limit_is_made_up_for(replicas: Replicas, time: Time) -> None:
    several = [replicas() for _ in range(8)]
    assert sum(map(granted, several)) == 80
    for _ in range(2):
        for replica in several:
            await replica.report()
            granted(replica)
    # Two periods ahead at most.
    assert several[-1].wait_s(LimitName.MESSAGES, "ann") == pytest.approx(PERIOD_S + UNIT_S, abs=0.5)
    assert sum(map(granted, several)) == 0


async def test_a_user_far_below_its_limits_costs_no_command(replicas: Replicas, time: Time) -> None:
    rate = {LimitName.MESSAGES: Rate(600)}
    limiter = RedisRateLimiter(rate, replicas()._commands, clock=time)
    for _ in range(500):
        limiter.charge((LimitName.MESSAGES, "ann", 1))
        time.now += 1.0
        await limiter.report()
    assert limiter.reports == {"shared": 0, "lost": 0}
    assert granted(limiter, attempts=700) == 600


async def test_many_charges_of_one_key_are_one_report(replicas: Replicas) -> None:
    limiter = replicas()
    granted(limiter)
    await limiter.report()
    assert limiter.reports == {"shared": 1, "lost": 0}


async def test_limits_of_one_process_are_not_reported(replicas: Replicas) -> None:
    limiter = replicas()
    limiter.charge((LimitName.REFUSALS, "sid", 2))
    await limiter.report()
    assert limiter.reports["shared"] == 0


async def test_the_keys_in_redis_expire_when_the_allowance_is_full_again(
    replicas: Replicas, redis_server: RedisServer
) -> None:
    limiter = replicas()
    limiter.charge((LimitName.MESSAGES, "ann {}:\u00e9", 2))
    await limiter.report()
    assert 2 * UNIT_S - 1 < int(redis_server.command("TTL", "roomcast:limit:messages:ann {}:\u00e9")[1:]) <= 2 * UNIT_S


async def test_without_redis_each_process_limits_by_itself(redis_server: RedisServer, time: Time) -> None:
    address = RedisAddress("127.0.0.1", 1)  # nothing listens there
    commands = Commands(RedisOptions(addresses=(address,), command_timeout_s=0.2))
    limiter = RedisRateLimiter(RATES, commands, clock=time)
    assert granted(limiter) == 10
    assert not await limiter.report()
    assert limiter.outcome.error is not None
    assert limiter.reports == {"shared": 0, "lost": 1}
    time.now += UNIT_S
    assert granted(limiter) == 1
    await commands.close()
