"""The hook over HTTP, against a server on a real socket."""

from __future__ import annotations

import base64
import hashlib
import hmac

import pytest

from roomcast.contract.moderation import Review, Verdict
from roomcast.moderation.http import HttpModerator
from support.provider import Answer, running_provider

REVIEW = Review(kind="send", chat_id="c", user_id="ann", role="USER", content="hello")
SECRET = b"k" * 32


async def ask(answer: Answer) -> Verdict:
    async with running_provider(answer) as server:
        moderator = HttpModerator(server.url, SECRET)
        try:
            return await moderator.review(REVIEW)
        finally:
            await moderator.close()


async def test_a_review_is_a_signed_request_and_its_response_is_the_verdict() -> None:
    async with running_provider(Answer([b'{"action": "mask", "content": "***"}'])) as server:
        moderator = HttpModerator(f"{server.url}/review?key=1", SECRET)
        assert await moderator.review(REVIEW) == Verdict(action="mask", content="***")
        await moderator.close()
    (request,) = server.requests
    assert (request.method, request.path) == ("POST", "/review?key=1")
    assert request.body["type"] == "message.review"
    assert request.body["data"] == {
        "kind": "send",
        "chatId": "c",
        "userId": "ann",
        "role": "USER",
        "content": "hello",
    }
    assert hmac.compare_digest(request.headers["webhook-signature"][:3], "v1,")
    assert len(base64.b64decode(request.headers["webhook-signature"][3:])) == hashlib.sha256().digest_size


@pytest.mark.parametrize(
    "answer",
    [
        Answer([b'{"action": "pass"}'], status=500),
        Answer([b""], status=302, headers={"Location": "/elsewhere"}),
        Answer([b"pass"]),
        Answer([b'{"action": "mask", "content": ""}']),
        Answer([b" " * 1_000_001, b'{"action": "pass"}']),
    ],
    ids=["status", "redirect", "no JSON", "empty mask", "too long"],
)
async def test_a_response_that_is_no_verdict_is_an_error(answer: Answer) -> None:
    with pytest.raises(ValueError, match=r"."):
        await ask(answer)
