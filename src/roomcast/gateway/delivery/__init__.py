"""Delivery of chat events: feeds from the log to local sockets, growing answers, joins with replay, membership.

May import: ports, rooms, chat, realtime, contract, backoff, histogram.

| module | what |
|---|---|
| ``chat_feed``, ``feeds`` | the feed of one chat and its position; all feeds and their sweep |
| ``answers`` | chunks and ends of AI answers, for the sockets that joined with ``stream`` |
| ``resumes`` | ``ai-resume``: an answer so far, without a gap before its next chunk |
| ``replay`` | the events that a joining client missed |
| ``joins`` | ``join-chat`` and ``leave-chat``: admission, replay, room |
| ``membership`` | takes the sockets of removed members out of the room; which members may not write |
| ``counters`` | totals for metrics |
"""
