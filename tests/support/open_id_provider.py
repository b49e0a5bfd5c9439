"""A real OpenID provider: a program of its own, built on authlib. It asks for the subject, and for no password."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import httpx

from support.ports import free_port


@contextmanager
def running_provider() -> Iterator[str]:
    """The issuer of a provider, which may not accept connections yet: see `is_up`."""
    port = free_port()
    command = [sys.executable, "-m", "oidc_provider_mock", "--port", str(port), "--require-nonce", "true"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()


async def is_up(issuer: str) -> bool:
    """Whether a provider answers."""
    try:
        async with httpx.AsyncClient() as client:
            return (await client.get(f"{issuer}/.well-known/openid-configuration")).status_code == 200
    except httpx.TransportError:
        return False
