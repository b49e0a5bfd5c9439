"""The ports of the domain in SQL: what they read, and the writes that have no rule in `store.rules`.

May import: engine, rules, rows, tables, leases, lineage, message_queries, options, errors, chat, contract.

| module | what |
|---|---|
| ``chats`` | the reads of `chat.ports.ChatStore` |
| ``access`` | the reads of memberships, heads and cursors, in batches |
| ``feed`` | `chat.ports.FeedStore`: the events of all chats in one order |
| ``pushes`` | `chat.ports.PushStore`: the devices that receive pushes |
| ``searching`` | `chat.ports.SearchStore`: the index of the messages |
| ``search_batches`` | indexes the messages of earlier versions |
| ``sessions`` | `chat.ports.SessionStore`: access tokens that were ended before their expiry |
| ``webhooks`` | `chat.ports.WebhookStore`: webhooks, and what they have not received |
| ``turns`` | `chat.ports.TurnStore`: the queue of AI turns |
| ``files`` | `chat.ports.FileStore`: the files of chats, without their contents |
"""
