"""The ordered log of each chat, with live delivery: implementations of `chat.ports.EventLog`.

| module | what |
|---|---|
| ``memory`` | one process |
| ``redis`` | several processes that share a Redis |

May import: backoff, chat, contract, redis_client.
"""
