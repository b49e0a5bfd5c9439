"""Implementations of `chat.ports.Responder`, which answer USER messages.

May import: chat, contract.

| module | what |
|---|---|
| ``demo`` | quotes the message; needs no model |
"""
