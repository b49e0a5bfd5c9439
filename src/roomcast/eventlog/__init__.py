"""The ordered log of each chat with live delivery, and the streams of its turns on the same channel.

Implements `chat.ports.EventLog` and `chat.ports.TurnStreams`.

| module | what |
|---|---|
| ``memory``, ``memory_streams`` | one process |
| ``stream_options`` | limits of the streams |
| ``redis`` | several processes that share a Redis |

May import: backoff, chat, contract, redis_client.
"""
