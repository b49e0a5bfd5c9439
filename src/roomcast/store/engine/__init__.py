"""Connections, transactions and statements, on SQLite or PostgreSQL.

May import: rules, rows, tables, lineage, message_queries, options, errors, chat, contract, histogram.

| module | what |
|---|---|
| ``writer`` | all writes: waiting commands are committed as one batch |
| ``batch`` | runs the commands of one transaction |
| ``statements`` | the port through which a batch reads and writes its rows; its SQLite implementation |
| ``pipelined`` | the PostgreSQL implementation of that port, with two round trips per batch |
| ``keyed_rows`` | the statements for rows of any table by primary key |
| ``database`` | threads, connections, timeouts, retries, translation of errors |
| ``threads`` | threads for calls that block, with outcomes for the event loop |
| ``backend`` | the port for the differences between SQLite and PostgreSQL |
| ``sqlite``, ``postgres`` | the implementations of `backend.Backend` |
| ``exclusive`` | the lock that allows only one process to open an SQLite file |
"""
