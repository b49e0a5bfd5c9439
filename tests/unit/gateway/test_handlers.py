"""Token checks and token expiry. Event handlers are tested with real clients in tests/integration/gateway."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from hashlib import sha256
from typing import Any

import pytest

from roomcast.auth.ended_sessions import EndedSessions
from roomcast.auth.errors import KeyNotLoaded, KeysUnavailable, TokenRejected
from roomcast.auth.options import AuthOptions
from roomcast.auth.tokens import Identity, TokenIssuer, TokenVerifier
from roomcast.contract.internal import EndedSession
from roomcast.gateway.handlers import Handlers
from roomcast.observability.log_context import log_facts
from roomcast.realtime import SocketGone, errors
from support.virtual_time import run_in_virtual_time

AUTH = AuthOptions("a secret of more than thirty-two bytes")
DAY_S = 86_400.0


class Socket:
    ack_wanted = True

    def __init__(self, sid: str) -> None:
        self.sid = sid
        self.emitted: list[tuple[str, Any]] = []
        self.disconnected = False

    def emit(self, event: str, *args: Any) -> None:
        self.emitted.append((event, args[0]))

    def disconnect(self) -> None:
        self.disconnected = True


class Server:
    """The part of the server that `Handlers` uses for logins."""

    def __init__(self) -> None:
        self.sockets: dict[str, Socket] = {}

    def on(self, event: str, handler: object) -> None:
        """Ignore the handler."""

    def socket(self, sid: str) -> Socket:
        if sid not in self.sockets:
            raise SocketGone(sid, "/")
        return self.sockets[sid]


class Joins:
    def __init__(self) -> None:
        self.dropped: list[str] = []
        self.facts: dict[str, str] = {}

    def drop(self, sid: str) -> None:
        self.dropped.append(sid)

    async def join(self, *_args: object, **_options: object) -> None:
        self.facts = dict(log_facts())
        raise RuntimeError


class IdentityRecorder:
    def __init__(self) -> None:
        self.users: dict[str, str] = {}

    def identify(self, sid: str, user_id: str) -> None:
        self.users[sid] = user_id

    def disconnected(self, sid: str) -> None:
        self.users.pop(sid, None)


class World:
    """Handlers whose wall clock is the event loop's clock plus ``clock_step_s``."""

    def __init__(self) -> None:
        self.clock_step_s = 0.0

        def clock() -> float:
            return asyncio.get_running_loop().time() + self.clock_step_s

        self.clock = clock
        self.server, self.joins, self.presence = Server(), Joins(), IdentityRecorder()
        self.issuer = TokenIssuer(AUTH, clock=clock)
        self.handlers = Handlers(
            self.server,  # type: ignore[arg-type]  # a stub with the members that are used
            self.joins,  # type: ignore[arg-type]  # same reason
            None,  # type: ignore[arg-type]  # unused here
            None,  # type: ignore[arg-type]  # unused here
            self.presence,  # type: ignore[arg-type]  # same reason
            None,  # type: ignore[arg-type]  # unused here
            TokenVerifier(AUTH, clock=clock),
            expiry_leeway_s=AUTH.leeway_s,
            clock=clock,
        )

    def connect(self, sid: str, ttl_s: float) -> Socket:
        socket = self.server.sockets[sid] = Socket(sid)
        self.handlers.connect(sid, {}, {"token": self.issuer.issue("ada", ttl_s=ttl_s)})
        return socket


@pytest.mark.parametrize("ttl_s", [60.0, 3 * DAY_S])
def test_a_socket_is_disconnected_when_its_token_expires_and_not_before(ttl_s) -> None:
    async def main() -> None:
        world = World()
        socket = world.connect("s1", ttl_s)
        await asyncio.sleep(ttl_s + AUTH.leeway_s - 0.1)
        assert not socket.disconnected
        await asyncio.sleep(0.2)
        assert socket.disconnected
        (event, error) = socket.emitted[0]
        assert (event, error["code"]) == ("error", "unauthorized")

    run_in_virtual_time(main())


