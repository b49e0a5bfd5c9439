"""`roomcast bot`: runs a bot of the team (`roomcast.client.Bot`).

Layer: cli.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from roomcast.cli.chats import Tenant, TokenFile, Url, User, address_of, fail_with, makes_tokens, token_source
from roomcast.cli.exit_codes import EXIT_FAILED
from roomcast.cli.running import configure, errors_reported, fail, say

if TYPE_CHECKING:
    from roomcast.client import Bot

BOT_EXAMPLES: Final = """Examples:

roomcast bot weather:bot --user weather          (with ROOMCAST_SECRET)

roomcast bot weather:bot --chat lobby --user weather

roomcast bot weather:bot --url https://host/chat --token-file token.txt --state /var/lib/weather.db
"""


def bot(
    target: Annotated[str, typer.Argument(help="The bot, as module:variable.", show_default=False)],
    chat: Annotated[
        list[str] | None,
        typer.Option(help="Read this chat only; may be repeated (default: all chats of the user).", show_default=False),
    ] = None,
    state: Annotated[
        Path | None,
        typer.Option(
            help="File with the position in each chat, so that a restart misses no message (default: none, begin now).",
            show_default=False,
        ),
    ] = None,
    user: User = None,
    tenant: Tenant = "",
    url: Url = None,
    token_file: TokenFile = None,
) -> None:
    """Run a bot: a function that receives the messages in the chats of a user, and whose text is sent as a reply.

    Ends with Ctrl-C or SIGTERM. Exit codes: 0; 3 refused; 4 no such chat, or
    not a member; 5 no answer at the start.
    """
    with errors_reported():
        settings = configure()
        from roomcast.client import Client, ClientError
        from roomcast.client.bot_cursors import BotCursors

        loaded = _load(target)
        author = None if makes_tokens(settings, token_file) else user
        client = Client(address_of(settings, url), token_source(settings, user, token_file, tenant), user_id=author)

        async def run() -> None:
            task = asyncio.current_task()
            if task is not None:
                asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
            with BotCursors(state) as cursors:
                await loaded.run(
                    client, chats=chat or (), cursors=cursors, started=lambda: say(f"{target} receives messages")
                )

        try:
            asyncio.run(run())
        except (KeyboardInterrupt, asyncio.CancelledError):
            raise typer.Exit(0) from None
        except ClientError as error:
            fail_with(error, ", ".join(chat or ("the user",)))
        except (OSError, ValueError) as error:
            fail(str(error), EXIT_FAILED)


def _load(target: str) -> Bot:
    from importlib import import_module

    from roomcast.client import Bot
    from roomcast.setting_values import SettingsError

    module, _, name = target.partition(":")
    # As `python -m` does: the module may be in the current directory.
    sys.path.insert(0, "")
    try:
        found = getattr(import_module(module), name or "bot")
    except (ImportError, AttributeError, ValueError) as error:
        raise SettingsError("TARGET", f"is {target!r}, which cannot be loaded: {error}") from error
    if not isinstance(found, Bot):
        raise SettingsError("TARGET", f"is {target!r}, a {type(found).__name__}; expected a roomcast.client.Bot")
    return found
