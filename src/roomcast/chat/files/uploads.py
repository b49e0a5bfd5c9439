"""The use cases of uploads.

Layer: chat. Source: docs/files.md.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Final

from roomcast.chat.commands import DropFile, FinishFile, NewChat, ReserveFile
from roomcast.chat.errors import (
    ChatExists,
    ChatNotFound,
    FileLimitReached,
    FileNotFound,
    FilesUnavailable,
    FileTooLarge,
    FileTypeRefused,
    NotAMember,
)
from roomcast.chat.files.names import HEAD_BYTES, accepts, clean_name, disposition, media_type
from roomcast.chat.files.options import THUMBNAIL_TYPE, UNSENT_FOR, FileCounters, FileOptions, key_of, thumbnail_of
from roomcast.chat.files.removal import FileRemoval
from roomcast.chat.ids import new_id
from roomcast.chat.model import Caller
from roomcast.chat.policies.rates import LimitName
from roomcast.chat.ports import Clock, ContentHeaders, FileContents, FileStore, RateLimiter, SystemClock
from roomcast.contract.events import Attachment

#: Uploads of one process at the same time; each holds a few MiB.
MAX_UPLOADS: Final = 32
#: Of them, those of one user, so that no other user waits for its slow ones.
MAX_UPLOADS_OF_USER: Final = 8
#: Images in memory at the same time, to make thumbnails, and the largest of them.
MAX_THUMBNAILS: Final = 2
MAX_THUMBNAIL_SOURCE_BYTES: Final = 25_000_000

#: Reads the size in pixels of an image from its first bytes; None if they do not say it.
Measure = Callable[[bytes], tuple[int, int] | None]
#: Makes the thumbnail of an image; None if it cannot be made.
MakeThumbnail = Callable[[bytes], Awaitable[bytes | None]]
#: How errors are counted; any other one counts as failed.
_REFUSALS: Final = {FileTooLarge: "too-large", FileTypeRefused: "type", FileLimitReached: "limit"}


class Uploads:
    """The use cases.

    Args:
        files: The database.
        contents: The contents.
        removal: Removes what failed uploads leave.
        measure: Measures images.
        counters: Counts uploads.
        make_thumbnail: Makes thumbnails; None: images have none.
        options: Which files may be uploaded.
        limiter: Limits the uploads of users; None: no limit.
        clock: Provides the times.

    Attributes:
        options: See the argument.
    """

    def __init__(
        self,
        files: FileStore,
        contents: FileContents,
        removal: FileRemoval,
        measure: Measure,
        counters: FileCounters,
        *,
        make_thumbnail: MakeThumbnail | None = None,
        options: FileOptions | None = None,
        limiter: RateLimiter | None = None,
        clock: Clock | None = None,
    ) -> None:
        self.options = options or FileOptions()
        self._files = files
        self._contents = contents
        self._removal = removal
        self._measure = measure
        self._counters = counters
        self._make_thumbnail = make_thumbnail
        self._thumbnails = asyncio.Semaphore(MAX_THUMBNAILS)
        self._limiter = limiter
        self._clock = clock or SystemClock()
        self._uploads = asyncio.Semaphore(MAX_UPLOADS)
        self._of_user: Counter[str] = Counter()
        self._stopping = False

    def stop(self) -> None:
        """End the uploads that are running, with an error that their clients see, and refuse further ones."""
        self._stopping = True

    async def upload(
        self, caller: Caller, chat_id: str, name: str, size: int | None, chunks: AsyncIterator[bytes]
    ) -> Attachment:
        """Store a file, which a message of the caller may then have.

        Args:
            caller: The origin of the request.
            chat_id: The chat.
            name: Its name on the caller's machine.
            size: Its size in bytes, if it is known.
            chunks: Its content.

        Raises:
            ChatNotFound: the chat does not exist or is hidden from the caller.
            ChatArchived, RightMissing, Muted: the caller cannot send messages in it.
            FileTooLarge, FileTypeRefused, FileLimitReached: the file is not accepted.
            RateLimitReached: the caller uploads too often.
            FilesUnavailable, StoreUnavailable: nothing was stored; retry.
        """
        user_id = caller.restricted_user_id
        if self._limiter is not None and user_id is not None:
            self._limiter.charge((LimitName.UPLOADS, user_id, 1))
        if self._uploads.locked():
            raise FilesUnavailable("too many files are being uploaded; try again")
        if user_id is not None and self._of_user[user_id] >= MAX_UPLOADS_OF_USER:
            raise FilesUnavailable("you are uploading too many files at the same time; wait until one of them is done")
        try:
            async with self._uploads:
                with self._counted(user_id):
                    attachment = await self._upload(caller, chat_id, name, size, chunks)
        except BaseException as error:
            self._counters.uploads[_REFUSALS.get(type(error), "failed")] += 1
            raise
        self._counters.uploads["stored"] += 1
        self._counters.stored_bytes += attachment.size
        return attachment

    async def discard(self, caller: Caller, chat_id: str, file_id: str) -> None:
        """Remove a file that the caller has uploaded and not sent.

        Raises:
            ChatNotFound: the chat does not exist or is hidden from the caller.
            FileNotFound: there is no such file.
        """
        far = self._clock.now() + 2 * UNSENT_FOR  # due, whenever it was uploaded
        try:
            dropped = await self._files.commit(DropFile(chat_id, file_id, far, caller.restricted_user_id))
        except NotAMember:
            raise ChatNotFound(chat_id) from None
        if not dropped:
            raise FileNotFound(file_id)
        self._removal.wake()

    @contextmanager
    def _counted(self, user_id: str | None) -> Iterator[None]:
        if user_id is None:
            yield
            return
        self._of_user[user_id] += 1
        try:
            yield
        finally:
            self._of_user[user_id] -= 1
            if not self._of_user[user_id]:
                del self._of_user[user_id]

    async def _upload(
        self, caller: Caller, chat_id: str, name: str, size: int | None, chunks: AsyncIterator[bytes]
    ) -> Attachment:
        limit = self.options.max_bytes
        if size is not None and size > limit:
            raise FileTooLarge(limit)
        file_id, name = new_id(), clean_name(name)
        await self._reserve(caller, chat_id, file_id, limit if size is None else size)
        content = _Content(self._until_stop(chunks), limit, self.options.types, name)
        try:
            first = await content.begin()
            headers = ContentHeaders(content.kind, disposition(name, content.kind))
            await self._contents.put(key_of(chat_id, file_id), content.rest(first), headers)
            shown = await asyncio.to_thread(self._measure, bytes(content.head))
            attachment = Attachment(
                id=file_id,
                name=name,
                type=content.kind,
                size=content.size,
                width=shown and shown[0],
                height=shown and shown[1],
            )
            if shown is not None:
                await self._store_thumbnail(chat_id, file_id, content.size)
            await self._finish(chat_id, attachment, caller.restricted_user_id)
        except BaseException:
            await asyncio.shield(self._removal.abandon(chat_id, file_id))
            raise
        return attachment

    async def _until_stop(self, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        async for chunk in chunks:
            if self._stopping:
                raise FilesUnavailable("this server is stopping; send the file again")
            yield chunk

    async def _store_thumbnail(self, chat_id: str, file_id: str, size: int) -> None:
        if self._make_thumbnail is None or size > MAX_THUMBNAIL_SOURCE_BYTES:
            return
        async with self._thumbnails:
            image = b"".join([chunk async for chunk in await self._contents.get(key_of(chat_id, file_id), 0, size)])
            made = await self._make_thumbnail(image)
        if made is not None:
            headers = ContentHeaders(THUMBNAIL_TYPE, "inline")
            await self._contents.put(thumbnail_of(chat_id, file_id), _once(made), headers)

    async def _reserve(self, caller: Caller, chat_id: str, file_id: str, size: int) -> None:
        now, member, options = self._clock.now(), caller.restricted_user_id, self.options
        reserve = ReserveFile(
            id=file_id,
            chat_id=chat_id,
            user_id=caller.user_id,
            size=size,
            at=now,
            due_at=now + UNSENT_FOR,
            max_unsent=options.max_unsent_bytes,
            max_total=options.max_user_bytes,
            member=member,
        )
        try:
            await self._files.commit(reserve)
        except NotAMember:
            raise ChatNotFound(chat_id) from None
        except ChatNotFound:
            if not caller.trusted:
                raise
            # As for a message, see `Caller.trusted`.
            with suppress(ChatExists):
                await self._files.commit(NewChat(chat_id, None, None, now))
            await self._files.commit(reserve)

    async def _finish(self, chat_id: str, attachment: Attachment, member: str | None) -> None:
        try:
            await self._files.commit(FinishFile(chat_id, attachment, member))
        except NotAMember:
            raise ChatNotFound(chat_id) from None


class _Content:
    """A content while it is received.

    Attributes:
        head: Its first bytes.
        kind: Its type, after `begin`.
        size: The bytes so far.
    """

    def __init__(self, chunks: AsyncIterator[bytes], limit: int, accepted: tuple[str, ...] | None, name: str) -> None:
        self.head = bytearray()
        self.kind = ""
        self.size = 0
        self._chunks = chunks
        self._limit = limit
        self._accepted = accepted
        self._name = name

    async def begin(self) -> bytes:
        """Receive as much as determines the type, and check the type."""
        held: list[bytes] = []
        async for chunk in self._counted():
            held.append(chunk)
            self.head += chunk[: HEAD_BYTES - len(self.head)]
            if len(self.head) == HEAD_BYTES:
                break
        self.kind = media_type(bytes(self.head), self._name)
        if not accepts(self._accepted, self.kind):
            raise FileTypeRefused(self.kind, self._accepted or ())
        return b"".join(held)

    async def rest(self, first: bytes) -> AsyncIterator[bytes]:
        """What `begin` has returned, and the chunks after it. Fails at the one that is too much."""
        yield first
        async for chunk in self._counted():
            yield chunk

    async def _counted(self) -> AsyncIterator[bytes]:
        async for chunk in self._chunks:
            self.size += len(chunk)
            if self.size > self._limit:
                raise FileTooLarge(self._limit)
            yield chunk


async def _once(content: bytes) -> AsyncIterator[bytes]:
    yield content
