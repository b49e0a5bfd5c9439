"""Signed links to files, and what they lead to.

A link names the user that it was given to, and works only as long as this user is a member of the chat.

Layer: chat. Source: docs/files.md; docs/decisions/0020-files.md.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import AsyncIterator, Sequence
from typing import Final, NamedTuple
from urllib.parse import urlencode

from roomcast.chat.errors import ChatNotFound, FileNotFound
from roomcast.chat.files.options import MAX_THUMBNAIL_BYTES, key_of, thumbnail_of
from roomcast.chat.model import Caller, StoredFile
from roomcast.chat.ports import ChatStore, Clock, FileContents, FileStore, SystemClock
from roomcast.contract.moderation import ReviewedFile
from roomcast.contract.tenants import local_id, qualify, tenant_of

#: Links are valid for this time at least, and for twice this time at most: equal links can be cached.
LINK_S: Final = 300
#: How long a bucket serves a download that was redirected to it. The browser follows at once.
REDIRECT_S: Final = 60

#: The same for all causes, so that nothing is learnt about files of others.
_NEW_LINK: Final = "a link is valid for some minutes: ask for a new one"


class Link(NamedTuple):
    """The query of a link.

    Attributes:
        expires: Unix time.
        user: Local id of the user that the link is for; "": a client without memberships.
        signature: Of the id of the file and the others.
    """

    expires: int
    user: str
    signature: str


class Downloads:
    """The use cases.

    Args:
        store: The database: chats, for the rights.
        files: The database: files.
        contents: The contents.
        redirects: Whether the bucket serves downloads if it signs links.
        clock: Provides the times.
    """

    def __init__(
        self,
        store: ChatStore,
        files: FileStore,
        contents: FileContents,
        *,
        redirects: bool = True,
        clock: Clock | None = None,
    ) -> None:
        self._store = store
        self._files = files
        self._contents = contents
        self._redirects = redirects
        self._clock = clock or SystemClock()
        self._key: bytes | None = None

    async def links(self, caller: Caller, chat_id: str, file_ids: Sequence[str]) -> tuple[dict[str, str], int]:
        """Links to files of a chat, and the seconds until they expire. Each is a query that `open` checks.

        A file that is not sent is linked only for its uploader, and one that does not exist is left out.

        Raises:
            ChatNotFound: the chat does not exist or is hidden from the caller.
        """
        user_id = caller.restricted_user_id
        if not await self._may_read(chat_id, user_id):
            raise ChatNotFound(chat_id)
        found = await self._files.files(chat_id, file_ids)
        shown = [one for one in found if one.attached or user_id is None or one.user_id == user_id]
        expires = self._expiry()
        key = await self._signing_key()
        links = {one.attachment.id: _query(key, one.attachment.id, expires, user_id) for one in shown}
        return links, int(expires - self._clock.now().timestamp())

    async def reviewed(self, chat_id: str, file_ids: Sequence[str]) -> tuple[ReviewedFile, ...]:
        """Files of a chat for the moderation hook, each with a link that needs no membership."""
        found = {one.attachment.id: one.attachment for one in await self._files.files(chat_id, file_ids)}
        expires = self._expiry()
        key = await self._signing_key()
        return tuple(
            ReviewedFile(**vars(found[file_id]), url=f"/api/files/{file_id}?{_query(key, file_id, expires, None)}")
            for file_id in file_ids
            if file_id in found
        )

    async def open(self, file_id: str, link: Link) -> StoredFile:
        """The file of a link.

        Raises:
            FileNotFound: the link is wrong or has expired, its user may not read the chat any more, or the file is
                removed.
        """
        right = _sign(await self._signing_key(), file_id, link.expires, link.user)
        if (
            not hmac.compare_digest(link.signature.encode(), right.encode())
            or link.expires < self._clock.now().timestamp()
        ):
            raise FileNotFound(file_id, _NEW_LINK)
        found = await self._files.file(file_id)
        if found is None:
            raise FileNotFound(file_id, _NEW_LINK)
        user_id = qualify(tenant_of(found.chat_id), link.user) if link.user else None
        if not await self._may_read(found.chat_id, user_id):
            raise FileNotFound(file_id, _NEW_LINK)
        return found

    async def redirect(self, file: StoredFile) -> str | None:
        """A URL of the bucket with the content, for `REDIRECT_S`; None: the server sends it.

        Raises:
            FilesUnavailable: retry.
        """
        return (
            await self._contents.signed_url(key_of(file.chat_id, file.attachment.id), REDIRECT_S)
            if self._redirects
            else None
        )

    async def read(self, file: StoredFile, start: int, end: int) -> AsyncIterator[bytes]:
        """A part of the content of a file.

        Raises:
            FileNotFound: it was removed.
            FilesUnavailable: retry.
        """
        try:
            return await self._contents.get(key_of(file.chat_id, file.attachment.id), start, end)
        except FileNotFoundError:
            raise FileNotFound(file.attachment.id) from None

    async def read_thumbnail(self, file: StoredFile) -> bytes | None:
        """The thumbnail of an image, of type `THUMBNAIL_TYPE`; None if it has none.

        Raises:
            FilesUnavailable: retry.
        """
        try:
            chunks = await self._contents.get(thumbnail_of(file.chat_id, file.attachment.id), 0, MAX_THUMBNAIL_BYTES)
        except FileNotFoundError:
            return None
        return b"".join([chunk async for chunk in chunks])

    async def _may_read(self, chat_id: str, user_id: str | None) -> bool:
        access = await self._store.access(chat_id, user_id, None)
        return access.exists and (user_id is None or access.is_member)

    def _expiry(self) -> int:
        return (int(self._clock.now().timestamp()) // LINK_S + 2) * LINK_S

    async def _signing_key(self) -> bytes:
        if self._key is None:
            self._key = await self._files.secret("file-links")
        return self._key


def _query(key: bytes, file_id: str, expires: int, user_id: str | None) -> str:
    user = "" if user_id is None else local_id(user_id)
    return urlencode({"expires": expires, "user": user, "signature": _sign(key, file_id, expires, user)})


def _sign(key: bytes, file_id: str, expires: int, user: str) -> str:
    # A number, an id of this server, and the rest: no two links have the same text. The file determines the tenant.
    return hmac.new(key, f"{expires} {file_id} {user}".encode(), hashlib.sha256).hexdigest()
