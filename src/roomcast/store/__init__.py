"""Storage on SQLite or PostgreSQL: the implementations of the ports of `chat.ports` whose names end in ``Store``.

`opening.open_store` migrates and opens a database and returns them as a `Store`. Only this package and the
doctor import SQLAlchemy.

May import: chat, contract, histogram.

| module | what |
|---|---|
| ``opening`` | opens and closes a store |
| ``options`` | the address of the database, and its timeouts |
| ``queries`` | the ports of the domain in SQL, one module for each |
| ``message_queries`` | the queries for messages with their turns, reactions and pins |
| ``personal`` | the data of a user in all tables |
| ``engine`` | connections, transactions and statements, on SQLite or PostgreSQL |
| ``rules`` | the rules of the domain: one for each command |
| ``leases`` | rows that one process works on at a time: claims, renewals, checked writes |
| ``lineage`` | the epochs of a database |
| ``backups`` | backups and their restore |
| ``tables``, ``rows`` | the schema; conversion of rows to the types of the domain |
| ``migrating``, ``migrations`` | upgrades of the schema; the Alembic scripts |
| ``errors`` | the errors raised while a database is opened |
"""
