"""The ports of the domain in SQL: reads of chats, turns, sessions, the feed, search.

May import: engine, rules, rows, tables, message_queries, options, errors, chat, contract.

| module | what |
|---|---|
| ``chats`` | the reads of `chat.ports.ChatStore` |
| ``access`` | the reads of memberships, heads and cursors, in batches |
| ``feed`` | the events of all chats in one order |
| ``pushes`` | `chat.ports.PushStore`: the devices that receive pushes |
| ``searching`` | the index of the messages; indexes those of earlier versions |
| ``search_batches`` | indexes the messages of earlier versions |
| ``sessions`` | access tokens that were ended before their expiry |
| ``webhooks`` | webhooks, and what they have not received |
| ``turns`` | `chat.ports.TurnStore`: the queue of AI turns |
| ``files`` | the implementation of the port for files |
"""
