"""A programmable Socket.IO server: sessions, namespaces, rooms, acks, fan-out, transports. Knows nothing of chat.

May import: wire.
"""
