"""An identity provider's side of tokens: keys of each type, signed tokens, and a real HTTP server with the key set."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import cache
from typing import Any, Final

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

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
        self._server: asyncio.Server | None = None

    @asynccontextmanager
    async def running(self) -> AsyncIterator[KeyServer]:
        """Listen on a free port of loopback."""
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/keys"
        try:
            yield self
        finally:
            self.gate.set()
            server.close()
            await server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            self.requests += 1
            if length := re.search(r"content-length: (\d+)", head, re.IGNORECASE):
                self.posted.append((await reader.readexactly(int(length[1]))).decode())
            await self.gate.wait()
            body = self.pages.get(head.split(" ")[1], self.content)
            if body is None:
                body = json.dumps({"keys": [jwk(name) for name in self.names]}).encode()
            moved = "" if self.location is None else f"location: {self.location}\r\n"
            head = f"HTTP/1.1 {self.status} X\r\n{moved}content-length: {len(body)}\r\nconnection: close\r\n\r\n"
            writer.write(head.encode() + body)
            await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()
