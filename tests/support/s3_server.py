"""A server of S3's protocol: moto, which is no dependency, since it has sixty of its own.

`pip install 'moto[s3,server]'` into an environment of its own; ``MOTO_SERVER`` is the path of its ``moto_server``.
"""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx

from support.ports import free_port
from support.programs import unavailable
from support.waiting import until


@asynccontextmanager
async def s3_server() -> AsyncIterator[dict[str, str]]:
    """Run the server with the bucket ``bucket``, and yield the environment of its clients.

    Without the program the test is skipped, or fails under ``CI=true``.
    """
    program = os.environ.get("MOTO_SERVER") or shutil.which("moto_server")
    if program is None:
        unavailable("moto_server is not installed: tests/support/s3_server.py says how")
    url = f"http://127.0.0.1:{free_port()}"
    command = [program, "-H", "127.0.0.1", "-p", url.rpartition(":")[2]]
    nowhere = asyncio.subprocess.DEVNULL
    server = await asyncio.create_subprocess_exec(*command, stdout=nowhere, stderr=nowhere)
    try:
        await until(lambda: _creates_bucket(url), limit_s=30)
        yield {
            "AWS_ACCESS_KEY_ID": "key",
            "AWS_SECRET_ACCESS_KEY": "secret",
            "AWS_REGION": "us-east-1",
            "AWS_ENDPOINT": url,
            "AWS_ALLOW_HTTP": "true",
        }
    finally:
        server.terminate()
        await server.wait()


def _creates_bucket(url: str) -> bool:
    try:
        return httpx.put(f"{url}/bucket").is_success
    except httpx.HTTPError:
        return False
