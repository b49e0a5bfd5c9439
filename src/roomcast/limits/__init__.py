"""Rate limits, in memory and shared through Redis. `chat.policies.rates` has the limits and their values.

May import: chat, redis_client.

| module | what |
|---|---|
| ``memory`` | one process; every decision, also of processes that share |
| ``redis`` | reports what was charged to the other processes, in the background |
"""
