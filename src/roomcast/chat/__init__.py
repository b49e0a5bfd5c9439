"""The domain: chats, messages, members, events, AI turns, and their use cases and ports.

The package contains no socket, SQL or Redis code. May import: contract, outgoing.addresses, backoff,
histogram.

| module | what |
|---|---|
| ``model``, ``errors``, ``ids`` | values, exceptions, generated ids |
| ``commands`` | the commands that a store commits |
| ``writing`` | use cases: send and edit a message, create a chat, change its members and how it answers |
| ``moderation`` | asks the moderation hook, within limits of time and concurrency |
| ``personal`` | use cases: export and erase the data of a user |
| ``keeping`` | use cases: rename, archive and delete a chat |
| ``search_terms`` | the terms of a text that a search finds, snippets |
| ``searching`` | use case: search messages |
| ``rights`` | what the members of a chat may do, by role |
| ``managing`` | use cases: roles, mutes, bans, invite links |
| ``marking`` | use cases: delete, react to and pin a message |
| ``feed`` | use case: read the events of all chats |
| ``webhooks`` | webhooks: values and use cases |
| ``custom_events`` | use case: store events of other applications |
| ``turns`` | use cases: start and end an AI turn, stop it, regenerate its answer |
| ``publishing`` | passes committed events to the relay and the listener |
| ``read_state`` | use cases: up to where users have read a chat; ``chat-read`` |
| ``notifications`` | what notifies users, their devices, pushes |
| ``reading`` | use cases: chats, events after a cursor, messages and their versions, members |
| ``event_blocks`` | encoded events for the pages of all clients |
| ``additions`` | how often a user may add other users to chats |
| ``quotas`` | how many AI answers and tokens users and tenants have in a window |
| ``rates`` | the rate limits and their values |
| ``admission`` | use case: whether a user may follow a chat |
| ``answer``, ``answer_state``, ``chunks`` | an answer that grows: safe chunks, their fold into parts, one chunk |
| ``files`` | upload, links, download and removal of files |
| ``context`` | the messages that a responder receives, within a token budget |
| ``mentions`` | whether a message mentions the AI |
| ``relay`` | publishes committed events to the log |
| ``sessions`` | ends access tokens before their expiry |
| ``activity``, ``audience`` | ``chat-activity``: when it is announced, and to which users |
| ``following`` | one reader of a turn, for protocols that stream one answer |
| ``encoding`` | events as JSON bytes |
| ``ports`` | protocols that other packages implement for the domain |
"""
