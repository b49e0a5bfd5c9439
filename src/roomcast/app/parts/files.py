"""Builds what stores and serves files: in a bucket, or in a directory beside an SQLite database.

Layer: app.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from roomcast.app.metrics import file_families
from roomcast.app.process import Process, SharedServices
from roomcast.chat.files.options import FileOptions
from roomcast.chat.files.prompts import PromptFiles
from roomcast.chat.files.use_cases import Files
from roomcast.files.contents import ObjectContents, bucket_contents, directory_contents
from roomcast.files.images import measure
from roomcast.files.thumbnails import Thumbnails
from roomcast.setting_values import SettingsError
from roomcast.store.opening import Store


@asynccontextmanager
async def running_contents(process: Process) -> AsyncIterator[ObjectContents | None]:
    """Where the contents of files are; None: nowhere. On exit no operation of the store is running.

    Raises:
        SettingsError: the bucket of ``ROOMCAST_FILES_URL`` cannot be used.
    """
    settings = process.config.settings
    if settings.files_url is not None:
        try:
            contents = bucket_contents(settings.files_url)
            if process.config.api_port is not None:  # a worker only reads
                await contents.check()
        except ValueError as error:
            raise SettingsError("ROOMCAST_FILES_URL", str(error)) from error
    elif isinstance(process.config.database, Path):
        contents = directory_contents(process.config.database.parent / "files")
    else:
        yield None  # the directory would have to be shared
        return
    try:
        yield contents
    finally:
        await contents.close()


def build_files(
    process: Process, shared: SharedServices, store: Store, contents: ObjectContents | None
) -> Files | None:
    """Build the use cases, and start the removal of files; None: there is no place for files."""
    if contents is None:
        return None
    files = Files(
        store.chats,
        store.files,
        contents,
        measure,
        make_thumbnail=Thumbnails().make,
        options=process.config.settings.files,
        limiter=shared.limiter,
    )
    process.tasks.start("removal of files", files.removal.run())
    process.metrics.add(lambda: file_families(files.counters))
    serve = process.config.serve

    def drain() -> None:
        # Small uploads can end meanwhile; the others get an error before their connections are cut.
        asyncio.get_running_loop().call_later(serve.unready_s + serve.drain_limit_s / 2, files.uploads.stop)

    process.on_drain(drain)
    return files


def prompt_files(contents: ObjectContents | None, options: FileOptions) -> PromptFiles | None:
    """What adds files to the prompts of a worker."""
    return None if contents is None else PromptFiles(contents, options.max_prompt_bytes)
