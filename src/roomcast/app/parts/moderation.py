"""Builds the moderation hook from the settings.

Layer: app.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from roomcast.app.errors import AppError
from roomcast.app.metrics import moderation_families
from roomcast.app.process import Process
from roomcast.chat.use_cases.moderation import Moderation
from roomcast.loading import NotLoadable

if TYPE_CHECKING:
    from roomcast.moderation.function import FunctionModerator
    from roomcast.moderation.http import HttpModerator


@asynccontextmanager
async def running_moderation(process: Process) -> AsyncIterator[Moderation | None]:
    """The moderation, and its metrics; None if no hook is configured.

    Raises:
        AppError: the function cannot be loaded.
    """
    options = process.config.settings.moderation
    if options is None:
        yield None
        return
    if options.is_url:
        from roomcast.moderation.http import HttpModerator

        hook: HttpModerator | FunctionModerator = HttpModerator(options.hook, options.secret)
    else:
        from roomcast.moderation.function import load_moderator

        try:
            hook = load_moderator(options.hook)
        except NotLoadable as error:
            raise AppError(f"the function {options.hook!r} of ROOMCAST_MODERATION cannot be used: {error}") from error
    moderation = Moderation(hook, options.limits)
    process.metrics.add(lambda: moderation_families(moderation))
    try:
        yield moderation
    finally:
        await hook.close()
