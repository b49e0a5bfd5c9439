"""Alembic's scripts, run by `roomcast.store.migrating.migrate`."""
