"""Builds the moderation hook from the settings.

Layer: app.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from roomcast.app.errors import AppError
from roomcast.chat.use_cases.moderation import Moderation
from roomcast.loading import NotLoadable
from roomcast.moderation.options import ModerationOptions


@asynccontextmanager
async def running_moderation(options: ModerationOptions | None) -> AsyncIterator[Moderation | None]:
    """The moderation; None if no hook is configured.

    Raises:
        AppError: the function cannot be loaded.
    """
    if options is None:
        yield None
    elif options.is_url:
        from roomcast.moderation.http import HttpModerator

        hook = HttpModerator(options.hook, options.secret)
        try:
            yield Moderation(hook, options.limits)
        finally:
            await hook.close()
    else:
        from roomcast.moderation.function import load_moderator

        try:
            function = load_moderator(options.hook)
        except NotLoadable as error:
            raise AppError(f"the function {options.hook!r} of ROOMCAST_MODERATION cannot be used: {error}") from error
        try:
            yield Moderation(function, options.limits)
        finally:
            await function.close()
