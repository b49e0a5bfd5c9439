"""Notifications of users: what notifies them, and their devices.

May import: chat.commands, chat.errors, chat.model, chat.ports, chat.use_cases.read_state, contract, outgoing.addresses,
backoff.

| module | what |
|---|---|
| ``preferences`` | use cases: what notifies a user of a chat; the devices of a user |
| ``endpoints`` | which addresses of push services are accepted |
"""
