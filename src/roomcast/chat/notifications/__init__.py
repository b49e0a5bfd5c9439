"""Notifications of users: what notifies them, their devices, and pushes to these.

May import: chat.commands, chat.errors, chat.model, chat.ports, chat.use_cases.read_state, contract, outgoing.addresses,
backoff.

| module | what |
|---|---|
| ``preferences`` | use cases: what notifies a user of a chat; the devices of a user |
| ``endpoints`` | which addresses of push services are accepted |
| ``pushing`` | pushes for the messages of all chats, to the users that have not seen them |
| ``delivery`` | sends pushes: retries, and one queue for each push service |
"""
