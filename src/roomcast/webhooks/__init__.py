"""The HTTP client of webhooks: the implementation of `chat.ports.WebhookSender`.

May import: chat, contract, wire, outgoing, backoff.

| module | what |
|---|---|
| ``http`` | signed requests, within limits of time and size |
"""
