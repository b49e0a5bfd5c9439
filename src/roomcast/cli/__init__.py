"""The `roomcast` command.

| module | what |
|---|---|
| ``entry`` | the first code of a process: signals, standard streams, exit codes; imports nothing that takes long |
| ``commands`` | the commands and their options |

May import: app, settings, auth, observability; typer.
"""

from roomcast.cli.entry import main

__all__ = ["main"]
