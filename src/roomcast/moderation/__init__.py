"""Moderation hooks: implementations of `chat.ports.Moderator`.

May import: chat, contract, wire, loading.

| module | what |
|---|---|
| ``function`` | a team's own Python function |
| ``http`` | a service of the team, over HTTP |
| ``options`` | how the hook is reached |
"""
