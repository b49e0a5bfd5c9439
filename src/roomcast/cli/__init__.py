"""The `roomcast` command.

| module | what |
|---|---|
| ``entry`` | the first code of a process: signals, standard streams, exit codes; imports nothing that takes long |
| ``exit_codes`` | the exit codes of every command |
| ``commands`` | the commands and their options |
| ``chats`` | `roomcast tail` and `roomcast publish` |
| ``bot`` | `roomcast bot` |
| ``stats`` | `roomcast stats` |
| ``users`` | `roomcast users export`, `roomcast users erase` |
| ``running`` | the settings of a command, its errors and exit codes |

May import: app, settings, setting_values, auth, push, observability, client, contract, backoff; typer.
"""

from roomcast.cli.entry import main

__all__ = ["main"]