@pytest.mark.parametrize("step_s", [-3_600.0, 3_600.0])
def test_the_expiry_of_a_token_follows_a_wall_clock_that_is_set(step_s) -> None:
    async def main() -> None:
        world = World()
        socket = world.connect("s1", 2 * 3_600)
        await asyncio.sleep(60)
        world.clock_step_s = step_s
        left_s = 2 * 3_600 + AUTH.leeway_s - 60 - step_s
        await asyncio.sleep(left_s - 0.1)
        assert not socket.disconnected
        await asyncio.sleep(30.1)
        assert socket.disconnected

    run_in_virtual_time(main())


def test_a_disconnected_socket_leaves_no_timer() -> None:
    async def main() -> None:
        world = World()
        socket = world.connect("s1", 60.0)
        world.handlers.disconnect("s1", "transport close")
        del world.server.sockets["s1"]
        assert (world.joins.dropped, world.presence.users) == (["s1"], {})
        await asyncio.sleep(100)
        assert not socket.disconnected

    run_in_virtual_time(main())


@pytest.mark.parametrize("auth", [None, "token", [], {}, {"token": None}, {"token": "x.y.z"}])
def test_an_invalid_token_is_refused_with_a_code(auth) -> None:
    async def main() -> None:
        with pytest.raises(errors.ConnectionRefusedError) as refused:
            World().handlers.connect("s1", {}, auth)
        assert refused.value.data == {"code": "unauthorized"}

    run_in_virtual_time(main())


def test_log_lines_of_a_handler_have_the_ids_of_socket_user_and_chat(caplog) -> None:
    async def main() -> None:
        world = World()
        world.connect("s1", 60.0)
        join = world.handlers.join_chat("s1", {"chatId": "c1"})
        assert isinstance(join, Awaitable)
        assert (await join)["error"]["code"] == "internal"
        assert world.joins.facts == {"socket_id": "s1", "user_id": "ada", "chat_id": "c1"}
        assert log_facts() == {}

    run_in_virtual_time(main())
    assert "the handler of an event failed" in caplog.text


class WaitingVerifier:
    """A verifier whose provider's keys are being loaded."""

    def __init__(self, outcome: Identity | Exception) -> None:
        self.loaded = asyncio.Event()
        self._outcome = outcome

    def verify(self, _token: object) -> Identity:
        raise KeyNotLoaded

    async def authenticate(self, _token: object) -> Identity:
        await self.loaded.wait()
        if isinstance(self._outcome, Exception):
            raise self._outcome
        return self._outcome


@pytest.mark.parametrize(
    ("outcome", "code"),
    [
        (Identity("ada", 1e12), None),
        (TokenRejected("no"), "unauthorized"),
        (KeysUnavailable(), "unavailable"),
    ],
)
async def test_a_client_waits_for_the_keys_of_its_provider(outcome: Identity | Exception, code: str | None) -> None:
    world, verifier = World(), WaitingVerifier(outcome)
    world.handlers._verifier = verifier  # type: ignore[assignment]  # a stub with the methods that are used
    world.server.sockets["s1"] = Socket("s1")
    connecting = world.handlers.connect("s1", {}, {"token": "t"})
    assert connecting is not None
    assert world.handlers.user_of("s1") is None
    verifier.loaded.set()
    if code is None:
        await connecting
        assert world.handlers.user_of("s1") == "ada"
        world.handlers.disconnect("s1", "gone")
        assert world.handlers.user_of("s1") is None
        return
    with pytest.raises(errors.ConnectionRefusedError) as refused:
        await connecting
    assert refused.value.data == {"code": code}


def refresh(world: World, sid: str, token: str) -> Any:
    return world.handlers.auth_refresh(sid, {"token": token})


