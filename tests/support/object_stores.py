"""Servers of the protocols of object stores. None is a dependency, since each has dozens of its own.

- S3 and Google, whose XML API is that of S3: moto, by `pip install 'moto[s3,server]'` into an environment of its own;
  ``MOTO_SERVER`` is the path of its ``moto_server``. (fake-gcs-server lacks uploads of the XML API.)
- Azure: Azurite, by `npm install azurite`; ``AZURITE`` is the path of its ``azurite-blob``.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from email.utils import formatdate
from pathlib import Path
from typing import Final

import httpx
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from support.ports import free_port
from support.programs import unavailable

SCHEMES: Final = ("s3", "gs", "az")
START_LIMIT_S: Final = 90.0
#: Azurite's account, which is public.
_ACCOUNT: Final = "devstoreaccount1"
_KEY: Final = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="


@contextmanager
def object_store_server(scheme: str, directory: Path) -> Iterator[dict[str, str]]:
    """Run a server with the bucket ``bucket``, and yield the environment of its clients.

    Without its program the test is skipped, or fails under ``CI=true``.

    Args:
        scheme: Of the URLs of its buckets, one of `SCHEMES`.
        directory: Empty; for its files.
    """
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    if scheme == "az":
        command = [_program("AZURITE", "azurite-blob"), "--blobPort", str(port), "--silent", "--disableTelemetry"]
        command += ["--inMemoryPersistence", "--skipApiVersionCheck"]
    else:
        command = [_program("MOTO_SERVER", "moto_server"), "-H", "127.0.0.1", "-p", str(port)]
    nowhere = subprocess.DEVNULL
    server = subprocess.Popen(command, stdout=nowhere, stderr=nowhere, cwd=directory, start_new_session=True)
    try:
        deadline = time.monotonic() + START_LIMIT_S
        while not _creates_bucket(scheme, url):
            if server.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{command[0]} did not start")
            time.sleep(0.05)  # no event says when another process listens
        yield environment(scheme, url, directory)
    finally:
        # Node may be the child of a wrapper.
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()


def environment(scheme: str, url: str, directory: Path) -> dict[str, str]:
    """The environment of the clients of a server."""
    if scheme == "az":
        return {
            "AZURE_STORAGE_ACCOUNT_NAME": _ACCOUNT,
            "AZURE_STORAGE_ACCOUNT_KEY": _KEY,
            "AZURE_STORAGE_ENDPOINT": f"{url}/{_ACCOUNT}",
            "AZURE_ALLOW_HTTP": "true",
        }
    if scheme == "gs":
        key = rsa.generate_private_key(65537, 2048).private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        account = {
            "type": "service_account",
            "client_email": "roomcast@project.iam.gserviceaccount.com",
            "private_key": key.decode(),
            "private_key_id": "1",
            "gcs_base_url": url,
        }
        (directory / "account.json").write_text(json.dumps(account))
        return {"GOOGLE_SERVICE_ACCOUNT": str(directory / "account.json"), "GOOGLE_ALLOW_HTTP": "true"}
    return {
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_REGION": "us-east-1",
        "AWS_ENDPOINT": url,
        "AWS_ALLOW_HTTP": "true",
    }


def _program(variable: str, name: str) -> str:
    hint = f"{name} is not installed: tests/support/object_stores.py says how"
    return os.environ.get(variable) or shutil.which(name) or unavailable(hint)


def _creates_bucket(scheme: str, url: str) -> bool:
    path, headers = "/bucket", {}
    if scheme == "az":
        path = f"/{_ACCOUNT}/bucket"
        headers = {"x-ms-date": formatdate(usegmt=True), "x-ms-version": "2023-11-03"}
        named = "".join(f"{name}:{value}\n" for name, value in headers.items())
        text = "PUT" + 12 * "\n" + f"{named}/{_ACCOUNT}{path}\nrestype:container"
        signature = base64.b64encode(hmac.digest(base64.b64decode(_KEY), text.encode(), hashlib.sha256)).decode()
        headers["Authorization"] = f"SharedKey {_ACCOUNT}:{signature}"
        path += "?restype=container"
    try:
        return httpx.put(f"{url}{path}", headers=headers).is_success
    except httpx.HTTPError:
        return False
