"""What users, services and the AI do with chats: one module per group of use cases.

May import: model, webhook_values, errors, ids, commands, ports, policies, files, answers, delivery, contract, backoff,
histogram.

| module | what |
|---|---|
| ``writing`` | use cases: send and edit a message, create a chat, change its members and how it answers |
| ``moderation`` | asks the moderation hook, within limits of time and concurrency |
| ``personal`` | use cases: export and erase the data of a user |
| ``keeping`` | use cases: rename, archive and delete a chat, delete its old messages, open a direct chat |
| ``searching`` | use case: search messages |
| ``managing`` | use cases: roles, mutes, bans, invite links, reports |
| ``marking`` | use cases: delete, react to and pin a message |
| ``feed`` | use case: read the events of all chats |
| ``custom_events`` | use case: store events of other applications |
| ``turns`` | use cases: start and end an AI turn, stop it, regenerate its answer |
| ``publishing`` | passes committed events to the relay and the listener |
| ``read_state`` | use cases: up to where users have read a chat; ``chat-read`` |
| ``reading`` | use cases: chats, events after a cursor, messages and their versions, members |
| ``admission`` | use case: whether a user may follow a chat |
| ``sessions`` | use cases: end access tokens before their expiry |
| ``webhooks`` | use cases: create, change, test and replay webhooks |
"""
