"""Presence boards, in memory and in Redis: which users follow a chat, and through which gateway.

May import: chat, redis_client, contract. `gateway.presence` decides which presence events the members receive.

| module | what |
|---|---|
| ``memory`` | one process; the reference implementation |
| ``redis`` | several processes: one hash per chat |
"""
