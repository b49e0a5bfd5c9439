"""The keys of a key set that changes, with a real HTTP server. Time is an argument."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from roomcast.auth import key_set
from roomcast.auth.errors import KeyNotLoaded, KeysUnavailable, TokenRejected
from roomcast.auth.key_set import KeySet, KeySetOptions
from roomcast.auth.options import AuthOptions, ProviderOptions
from roomcast.auth.tokens import TokenVerifier
from support.key_server import AUDIENCE, ISSUER, KeyServer, jwk, sign
from support.waiting import until

SECRET = "a secret of thirty-two bytes or more"
OPTIONS = KeySetOptions(spacing_s=0.0, time_limit_s=10.0)


class World:
    """A verifier and its provider.

    Attributes:
        now: The clock of the key set, in monotonic seconds.
    """

    def __init__(self, server: KeyServer, options: KeySetOptions) -> None:
        self.now = 0.0
        self.server = server
        provider = ProviderOptions(issuer=ISSUER, audiences=(AUDIENCE,), jwks_url=server.url)
        self.verifier = TokenVerifier(AuthOptions(SECRET, provider=provider), clock=lambda: 1_800_000_000.0)
        forget = self.verifier._read.cache_clear
        self.keys = KeySet(server.url, provider.allowed, forget, options, clock=lambda: self.now)
        self.verifier._keys = self.keys

    async def accepts(self, token: str) -> bool:
        try:
            await self.verifier.authenticate(token)
        except TokenRejected:
            return False
        return True


@asynccontextmanager
async def world(*names: str, options: KeySetOptions = OPTIONS) -> AsyncIterator[World]:
    async with KeyServer(*names).running() as server:
        yield World(server, options)


async def test_keys_are_loaded_with_the_first_token_and_then_kept() -> None:
    async with world("RS256-a", "ES256-b") as it:
        with pytest.raises(KeyNotLoaded):
            it.verifier.verify(sign("RS256-a"))
        assert it.server.requests == 0
        assert await it.accepts(sign("RS256-a"))
        assert it.verifier.verify(sign("ES256-b")).user_id == "ann"
        assert it.server.requests == 1


async def test_a_new_key_is_found_and_a_withdrawn_one_verifies_nothing_not_even_from_the_cache() -> None:
    async with world("RS256-a") as it:
        old, new = sign("RS256-a"), sign("ES256-b")
        assert await it.accepts(old)
        it.server.names = ("RS256-a", "ES256-b")
        assert await it.accepts(new)
        assert await it.accepts(old)
        it.server.names = ("ES256-b",)
        assert await it.accepts(old)  # from the keys of this moment
        it.now += 2 * 300 + 1
        assert not await it.accepts(old)
        assert await it.accepts(new)


async def test_keys_in_use_are_loaded_again_in_the_background() -> None:
    async with world("RS256-a") as it:
        token = sign("RS256-a")
        assert await it.accepts(token)
        it.server.names = ("ES256-b",)
        it.now += 301
        assert it.verifier.verify(token).user_id == "ann"  # without waiting
        await until(lambda: it.server.requests == 2)
        await until(lambda: it.keys._load is None)
        with pytest.raises(KeyNotLoaded):
            it.verifier.verify(token)


async def test_a_key_that_no_set_has_is_rejected_after_one_load() -> None:
    async with world("RS256-a") as it:
        assert not await it.accepts(sign("RS256-b"))
        assert not await it.accepts(sign("RS256-b", header={"kid": "RS256-a"}))
        assert it.server.requests == 1


async def test_many_unknown_keys_cause_one_load_per_interval() -> None:
    async with world("RS256-a", options=KeySetOptions(spacing_s=0.2, time_limit_s=10.0)) as it:
        assert await it.accepts(sign("RS256-a"))
        forged = [sign("RS256-a", header={"kid": f"kid-{number}"}) for number in range(100)]
        waiting = [asyncio.create_task(it.accepts(token)) for token in forged]
        assert it.verifier.verify(sign("RS256-a")).user_id == "ann"  # known keys do not wait
        it.now += 0.2
        assert not any(await asyncio.gather(*waiting))
        assert it.server.requests == 2


async def test_requests_that_wait_for_keys_are_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(key_set, "MAX_WAITING", 2)
    async with world("RS256-a") as it:
        it.server.gate.clear()
        waiting = [asyncio.create_task(it.accepts(sign("RS256-a"))) for _ in range(2)]
        await until(lambda: it.server.requests == 1)
        with pytest.raises(KeysUnavailable):
            await it.verifier.authenticate(sign("RS256-a"))
        waiting[0].cancel()
        it.server.gate.set()
        assert await waiting[1]


async def test_a_key_published_during_a_load_is_found_by_the_next_one() -> None:
    async with world("RS256-a") as it:
        it.server.gate.clear()
        it.server.content = b'{"keys": []}'
        first = asyncio.create_task(it.verifier.authenticate(sign("RS256-a")))
        await until(lambda: it.server.requests == 1)
        second = asyncio.create_task(it.accepts(sign("RS256-a")))
        await asyncio.sleep(0)
        it.server.gate.set()
        with pytest.raises(KeysUnavailable):
            await first
        it.server.content = None
        assert await second
        assert it.server.requests == 2


async def test_keys_are_kept_while_the_provider_is_away_and_unknown_ones_are_unavailable() -> None:
    async with world("RS256-a") as it:
        known, token = sign("RS256-a"), sign("ES256-b")
        assert await it.accepts(known)
        it.server.status = 503
        for _ in range(3):
            it.now += 700
            assert await it.accepts(known)
        with pytest.raises(KeysUnavailable):
            await it.verifier.authenticate(token)
        it.server.status = 200
        it.server.names = ("RS256-a", "ES256-b")
        assert await it.accepts(token)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("status", 500),
        ("status", 404),
        ("content", b""),
        ("content", b"<html>"),
        ("content", b'{"keys": [{"kty": "oct", "k": "AAAA"}]}'),
        ("content", b" " * 300_000),
    ],
)
async def test_a_response_without_keys_changes_nothing(name: str, value: object) -> None:
    async with world("RS256-a") as it:
        assert await it.accepts(sign("RS256-a"))
        setattr(it.server, name, value)
        with pytest.raises(KeysUnavailable):
            await it.verifier.authenticate(sign("ES256-b"))
        assert await it.accepts(sign("RS256-a"))


async def test_a_redirect_is_not_followed() -> None:
    async with world("RS256-a") as it, KeyServer("RS256-a").running() as other:
        it.server.status, it.server.location = 302, other.url
        with pytest.raises(KeysUnavailable):
            await it.verifier.authenticate(sign("RS256-a"))
        assert other.requests == 0


async def test_a_load_has_a_time_limit() -> None:
    async with world("RS256-a", options=KeySetOptions(spacing_s=0.0, time_limit_s=0.05)) as it:
        it.server.gate.clear()
        with pytest.raises(KeysUnavailable):
            await it.verifier.authenticate(sign("RS256-a"))


async def test_a_token_without_a_key_id_is_accepted_if_one_key_fits() -> None:
    async with world("RS256-a", "ES256-b") as it:
        assert await it.accepts(sign("ES256-b", header={"kid": None}))
        it.server.names = ("RS256-a", "RS256-c")
        it.now += 1_000
        with pytest.raises(TokenRejected, match="kid"):
            await it.verifier.authenticate(sign("RS256-a", header={"kid": None}))


async def test_a_key_is_not_used_with_the_algorithm_of_another_type() -> None:
    async with world("RS256-a") as it:
        it.server.content = None
        assert await it.accepts(sign("RS256-a"))
        assert not await it.accepts(sign("ES256-b", header={"kid": "RS256-a"}))
        assert jwk("RS256-a")["kid"] == "RS256-a"
