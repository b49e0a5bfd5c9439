"""The domain: chats, messages, members, events, AI turns, and their use cases and ports.

The package contains no socket, SQL or Redis code. May import: contract, outgoing.addresses, backoff, histogram.

| module | what |
|---|---|
| ``model``, ``errors``, ``ids`` | values, exceptions, generated ids |
| ``commands`` | the commands that a store commits |
| ``use_cases`` | what users, services and the AI do with chats: one module per group of use cases |
| ``policies`` | the rules of the domain that need no storage: rights, limits, quotas, mentions, the terms of a search |
| ``webhook_values`` | the values of webhooks |
| ``notifications`` | what notifies users, their devices, pushes |
| ``delivery`` | the way of committed events: encoded, put into the log, announced to the users of a chat |
| ``answers`` | answers of an AI: how they grow, how they are read while they grow, and what a model receives |
| ``files`` | upload, links, download and removal of files |
| ``ports`` | protocols that other packages implement for the domain |
"""
