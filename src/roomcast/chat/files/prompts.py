"""The files of a prompt: images and texts, within limits of bytes, so that a model receives their contents.

The newest files come first. A file that does not fit, and one of another type, is only the line that
`chat.answers.context.build_prompt` writes.

Layer: chat.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Final

from roomcast.chat.errors import FilesUnavailable
from roomcast.chat.files.names import INLINE_TYPES
from roomcast.chat.files.options import MAX_THUMBNAIL_BYTES, THUMBNAIL_TYPE, key_of, thumbnail_of
from roomcast.chat.model import StoredMessage
from roomcast.chat.ports import FileContents
from roomcast.chat.ports.responder import Prompt, PromptFile
from roomcast.contract.events import Attachment

logger = logging.getLogger(__name__)

#: Total size of the texts of a prompt: about 8,000 tokens of English.
MAX_TEXT_BYTES: Final = 32_000


class PromptFiles:
    """Reads the files of prompts.

    Args:
        contents: The contents.
        max_image_bytes: See `FileOptions.max_prompt_bytes`.
    """

    def __init__(self, contents: FileContents, max_image_bytes: int) -> None:
        self._contents = contents
        self._max_image_bytes = max_image_bytes

    async def add_to(self, prompt: Prompt) -> Prompt:
        """The prompt with its files. Those that cannot be read are left out."""
        if not self._max_image_bytes:
            return prompt
        left = {True: self._max_image_bytes, False: MAX_TEXT_BYTES}
        files: dict[str, tuple[PromptFile, ...]] = {}
        for message in (prompt.message, *reversed(prompt.history)):
            found = []
            for attachment in message.attachments:
                is_image = attachment.type in INLINE_TYPES
                if is_image or _is_text(attachment.type):
                    file = await self._read(message, attachment, left[is_image])
                    if file is not None:
                        left[is_image] -= len(file.data)
                        found.append(file)
            if found:
                files[message.id] = tuple(found)
        return replace(prompt, files=files) if files else prompt

    async def _read(self, message: StoredMessage, attachment: Attachment, room: int) -> PromptFile | None:
        """A file; of a text that does not fit, nothing, and of such an image its thumbnail if that fits."""
        key, kind = key_of(message.chat_id, attachment.id), attachment.type
        try:
            if 0 < attachment.size <= room:
                return PromptFile(attachment.name, kind, await self._content(key, attachment.size))
            if kind in INLINE_TYPES:
                small = await self._content(thumbnail_of(message.chat_id, attachment.id), MAX_THUMBNAIL_BYTES)
                return PromptFile(attachment.name, THUMBNAIL_TYPE, small) if len(small) <= room else None
        except (FileNotFoundError, FilesUnavailable) as error:
            logger.warning("a model does not receive a file: %s", error, extra={"chat_id": message.chat_id})
        return None

    async def _content(self, key: str, size: int) -> bytes:
        return b"".join([chunk async for chunk in await self._contents.get(key, 0, size)])


def _is_text(kind: str) -> bool:
    return kind.startswith("text/") or kind == "application/json"
