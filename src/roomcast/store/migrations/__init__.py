"""Alembic's scripts, shipped with the package; run by `roomcast.store.migrating.migrate` only."""
