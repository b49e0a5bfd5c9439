"""Receivers of pushes and of webhooks in the tests of `isolation`: devices of users, applications of tenants."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager

import httpx

from support.isolation_model import Leak, Model, Place
from support.push_service import PushService, Received, push_service
from support.webhook_receiver import Receiver, running_receiver

LIMIT_S = 30.0

#: Sends a request of a user of a tenant, or of its service: tenant, user, method, path, body.
Send = Callable[[int, str | None, str, str, dict[str, object]], Awaitable[httpx.Response]]


class Receivers:
    """Devices of users, and two webhooks of each tenant: of all chats, and of one chat.

    Args:
        service: The push service of the devices.
        hooks: The receivers of the tenants' webhooks, by tenant and the only chat; None: all.
        send: Sends requests.
    """

    def __init__(self, service: PushService, hooks: Mapping[tuple[int, str | None], Receiver], send: Send) -> None:
        self._service = service
        self._hooks = hooks
        self._send = send
        self._owners: dict[str, Place] = {}
        self._received: list[Received] = []
        # A chat that no test uses, whose pushes say that the earlier ones have arrived.
        self._probe = (0, "probe")
        self._numbers = 0

    async def begin(self, users: list[Place]) -> None:
        """Give each user a device, and each tenant its webhooks; wait until pushes and webhooks are sent."""
        for (tenant, only), receiver in self._hooks.items():
            body = {"url": receiver.url, **({} if only is None else {"chats": [only]})}
            assert (await self._send(tenant, None, "POST", "/api/webhooks", body)).status_code == 201
        tenant, probe = self._probe
        created = await self._send(tenant, None, "POST", "/api/chats", {"id": probe, "members": [probe]})
        assert created.status_code == 201, created.text
        # An answer would be pushed in place of its question.
        settings = await self._send(tenant, None, "PUT", f"/api/chats/{probe}/ai", {"answers": "never"})
        assert settings.status_code == 200, settings.text
        for of, user in [self._probe, *users]:
            device = self._service.device()
            self._owners[device.endpoint] = (of, user)
            answer = await self._send(of, user, "PUT", "/api/push/devices", device.subscription())
            assert answer.status_code == 204, answer.text
        async with asyncio.timeout(LIMIT_S):
            # The cursor begins behind the events that exist when the first device is added.
            while not await self._is_pushed(await self._say()):
                pass

    async def end(self) -> None:
        """Wait until all that was written before has been sent."""
        async with asyncio.timeout(LIMIT_S):
            for _ in range(2):  # the pushes of one batch are sent side by side
                await self._is_pushed(await self._say(), LIMIT_S)
        for (tenant, only), receiver in self._hooks.items():
            if only is None:
                chat = f"probe-{tenant}"
                body = {"id": chat, "members": []}
                assert (await self._send(tenant, None, "POST", "/api/chats", body)).status_code == 201
                say = {"chatId": chat, "role": "USER", "content": "the end"}
                assert (await self._send(tenant, None, "POST", "/api/chat/messages", say)).status_code == 201
                await receiver.until(lambda chat=chat, receiver=receiver: chat in receiver.seqs, LIMIT_S)  # type: ignore[misc]

    def check(self, model: Model, periods: Mapping[Place, Mapping[str, list[list[int]]]], done: Counter[str]) -> None:
        """Check everything that was received.

        Args:
            model: Who may see what.
            periods: The memberships by the seqs of the events of their begin and end.
            done: Counts what was received.

        Raises:
            Leak: a device or an application received what it must not see.
        """
        for push in self._received:
            tenant, user = self._owners[push.device.endpoint]
            seen = f"the device of {user} of {tenant} received {push.payload}"
            place = (tenant, push.payload["chatId"])
            if place not in model.chats:
                raise Leak(seen)
            for mark in model.marks(str(push.payload)):
                if mark.place != place or mark.author == user == push.payload["userId"]:
                    raise Leak(seen)
            member = any(begin < push.payload["seq"] < end for begin, end in periods[place].get(user, ()))
            if not (member or (model.chats[place].deleted and user in model.chats[place].periods)):
                raise Leak(seen)
            done["received push"] += 1
        for (tenant, only), receiver in self._hooks.items():
            for request in receiver.requests:
                chat = request.body.get("data", {}).get("chatId")
                seen = f"the webhook of {tenant} for {only or 'all chats'} received {request.raw!r}"
                model.check_response(request.raw.decode(), tenant, None, seen)
                if only not in {None, chat} or {mark.place for mark in model.marks(str(request.body))} - {
                    (tenant, chat)
                }:
                    raise Leak(seen)
                done["received webhook"] += 1

    async def _say(self) -> str:
        tenant, probe = self._probe
        self._numbers += 1
        text = f"number {self._numbers}"
        body: dict[str, object] = {"chatId": probe, "role": "USER", "content": text}
        assert (await self._send(tenant, None, "POST", "/api/chat/messages", body)).status_code == 201
        return text

    async def _is_pushed(self, text: str, limit_s: float = 2.0) -> bool:
        """Whether a message to the probe is pushed in time. Keeps the pushes that arrive before."""
        try:
            async with asyncio.timeout(limit_s):
                while True:
                    push = await self._service.received.get()
                    if self._owners[push.device.endpoint] != self._probe:
                        self._received.append(push)
                    elif push.payload["text"] == text:
                        return True
        except TimeoutError:
            return False


@asynccontextmanager
async def running_receivers(tenants: int, only: str, send: Send) -> AsyncIterator[Receivers]:
    """A push service, and an application for all chats and one for one chat, ``only``, of each tenant."""
    async with AsyncExitStack() as stack:
        service = await stack.enter_async_context(push_service())
        keys = [(tenant, chat) for tenant in range(tenants) for chat in (None, only)]
        hooks = {key: await stack.enter_async_context(running_receiver()) for key in keys}
        yield Receivers(service, hooks, send)
