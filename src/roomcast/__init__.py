"""Roomcast: a real-time chat backend for Python teams.

Layers, each importing only those below it (checked by import-linter, see ARCHITECTURE.md):
cli, app, settings, the services (gateway, api, worker), their parts (store, eventlog, auth, responders,
observability), the domain and the Socket.IO server (chat, realtime), and the contracts (contract, wire).
"""

__version__ = "0.1.0"
