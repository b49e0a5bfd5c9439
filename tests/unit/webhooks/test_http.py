"""Requests to webhooks, against servers on real sockets."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest

from roomcast.chat.webhook_values import Attempt, StoredWebhook
from roomcast.webhooks.http import HttpWebhookSender
from roomcast.wire.standard_webhooks import encode_secret
from support.provider import Answer, running_provider
from support.webhook_receiver import running_receiver, verify

KEYS = (b"n" * 32, b"o" * 32)


def webhook(url: str, **values: Any) -> StoredWebhook:
    return StoredWebhook(id="w", tenant="", url=url, events=None, chats=None, secret=KEYS[0], created_at=0, **values)


@pytest.fixture
async def sender() -> AsyncIterator[HttpWebhookSender]:
    sender = HttpWebhookSender([ip_network("127.0.0.0/8")], timeout_s=0.5)
    yield sender
    await sender.close()


async def test_a_request_is_signed_and_its_connection_is_used_again(sender: HttpWebhookSender) -> None:
    async with running_receiver() as receiver:
        until = int((datetime.now(UTC) + timedelta(hours=1)).timestamp() * 1_000)
        for old_until, signatures in ((until, 2), (1, 1)):
            target = webhook(receiver.url, old_secret=KEYS[1], old_until=old_until)
            assert await sender.send(target, "msg_1", b'{"type":"ping"}') == Attempt(200)
            headers = receiver.requests[-1].headers
            assert len(headers["webhook-signature"].split(" ")) == signatures
            for key in KEYS[:signatures]:
                assert verify(encode_secret(key), headers, receiver.requests[-1].raw)
        assert headers["content-type"] == "application/json"
        assert headers["host"] == f"127.0.0.1:{receiver.port}"
        assert headers["webhook-id"] == "msg_1"
        assert abs(int(headers["webhook-timestamp"]) - datetime.now(UTC).timestamp()) < 5
        assert len(receiver._connections) == 1


async def test_the_example_of_the_documentation_verifies_a_request(sender: HttpWebhookSender) -> None:
    text = (Path(__file__).parents[3] / "docs/webhooks.md").read_text()
    example: dict[str, Any] = {}
    exec(text.partition('title="verify.py"\n')[2].partition("```")[0], example)  # noqa: S102 - our own document
    async with running_receiver() as receiver:
        await sender.send(webhook(receiver.url), "msg_1", b'{"type":"ping"}')
    (request,) = receiver.requests
    secret, other = (encode_secret(key) for key in KEYS)
    assert example["verify"](secret, request.headers, request.raw)
    assert not example["verify"](other, request.headers, request.raw)
    assert not example["verify"](secret, request.headers, request.raw + b" ")
    assert not example["verify"](secret, {**request.headers, "webhook-timestamp": "1"}, request.raw)


async def test_a_slow_receiver_is_given_up_after_the_time_limit(sender: HttpWebhookSender) -> None:
    async with running_receiver() as receiver:
        receiver.delay_s = 30.0
        assert await sender.send(webhook(receiver.url), "m", b"{}") == Attempt(error="no response within 0.5 s")


async def test_an_endless_body_is_not_read_and_the_status_counts(sender: HttpWebhookSender) -> None:
    endless = Answer(b"x" * 10_000 for _ in range(10_000))
    dripping = Answer([b"x", 30.0, b"y"])
    for answer in (endless, dripping):
        async with running_provider(answer) as server:
            assert await sender.send(webhook(server.url), "m", b"{}") == Attempt(200)
            async with asyncio.timeout(5):
                await server.requests[0].closed.wait()


async def test_a_redirect_is_not_followed(sender: HttpWebhookSender) -> None:
    async with running_receiver() as target, running_receiver() as receiver:
        receiver.answer = lambda _: (307, {"Location": target.url})
        attempt = await sender.send(webhook(receiver.url), "m", b"{}")
        assert attempt == Attempt(307, "the receiver answered 307; redirects are not followed")
        assert target.requests == []


@pytest.mark.parametrize(
    ("value", "seconds"),
    [("7", 7.0), ("soon", None)],
)
async def test_retry_after_is_read(sender: HttpWebhookSender, value: str, seconds: float | None) -> None:
    async with running_receiver() as receiver:
        receiver.answer = lambda _: (429, {"Retry-After": value})
        attempt = await sender.send(webhook(receiver.url), "m", b"{}")
        assert (attempt.status, attempt.retry_after_s) == (429, seconds)


async def test_retry_after_may_be_a_date(sender: HttpWebhookSender) -> None:
    async with running_receiver() as receiver:
        date = format_datetime(datetime.now(UTC) + timedelta(minutes=1), usegmt=True)
        receiver.answer = lambda _: (503, {"Retry-After": date})
        attempt = await sender.send(webhook(receiver.url), "m", b"{}")
        assert attempt.retry_after_s == pytest.approx(60, abs=5)


@pytest.mark.parametrize("url", ["http://127.0.0.1:1/", "http://no-such-host.invalid/", "http://[::1]:1/"])
async def test_a_receiver_that_cannot_be_reached_is_a_failed_attempt(sender: HttpWebhookSender, url: str) -> None:
    attempt = await sender.send(webhook(url), "m", b"{}")
    assert (attempt.status, bool(attempt.error)) == (None, True)


async def test_a_server_that_speaks_no_http_is_a_failed_attempt(sender: HttpWebhookSender) -> None:
    async def serve(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"SSH-2.0-OpenSSH\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        for scheme in ("http", "https"):
            attempt = await sender.send(webhook(f"{scheme}://127.0.0.1:{port}/"), "m", b"{}")
            assert (attempt.status, bool(attempt.error)) == (None, True)


async def test_without_a_permitted_network_this_machine_is_not_reached_and_the_error_says_how() -> None:
    async with running_receiver() as receiver:
        sender = HttpWebhookSender()
        attempt = await sender.send(webhook(receiver.url), "m", b"{}")
        assert attempt.error is not None
        assert "ROOMCAST_WEBHOOK_NETWORKS" in attempt.error
        assert receiver.requests == []
        await sender.close()


async def test_a_certificate_is_checked_for_the_name_of_the_url(sender: HttpWebhookSender) -> None:
    assert all(
        (pool._ssl_context.check_hostname, pool._ssl_context.verify_mode) == (True, ssl.CERT_REQUIRED)
        for pool in sender._client._pools.values()
    )
