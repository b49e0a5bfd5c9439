"""A push service: it has devices, checks the signature of each request, and decrypts what it carries.

The decryption follows RFC 8291, section 3.4, from the side of the device.
"""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import jwt
from aiohttp import web
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from roomcast.push.vapid import decode, encode


def hkdf(secret: bytes, salt: bytes, info: bytes, length: int) -> bytes:
    return HKDF(SHA256(), length, salt, info).derive(secret)


@dataclass
class Device:
    """A browser's subscription."""

    endpoint: str
    key: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))
    auth: bytes = field(default_factory=lambda: secrets.token_bytes(16))

    @property
    def public(self) -> bytes:
        point = serialization.PublicFormat.UncompressedPoint
        return self.key.public_key().public_bytes(serialization.Encoding.X962, point)

    def subscription(self) -> dict[str, Any]:
        """As a browser's ``PushSubscription.toJSON()``."""
        keys = {"p256dh": encode(self.public), "auth": encode(self.auth)}
        return {"endpoint": self.endpoint, "expirationTime": None, "keys": keys}

    def decrypt(self, body: bytes) -> bytes:
        salt, size, sender = body[:16], body[20], body[21 : 21 + body[20]]
        assert size == 65
        server = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), sender)
        shared = self.key.exchange(ec.ECDH(), server)
        secret = hkdf(shared, self.auth, b"WebPush: info\0" + self.public + sender, 32)
        content_key = hkdf(secret, salt, b"Content-Encoding: aes128gcm\0", 16)
        nonce = hkdf(secret, salt, b"Content-Encoding: nonce\0", 12)
        padded = AESGCM(content_key).decrypt(nonce, body[21 + size :], None)
        text, delimiter = padded.rstrip(b"\0")[:-1], padded.rstrip(b"\0")[-1]
        assert delimiter == 2
        return text


@dataclass
class Received:
    """A push that a device has received."""

    device: Device
    payload: dict[str, Any]
    headers: dict[str, str]


class PushService:
    """Its devices and what they have received.

    Attributes:
        answers: Statuses of the next responses; empty: 201.
        requests: Every request, also those with another status.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.devices: dict[str, Device] = {}
        self.received: asyncio.Queue[Received] = asyncio.Queue()
        self.answers: list[int] = []
        self.requests = 0
        self.silent = False
        self.asked = asyncio.Event()

    def device(self) -> Device:
        name = secrets.token_hex(8)
        device = self.devices[name] = Device(f"{self.url}/push/{name}")
        return device

    async def handle(self, request: web.Request) -> web.Response:
        self.requests += 1
        self.asked.set()
        if self.silent:
            await asyncio.Event().wait()
        if self.answers:
            return web.Response(status=self.answers.pop(0), headers={"Retry-After": "1"})
        device = self.devices[request.match_info["name"]]
        scheme, _, rest = request.headers["Authorization"].partition(" ")
        parts = dict(part.strip().split("=", 1) for part in rest.split(","))
        server = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), decode(parts["k"]))
        claims = jwt.decode(parts["t"], server, algorithms=["ES256"], audience=self.url, options={"require": ["exp"]})
        assert scheme == "vapid"
        assert claims["sub"] == "mailto:ops@example.com"
        assert request.headers["Content-Encoding"] == "aes128gcm"
        assert len(request.headers["Topic"]) <= 32
        payload = json.loads(device.decrypt(await request.read()))
        self.received.put_nowait(Received(device, payload, dict(request.headers)))
        return web.Response(status=201)


@asynccontextmanager
async def push_service() -> AsyncIterator[PushService]:
    """Serve one on a free port of the loopback address."""
    application = web.Application()
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    service = PushService("")

    async def handle(request: web.Request) -> web.Response:
        return await service.handle(request)

    application.router.add_post("/push/{name}", handle)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    service.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield service
    finally:
        await runner.cleanup()
