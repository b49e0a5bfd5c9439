"""The implementation of `chat.ports.FileContents` through obstore.

obstore runs each operation on threads of its own, which call Python when it ends. An operation that outlives the
interpreter aborts the process, so a caller that is cancelled leaves its operation running, and `ObjectContents.close`
waits for it.

Layer: files. Source: https://developmentseed.org/obstore/latest/api/store/.
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import AsyncIterator, Awaitable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, Final, TypeVar

import obstore
from obstore.exceptions import BaseError, PermissionDeniedError, UnauthenticatedError
from obstore.store import AzureStore, GCSStore, LocalStore, ObjectStore, S3Store, from_url

from roomcast.chat.errors import FilesUnavailable
from roomcast.chat.ports import ContentHeaders

logger = logging.getLogger(__name__)

_T = TypeVar("_T")

#: Parts of an upload that are held in memory: 2 of 5 MiB, the smallest that S3 accepts.
_PART_BYTES: Final = 5 * 1024 * 1024
_PARTS: Final = 2
#: A download is one request for each of its parts, since obstore ends a request after 30 s, however slow the client is.
_READ_BYTES: Final = 1024 * 1024
_EMPTY: Final = b""
#: How often and for how long a request is repeated after errors of the connection and 5xx. The client waits meanwhile.
_RETRIES: Final = 5
_RETRY_LIMIT: Final = timedelta(seconds=20)
#: Time limit of `ObjectContents.check`, with its repeated requests.
_CHECK_LIMIT_S: Final = 5.0
_NO_BUCKET: Final = "its bucket does not exist"
#: At the shutdown, time limit for the operations that are still running.
_CLOSE_LIMIT_S: Final = 2.0
#: A thread of obstore needs the interpreter for some instructions after its result has arrived, and does not tell when
#: it is done.
_SETTLE_S: Final = 0.1


class ObjectContents:
    """Contents as objects of a store; see the port for what each method guarantees.

    Args:
        store: A store of obstore.
    """

    def __init__(self, store: ObjectStore) -> None:
        self._store = store
        # A directory has no headers.
        self._has_headers = isinstance(store, S3Store | GCSStore | AzureStore)
        self._running: set[asyncio.Future[Any]] = set()
        self._used = False

    async def check(self) -> None:
        """Store and delete a small object. A store that does not answer is logged only: it may do so later.

        Raises:
            ValueError: there is no such bucket, or it refuses the object.
        """
        is_directory = isinstance(self._store, LocalStore)

        async def write() -> None:
            # As one operation, which goes on after the time limit: a late object is deleted, too.
            key = f"check-{uuid.uuid4()}"
            await obstore.put_async(self._store, key, b"roomcast")
            await obstore.delete_async(self._store, key)

        try:
            async with asyncio.timeout(_CHECK_LIMIT_S):
                await asyncio.shield(self._start(write()))
        except FileNotFoundError as error:
            raise ValueError("names a bucket that does not exist: create it") from error
        except (PermissionDeniedError, PermissionError, UnauthenticatedError) as error:
            raise ValueError(f"names a place that refuses files; grant the right: {_first_line(error)}") from error
        except (BaseError, OSError) as error:
            if is_directory and not isinstance(error, TimeoutError):
                # obstore has no type for this, and waiting does not help.
                raise ValueError(f"names a place that refuses files; grant the right: {_first_line(error)}") from error
            logger.warning("the store of files does not answer; uploads fail until it does: %s", _first_line(error))

    async def put(self, key: str, chunks: AsyncIterator[bytes], headers: ContentHeaders) -> None:
        """See the port."""
        attributes: Any = None
        if self._has_headers:
            attributes = {"Content-Type": headers.type, "Content-Disposition": headers.disposition}
        first = await anext(chunks, _EMPTY)
        if len(first) <= _PART_BYTES:
            second = await anext(chunks, None)
            if second is None:  # one request, and an empty content has no parts
                await self._run(obstore.put_async(self._store, key, first, attributes=attributes), _NO_BUCKET)
                return
            first += second
        feed = _Feed()
        upload = self._start(
            obstore.put_async(
                self._store,
                key,
                feed,
                attributes=attributes,
                use_multipart=True,
                chunk_size=_PART_BYTES,
                max_concurrency=_PARTS,
            )
        )
        try:
            await feed.put(first, upload)
            async for chunk in chunks:
                await feed.put(chunk, upload)
            feed.end()
        except BaseException:
            feed.fail()
            await asyncio.wait([upload])
            raise
        with _failures(missing=_NO_BUCKET):
            await asyncio.shield(upload)

    async def get(self, key: str, start: int, end: int) -> AsyncIterator[bytes]:
        """See the port."""
        options: obstore.GetOptions = {"range": (start, min(end, start + _READ_BYTES))}
        found = await self._run(obstore.get_async(self._store, key, options=options))
        first = bytes(await self._run(found.bytes_async()))
        return self._read(key, first, start + len(first), min(end, found.meta["size"]))

    async def delete(self, key: str) -> None:
        """See the port."""
        try:
            await self._run(obstore.delete_async(self._store, key))
        except FileNotFoundError:
            return

    async def signed_url(self, key: str, expires_in_s: int) -> str | None:
        """See the port."""
        if not isinstance(self._store, S3Store | GCSStore | AzureStore):
            return None
        return await self._run(obstore.sign_async(self._store, "GET", key, timedelta(seconds=expires_in_s)))

    @property
    def busy(self) -> bool:
        """Whether an operation of the store is running."""
        return bool(self._running)

    async def close(self) -> None:
        """Wait for the operations that cancelled callers have left."""
        if self._running:
            _, late = await asyncio.wait(self._running, timeout=_CLOSE_LIMIT_S)
            if late:
                logger.warning("the store of files does not answer: %s operations are left", len(late))
        if self._used:
            await asyncio.sleep(_SETTLE_S)

    async def _read(self, key: str, first: bytes, start: int, end: int) -> AsyncIterator[bytes]:
        yield first
        while start < end:
            part = await self._run(
                obstore.get_range_async(self._store, key, start=start, end=min(end, start + _READ_BYTES)),
                missing="it was deleted meanwhile",
            )
            start += len(part)
            yield bytes(part)

    async def _run(self, operation: Awaitable[_T], missing: str | None = None) -> _T:
        with _failures(missing):
            return await asyncio.shield(self._start(operation))

    def _start(self, operation: Awaitable[_T]) -> asyncio.Future[_T]:
        self._used = True
        running = asyncio.ensure_future(_await(operation))
        self._running.add(running)
        running.add_done_callback(self._ended)
        return running

    def _ended(self, operation: asyncio.Future[Any]) -> None:
        self._running.discard(operation)
        if not operation.cancelled():
            operation.exception()  # it is raised where the operation is awaited, unless that caller was cancelled


class _Feed:
    """The chunks of an upload on their way from its request to obstore, one at a time."""

    def __init__(self) -> None:
        self._chunks: asyncio.Queue[bytes | None] = asyncio.Queue(1)
        self._broken = asyncio.Event()
        self._ended = False

    async def put(self, chunk: bytes, upload: asyncio.Future[Any]) -> None:
        """Pass a chunk on, unless the upload has ended, which its own error explains."""
        waiting = asyncio.ensure_future(self._chunks.put(chunk))
        try:
            await asyncio.wait({waiting, upload}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            waiting.cancel()
        if upload.done():
            with _failures(missing=_NO_BUCKET):
                await upload

    def end(self) -> None:
        """There is no further chunk."""
        self._ended = True
        if self._chunks.empty():
            self._chunks.put_nowait(None)

    def fail(self) -> None:
        """Nothing is to be stored."""
        self._broken.set()

    def __aiter__(self) -> _Feed:
        return self

    async def __anext__(self) -> bytes:
        if self._ended and self._chunks.empty():
            raise StopAsyncIteration
        following = asyncio.ensure_future(self._chunks.get())
        broken = asyncio.ensure_future(self._broken.wait())
        try:
            await asyncio.wait({following, broken}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            broken.cancel()
        if self._broken.is_set():
            following.cancel()
            raise ValueError("the upload was given up")
        chunk = following.result()
        if chunk is None:
            raise StopAsyncIteration
        return chunk


async def _await(operation: Awaitable[_T]) -> _T:
    return await operation


@contextmanager
def _failures(missing: str | None = None) -> Iterator[None]:
    """Translate the errors of obstore to `FilesUnavailable`.

    Args:
        missing: What a FileNotFoundError means; None: it is raised unchanged.
    """
    try:
        yield
    except (BaseError, OSError) as error:
        if isinstance(error, FileNotFoundError):
            if missing is None:
                raise
            raise FilesUnavailable(f"the store of files refuses this: {missing}") from error
        raise FilesUnavailable(f"the store of files does not answer: {_first_line(error)}") from error


def _first_line(error: Exception) -> str:
    """Without the debug output of obstore."""
    return str(error).partition("\n")[0] or type(error).__name__


def directory_contents(directory: Path) -> ObjectContents:
    """Contents in a directory, which is created if it is missing."""
    return ObjectContents(LocalStore(directory, mkdir=True))


def bucket_contents(url: str) -> ObjectContents:
    """Contents in a bucket: ``s3://…``, ``gs://…``, ``az://…``, with the credentials that the provider's tools use.

    Raises:
        ValueError: the URL names no store that obstore has.
    """
    try:
        # A directory is created, as that of the data is.
        store = (
            from_url(url, mkdir=True)
            if url.startswith("file:")
            else from_url(url, retry_config={"max_retries": _RETRIES, "retry_timeout": _RETRY_LIMIT})
        )
    except BaseError as error:
        raise ValueError(f"cannot be used: {_first_line(error)}") from error
    return ObjectContents(store)
