"""Delivery of chat events: feeds from the log to local sockets, joins with replay, membership.

May import: what `roomcast.gateway` may.

| module | what |
|---|---|
| ``chat_feed``, ``feeds`` | one chat's live feed and its position; all of them |
| ``joins`` | ``join-chat`` and ``leave-chat``: admission, replay, room |
| ``membership`` | removed members and expired doubt |
| ``counters`` | what is counted |
"""
