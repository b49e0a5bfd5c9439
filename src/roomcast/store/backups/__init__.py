"""Backups of a database, and their restore.

May import: store.

| module | what |
|---|---|
| ``sqlite`` | the online copy of an SQLite file, and its exchange |
| ``postgres`` | pg_dump and pg_restore |
"""
