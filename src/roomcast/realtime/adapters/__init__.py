"""Adapters carry commands to the other servers of a cluster: implementations of `core.cluster.Adapter`.

May import: core, fanout, options, errors, wire, redis_client, backoff.

| module | what |
|---|---|
| ``memory`` | one process |
| ``redis`` | Redis, in the protocol of Node's ``@socket.io/redis-adapter`` |
"""
