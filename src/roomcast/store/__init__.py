"""Storage on SQLite or PostgreSQL: the implementation of the ports `chat.ports.ChatStore` and `chat.ports.TurnStore`.

`opening.open_store` migrates and opens a database and returns both ports. No other package imports SQLAlchemy.

May import: chat, contract.

| module | what |
|---|---|
| ``opening`` | from options to an open store, and back |
| ``options`` | where the database is, and its timeouts |
| ``chats`` | `chat.ports.ChatStore`: the reads |
| ``turns`` | `chat.ports.TurnStore`: the queue of AI turns |
| ``writer`` | every write: commands that wait are committed as one batch |
| ``batch`` | the rules of the domain, applied to the commands of a batch |
| ``statements`` | the port through which a batch reads and writes its rows; its SQLite implementation |
| ``pipelined`` | the same for PostgreSQL, in two round trips |
| ``database`` | threads, connections, timeouts, retries, translation of errors |
| ``backend`` | the port for what differs between the two databases |
| ``sqlite``, ``postgres`` | its implementations |
| ``exclusive`` | the lock that gives an SQLite file to one process |
| ``lineage`` | the epochs of a database |
| ``tables``, ``rows`` | the schema; conversion of rows to the types of the domain |
| ``migrating``, ``migrations`` | upgrades of the schema; the Alembic scripts |
| ``errors`` | why a database cannot be opened |
"""
