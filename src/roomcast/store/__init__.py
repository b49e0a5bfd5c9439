"""Storage on SQLite or PostgreSQL: the implementation of the ports `chat.ports.ChatStore` and `chat.ports.TurnStore`.

`opening.open_store` migrates and opens a database and returns both ports. No other package imports SQLAlchemy.

May import: chat, contract, histogram.

| module | what |
|---|---|
| ``opening`` | opens and closes a store |
| ``options`` | the address of the database, and its timeouts |
| ``chats`` | the reads of `chat.ports.ChatStore` |
| ``message_queries`` | the queries for messages with their turns, reactions and pins |
| ``access`` | the reads of memberships, heads and cursors, in batches |
| ``feed`` | the events of all chats in one order |
| ``pushes`` | `chat.ports.PushStore`: the devices that receive pushes |
| ``searching`` | the index of the messages; indexes those of earlier versions |
| ``search_batches`` | indexes the messages of earlier versions |
| ``personal`` | the data of a user in all tables |
| ``sessions`` | access tokens that were ended before their expiry |
| ``webhooks`` | webhooks, and what they have not received |
| ``turns`` | `chat.ports.TurnStore`: the queue of AI turns |
| ``writer`` | all writes: waiting commands are committed as one batch |
| ``batch`` | runs the commands of one transaction |
| ``rules`` | the rules of the domain: one for each command |
| ``statements`` | the port through which a batch reads and writes its rows; its SQLite implementation |
| ``pipelined`` | the PostgreSQL implementation of that port, with two round trips per batch |
| ``keyed_rows`` | the statements for rows of any table by primary key |
| ``files`` | the implementation of the port for files |
| ``database`` | threads, connections, timeouts, retries, translation of errors |
| ``threads`` | threads for calls that block, with outcomes for the event loop |
| ``backend`` | the port for the differences between SQLite and PostgreSQL |
| ``sqlite``, ``postgres`` | the implementations of `backend.Backend` |
| ``exclusive`` | the lock that allows only one process to open an SQLite file |
| ``lineage`` | the epochs of a database |
| ``backups`` | backups and their restore |
| ``tables``, ``rows`` | the schema; conversion of rows to the types of the domain |
| ``migrating``, ``migrations`` | upgrades of the schema; the Alembic scripts |
| ``errors`` | the errors raised while a database is opened |
"""
