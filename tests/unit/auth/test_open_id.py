"""Sign-in by OpenID Connect against a real HTTP server that answers as an attacker, or a broken provider, might."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlsplit

import jwt
import pytest

from roomcast.auth.browser_sessions import SESSION_S, BrowserSessions
from roomcast.auth.ended_sessions import EndedSessions
from roomcast.auth.errors import SessionEnded, TokenRejected
from roomcast.auth.open_id import SIGN_IN_LIMIT_S, OpenIdClient, OpenIdOptions, ProviderAway, SignedIn, SignInFailed
from roomcast.auth.options import AuthOptions
from roomcast.auth.tokens import TokenIssuer, TokenVerifier
from roomcast.contract.internal import EndedSession
from support.key_server import KeyServer, sign
from support.waiting import until

AUTH = AuthOptions("a secret of more than thirty-two bytes")
NOW = 1_800_000_000.0


class World:
    """A client, its provider, and one sign-in."""

    def __init__(self, server: KeyServer, **options: Any) -> None:
        self.now = NOW
        self.server = server
        self.issuer = server.url.removesuffix("/keys")
        self.metadata: dict[str, Any] = {
            "issuer": self.issuer,
            "authorization_endpoint": f"{self.issuer}/authorize?tenant=1",
            "token_endpoint": f"{self.issuer}/token",
            "jwks_uri": server.url,
        }
        values = {"issuer": self.issuer, "client_id": "chat", "page_url": "https://chat.example", **options}
        self.client = OpenIdClient(OpenIdOptions(**values), AUTH, clock=lambda: self.now)
        self.publish()

    def publish(self) -> None:
        self.server.pages["/.well-known/openid-configuration"] = json.dumps(self.metadata).encode()

    async def begin(self, return_to: str = "/c/lobby") -> tuple[dict[str, str], str]:
        url, cookie = await self.client.begin(return_to)
        assert url.startswith(f"{self.issuer}/authorize?tenant=1&")
        return dict(parse_qsl(urlsplit(url).query)), cookie

    def answer(self, query: dict[str, str], key: str = "RS256-a", **changes: Any) -> None:
        claims = {
            "iss": self.issuer,
            "aud": "chat",
            "sub": "ann",
            "name": "Ann",
            "nonce": query["nonce"],
            "exp": NOW + 60,
        }
        self.server.pages["/token"] = json.dumps({"id_token": sign(key, **{**claims, **changes})}).encode()

    async def sign_in(self, key: str = "RS256-a", **changes: Any) -> SignedIn:
        query, cookie = await self.begin()
        self.answer(query, key, **changes)
        return await self.client.finish({"state": query["state"], "code": "c0de"}, cookie)


@asynccontextmanager
async def world(**options: Any) -> AsyncIterator[World]:
    async with KeyServer("RS256-a").running() as server:
        yield World(server, **options)


async def test_a_sign_in_uses_a_code_with_pkce_state_and_nonce() -> None:
    async with world() as it:
        query, cookie = await it.begin()
        it.answer(query)
        done = await it.client.finish({"state": query["state"], "code": "c0de", "iss": it.issuer}, cookie)
        assert done == SignedIn("ann", "Ann", "/c/lobby")
        assert query["redirect_uri"] == "https://chat.example/api/auth/callback"
        assert (query["response_type"], query["scope"]) == ("code", "openid profile")
        form = {name: values[0] for name, values in parse_qs(it.server.posted[0]).items()}
        assert (form["code"], form["grant_type"], form["client_id"]) == ("c0de", "authorization_code", "chat")
        digest = hashlib.sha256(form["code_verifier"].encode()).digest()
        assert query["code_challenge"] == base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
        assert query["code_challenge_method"] == "S256"
        assert form["code_verifier"] not in "".join(query.values())
        assert len({query["state"], query["nonce"], form["code_verifier"]}) == 3
        other, _ = await it.begin()
        assert not {query["state"], query["nonce"]} & {other["state"], other["nonce"]}


@pytest.mark.parametrize(
    "changes",
    [
        {"nonce": "another"},
        {"nonce": None},
        {"iss": "https://evil.example"},
        {"aud": "another"},
        {"aud": ["chat", "another"], "azp": "another"},
        {"exp": NOW - 60},
        {"sub": ""},
        {"key": "RS256-evil"},
        {"header": {"kid": "RS256-evil"}},
    ],
)
async def test_an_id_token_that_is_not_for_this_sign_in_is_refused(changes: dict[str, Any]) -> None:
    async with world() as it:
        with pytest.raises(SignInFailed):
            await it.sign_in(**changes)


@pytest.mark.parametrize(
    "change",
    [
        lambda query, cookie: ({**query, "state": "x"}, cookie),
        lambda query, cookie: ({"code": "c"}, cookie),
        lambda query, cookie: (query, None),
        lambda query, cookie: (query, cookie + "x"),
        lambda query, cookie: ({**query, "iss": "https://evil.example"}, cookie),
        lambda query, cookie: ({"state": query["state"], "error": "access_denied"}, cookie),
        lambda query, cookie: ({**query, "state": "\u00e9"}, cookie),
        lambda query, cookie: (query, TokenIssuer(AUTH).issue("ann", ttl_s=60)),
        lambda query, cookie: (query, BrowserSessions(AUTH, EndedSessions()).begin("ann", None)),
    ],
)
async def test_a_response_that_this_browser_has_not_asked_for_is_refused(
    change: Callable[[dict[str, str], str], tuple[dict[str, str], str | None]],
) -> None:
    async with world() as it:
        query, cookie = await it.begin()
        it.answer(query)
        with pytest.raises(SignInFailed):
            await it.client.finish(*change({"state": query["state"], "code": "c"}, cookie))
        assert it.server.posted == []


async def test_a_sign_in_has_a_time_limit() -> None:
    async with world() as it:
        query, cookie = await it.begin()
        it.answer(query, exp=NOW + 10_000)
        it.now += SIGN_IN_LIMIT_S
        with pytest.raises(SignInFailed, match="long"):
            await it.client.finish({"state": query["state"], "code": "c"}, cookie)


@pytest.mark.parametrize(
    "path",
    [
        "https://evil.example",
        "//evil.example",
        "/\\evil.example",
        "/c//evil",
        "/c/a?b",
        "/c/a\n",
        "evil",
        "",
        "/c/../x",
        "/c/" + "x" * 401,
        "/join/short",
        "/join/" + "x" * 33,
    ],
)
async def test_a_sign_in_returns_to_paths_of_the_page_only(path: str) -> None:
    async with world() as it:
        query, cookie = await it.begin(path)
        it.answer(query)
        assert (await it.client.finish({"state": query["state"], "code": "c"}, cookie)).return_to == "/"


@pytest.mark.parametrize(
    ("changes"),
    [
        {"issuer": "https://evil.example"},
        {"token_endpoint": "http://evil.example/token"},
        {"jwks_uri": "file:///etc/passwd"},
        {"authorization_endpoint": None},
    ],
)
async def test_metadata_that_could_lead_elsewhere_is_refused(changes: dict[str, Any]) -> None:
    async with world() as it:
        it.metadata |= changes
        it.publish()
        with pytest.raises(ProviderAway):
            await it.begin()


async def test_a_provider_that_does_not_answer_is_away_and_a_refused_code_is_a_failure() -> None:
    async with world() as it:
        it.server.status = 500
        with pytest.raises(ProviderAway):
            await it.begin()
    async with world() as it:
        query, cookie = await it.begin()
        for body in (b"", b"[]", b"{}", b'{"id_token": 7}'):
            it.server.pages["/token"] = body
            with pytest.raises(SignInFailed):
                await it.client.finish({"state": query["state"], "code": "c"}, cookie)
        it.server.status = 400
        with pytest.raises(SignInFailed):
            await it.client.finish({"state": query["state"], "code": "c"}, cookie)


async def test_sign_ins_share_a_load_and_pause_after_one_that_failed() -> None:
    async with world() as it:
        it.server.gate.clear()
        begun = [asyncio.create_task(it.begin()) for _ in range(20)]
        await until(lambda: it.server.requests == 1)
        it.server.gate.set()
        await asyncio.gather(*begun)
        assert it.server.requests == 1
    async with world() as it:
        it.server.status = 500
        outcomes = await asyncio.gather(*(it.begin() for _ in range(20)), return_exceptions=True)
        assert [type(outcome) for outcome in outcomes] == [ProviderAway] * 20
        assert it.server.requests == 1


@pytest.mark.parametrize("posts", [True, False])
async def test_a_client_secret_is_sent_as_the_provider_asks(posts: bool) -> None:
    async with world(client_secret="s3cret") as it:
        if posts:
            it.metadata["token_endpoint_auth_methods_supported"] = ["client_secret_post"]
            it.publish()
        await it.sign_in()
        assert ("client_secret=s3cret" in it.server.posted[0]) is posts


def test_a_session_gives_short_lived_tokens_until_it_ends() -> None:
    now = NOW
    ended = EndedSessions()
    sessions = BrowserSessions(AUTH, ended, clock=lambda: now)
    verifier = TokenVerifier(AUTH, ended, clock=lambda: now)
    cookie = sessions.begin("ann", "Ann")
    token, ttl_s = sessions.issue_token(sessions.read(cookie))
    identity = verifier.verify(token)
    assert (identity.user_id, identity.name, identity.expires_at, identity.scopes) == ("ann", "Ann", NOW + 600, set())
    assert ttl_s == 600
    with pytest.raises(TokenRejected):
        verifier.verify(cookie)  # a session is no access token
    for other in (None, "", token, cookie + "x", jwt.encode({"sub": "ann"}, AUTH.secret, "HS256")):
        with pytest.raises(TokenRejected):
            sessions.read(other)
    now = NOW + SESSION_S - 5
    assert sessions.issue_token(sessions.read(cookie))[1] == 5
    now = NOW + SESSION_S
    with pytest.raises(TokenRejected):
        sessions.read(cookie)


def test_the_end_of_a_session_ends_its_tokens_and_no_others() -> None:
    ended = EndedSessions()
    sessions = BrowserSessions(AUTH, ended, clock=lambda: NOW)
    verifier = TokenVerifier(AUTH, ended, clock=lambda: NOW)
    session, other = sessions.read(sessions.begin("ann", None)), sessions.read(sessions.begin("ann", "Ann"))
    token, others = sessions.issue_token(session)[0], sessions.issue_token(other)[0]
    identity = verifier.verify(token)
    ended.add([EndedSession(token=session.digest, ended_at=int(NOW * 1_000), expires_at=int(NOW * 2_000))])
    assert verifier.has_ended(identity)
    with pytest.raises(SessionEnded):
        verifier.verify(token)
    assert verifier.verify(others).user_id == "ann"


def test_the_end_of_all_sessions_of_a_user_ends_those_of_browsers() -> None:
    ended = EndedSessions()
    sessions = BrowserSessions(AUTH, ended, clock=lambda: NOW)
    cookie = sessions.begin("ann", None)
    ended.add([EndedSession(user_id="ann", ended_at=int(NOW * 1_000), expires_at=int(NOW * 2_000))])
    with pytest.raises(TokenRejected, match="ended"):
        sessions.read(cookie)


async def test_a_sign_in_returns_to_an_invite_link() -> None:
    path = "/join/" + "aZ0-_" * 6 + "42"
    async with world() as it:
        query, cookie = await it.begin(path)
        it.answer(query)
        assert (await it.client.finish({"state": query["state"], "code": "c"}, cookie)).return_to == path
