"""An identity provider's side of tokens: keys of each type, signed tokens, and a real HTTP server with the key set."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import cache
from typing import Any, Final

import jwt
from aiohttp import web
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from support.http_server import HttpServer

ISSUER: Final = "https://id.example/"
AUDIENCE: Final = "chat"


@cache
def private_key(name: str) -> Any:
    """A key for the algorithm with which the name begins; one name, one key."""
    if name.startswith("ES256"):
        return ec.generate_private_key(ec.SECP256R1())
    if name.startswith("EdDSA"):
        return ed25519.Ed25519PrivateKey.generate()
    return rsa.generate_private_key(65_537, 1_024 if "short" in name else 2_048)


def pem(name: str) -> str:
    """The public key."""
    public = private_key(name).public_key()
    encoding, form = serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    return str(public.public_bytes(encoding, form).decode())


def jwk(name: str, **changes: Any) -> dict[str, Any]:
    """The public key as an entry of a key set, whose id is the name."""
    algorithm = name.partition("-")[0]
    encoded = jwt.get_algorithm_by_name(algorithm).to_jwk(private_key(name).public_key(), as_dict=True)
    encoded.pop("key_ops", None)
    return {**encoded, "kid": name, "use": "sig", **changes}


def claims(**changes: Any) -> dict[str, Any]:
    """The claims of a valid token of ann; None removes one."""
    content = {"iss": ISSUER, "aud": AUDIENCE, "sub": "ann", "exp": 4_000_000_000, **changes}
    return {name: value for name, value in content.items() if value is not None}


def sign(key: str, /, *, header: dict[str, Any] | None = None, **changes: Any) -> str:
    """A token, signed with the key of the name, which is its ``kid``; a header of None is removed."""
    algorithm = key.partition("-")[0]
    headers = {name: value for name, value in {"kid": key, **(header or {})}.items() if value is not None}
    # `jwt.encode` refuses claims of a wrong type.
    return jwt.PyJWS().encode(json.dumps(claims(**changes)).encode(), private_key(key), algorithm, headers=headers)


class KeyServer:
    """Serves a key set over HTTP.

    Attributes:
        url: The URL of the key set.
        names: The keys that it has.
        status: The status of its responses.
        location: Value of a Location header; None: none.
        content: The body; None: the key set.
        pages: Bodies of other paths.
        posted: The bodies of POST requests.
        gate: Responses wait for it.
        requests: Number of requests.
    """

    def __init__(self, *names: str) -> None:
        self.url = ""
        self.names = names
        self.status = 200
        self.location: str | None = None
        self.content: bytes | None = None
        self.pages: dict[str, bytes] = {}
        self.posted: list[str] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.requests = 0
        self._server = HttpServer(self._answer)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[KeyServer]:
        """Listen on a free port of loopback."""
        await self._server.start()
        self.url = f"{self._server.url}/keys"
        try:
            yield self
        finally:
            self.gate.set()
            await self._server.stop()

    async def _answer(self, request: web.BaseRequest) -> web.Response:
        self.requests += 1
        if request.method == "POST":
            self.posted.append(await request.text())
        await self.gate.wait()
        body = self.pages.get(request.path, self.content)
        if body is None:
            body = json.dumps({"keys": [jwk(name) for name in self.names]}).encode()
        moved = {} if self.location is None else {"Location": self.location}
        return web.Response(body=body, status=self.status, headers=moved)
