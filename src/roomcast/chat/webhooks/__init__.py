"""Webhooks: the events of all chats, sent to other applications over HTTP.

May import: chat, contract.

| module | what |
|---|---|
| ``model`` | a webhook, an event that waits, the outcome of an attempt |
| ``managing`` | use cases: create, change, test and delete a webhook, list and replay what it has not received |
"""