def test_a_refreshed_socket_lives_as_long_as_its_newest_token() -> None:
    async def main() -> None:
        world = World()
        socket = world.connect("s1", 60.0)
        await asyncio.sleep(50)
        ack = refresh(world, "s1", world.issuer.issue("ada", ttl_s=100))
        assert (ack["ok"], ack["expiresIn"]) == (True, 100.0)
        assert ack["expiresAt"].startswith("1970-01-01T00:02:30")
        earlier = refresh(world, "s1", world.issuer.issue("ada", ttl_s=5))
        assert earlier["expiresIn"] == 100.0
        await asyncio.sleep(100 + AUTH.leeway_s - 0.1)
        assert not socket.disconnected
        await asyncio.sleep(0.2)
        assert socket.disconnected

    run_in_virtual_time(main())


def test_only_a_valid_token_of_the_same_user_refreshes_a_socket() -> None:
    async def main() -> None:
        world = World()
        socket = world.connect("s1", 60.0)
        eve = refresh(world, "s1", world.issuer.issue("eve", ttl_s=1_000))
        assert eve["error"]["code"] == "forbidden"
        assert refresh(world, "s1", "a.b.c")["error"]["code"] == "unauthorized"
        for payload in (None, {}, "token", {"token": 7}, {"token": ""}, {"token": "x" * 9_000}):
            assert world.handlers.auth_refresh("s1", payload)["error"]["code"] == "invalid"  # type: ignore[index]  # not awaitable
        assert world.handlers.user_of("s1") == "ada"
        await asyncio.sleep(60 + AUTH.leeway_s + 0.1)
        assert socket.disconnected

    run_in_virtual_time(main())


async def test_a_refresh_waits_for_the_keys_of_the_provider_and_a_client_may_leave_meanwhile() -> None:
    world, verifier = World(), WaitingVerifier(Identity("ada", 1e12))
    world.connect("s1", 60.0)
    world.handlers._verifier = verifier  # type: ignore[assignment]  # a stub with the methods that are used
    first, second = refresh(world, "s1", "t"), refresh(world, "s1", "t")
    verifier.loaded.set()
    assert (await first)["expiresAt"].startswith("9999-12-31T")
    world.handlers.disconnect("s1", "gone")
    assert await second is None
    assert world.handlers.user_of("s1") is None


@pytest.mark.parametrize(("error", "code"), [(KeysUnavailable(), "unavailable"), (TokenRejected("no"), "unauthorized")])
async def test_a_refresh_that_fails_leaves_the_socket_as_it_is(error: Exception, code: str) -> None:
    world, verifier = World(), WaitingVerifier(error)
    socket = world.connect("s1", 60.0)
    world.handlers._verifier = verifier  # type: ignore[assignment]  # a stub with the methods that are used
    verifier.loaded.set()
    assert (await refresh(world, "s1", "t"))["error"]["code"] == code
    assert not socket.disconnected


async def test_without_authentication_a_refresh_changes_nothing() -> None:
    world = World()
    world.server.sockets["s1"] = Socket("s1")
    world.handlers._verifier = None
    assert refresh(world, "s1", "t") == {"ok": True, "expiresAt": None, "expiresIn": None}


async def test_clients_whose_sessions_have_ended_are_disconnected_and_others_are_not() -> None:
    world = World()
    ended = EndedSessions()
    verifier = TokenVerifier(AUTH, ended, clock=world.clock)
    world.handlers._verifier = verifier
    ended.listen(world.handlers.close_ended_sessions)
    eve = TokenIssuer(AUTH, clock=world.clock).issue("eve", ttl_s=60)
    ada, ada_too = world.connect("s1", 60.0), world.connect("s2", 50.0)
    world.server.sockets["s3"] = other = Socket("s3")
    world.handlers.connect("s3", {}, {"token": eve})
    now_ms = int(world.clock() * 1_000)
    ended.add([EndedSession(user_id="ada", ended_at=now_ms, expires_at=now_ms + 1_000_000)])
    assert [socket.disconnected for socket in (ada, ada_too, other)] == [True, True, False]
    (event, error) = ada.emitted[0]
    assert (event, error["code"]) == ("error", "unauthorized")
    ended.add([EndedSession(token=sha256(eve.encode()).hexdigest(), ended_at=now_ms, expires_at=now_ms + 1_000_000)])
    assert other.disconnected
