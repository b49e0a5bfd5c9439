"""The gateway service (port 3001): sockets in, chat events out, no database.

May import: chat, realtime, auth, observability, contract, wire. Never store.
"""
