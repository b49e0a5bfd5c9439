"""The HTTP client of webhooks: the implementation of `chat.ports.WebhookSender`.

May import: chat, contract, wire.

| module | what |
|---|---|
| ``http`` | signed requests, within limits of time and size |
| ``addresses`` | which addresses a receiver may have, checked at each connection |
"""
