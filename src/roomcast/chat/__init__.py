"""The domain: messages, members, events, use cases, AI turns, and the ports that they need.

Knows no socket, no SQL, no Redis. May import: contract.
"""
