"""The data of a user in all tables: found for an export, changed by an erasure.

Each table of `store.tables` says which of its columns name a user, and what an erasure does there; a test fails for a
table that does not.

May import: chat, contract, store.engine.batch, store.engine.database, store.engine.keyed_rows,
store.engine.writer, store.leases, store.rows, store.rules, store.tables.

| module | what |
|---|---|
| ``columns`` | how a table says it |
| ``pages`` | finds the rows of a user, page by page |
| ``erasing`` | the implementation of `chat.ports.PersonalStore` |
"""
