"""The use cases of files in one process.

Layer: chat.
"""

from __future__ import annotations

from roomcast.chat.files.downloads import Downloads
from roomcast.chat.files.options import FileCounters, FileOptions
from roomcast.chat.files.removal import FileRemoval
from roomcast.chat.files.uploads import MakeThumbnail, Measure, Uploads
from roomcast.chat.ports import ChatStore, Clock, FileContents, FileStore, RateLimiter


class Files:
    """The use cases.

    Args:
        store: The database: chats, for the rights.
        files: The database: files.
        contents: The contents.
        measure: Measures images.
        make_thumbnail: Makes thumbnails; None: images have none.
        options: Which files may be uploaded, and how they are served.
        limiter: Limits the uploads of users; None: no limit.
        clock: Provides the times.

    Attributes:
        uploads: Upload, and removal of what was not sent.
        downloads: Links, and what they lead to.
        removal: Deletes contents that nothing needs.
        options: See the argument.
        counters: What the process counts.
    """

    def __init__(
        self,
        store: ChatStore,
        files: FileStore,
        contents: FileContents,
        measure: Measure,
        *,
        make_thumbnail: MakeThumbnail | None = None,
        options: FileOptions | None = None,
        limiter: RateLimiter | None = None,
        clock: Clock | None = None,
    ) -> None:
        self.options = options or FileOptions()
        self.counters = FileCounters()
        self.removal = FileRemoval(files, contents, self.counters, clock)
        self.downloads = Downloads(store, files, contents, redirects=self.options.redirects, clock=clock)
        self.uploads = Uploads(
            files,
            contents,
            self.removal,
            measure,
            self.counters,
            make_thumbnail=make_thumbnail,
            options=self.options,
            limiter=limiter,
            clock=clock,
        )
