"""Builds the responders that the settings name. The module of a responder is imported only if it is named.

Layer: app.
"""

from __future__ import annotations

from roomcast.app.errors import AppError
from roomcast.chat.ports import Responder
from roomcast.settings import Settings


def build_responders(settings: Settings) -> dict[str, Responder]:
    """The responders by name.

    Raises:
        AppError: a responder of the team cannot be loaded.
    """
    return {name: _build(name, settings) for name in settings.responders}


def _build(name: str, settings: Settings) -> Responder:
    if name == "demo":
        from roomcast.responders.demo import DemoResponder

        return DemoResponder()
    if name == "openai" and settings.openai is not None:
        if settings.openai.api == "responses":
            from roomcast.responders.openai_responses import OpenAiResponsesResponder

            return OpenAiResponsesResponder(settings.openai)
        from roomcast.responders.openai import OpenAiResponder

        return OpenAiResponder(settings.openai)
    if name == "agui" and settings.agui is not None:
        from roomcast.responders.agui import AgUiResponder

        return AgUiResponder(settings.agui)
    if name == "http" and settings.http is not None:
        from roomcast.responders.ui_stream import UiStreamResponder

        return UiStreamResponder(settings.http)
    from roomcast.responders.function import NotAResponder, load_responder

    try:
        return load_responder(name)
    except NotAResponder as error:
        raise AppError(f"the responder {name!r} of ROOMCAST_RESPONDER cannot be used: {error}") from error
