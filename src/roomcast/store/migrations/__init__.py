"""Alembic's scripts, run by `roomcast.store.migrating.migrate`.

May import: store.

| module | what |
|---|---|
| ``env`` | runs the scripts on a connection that the caller passes |
| ``versions`` | one script for each version of the schema |
"""
