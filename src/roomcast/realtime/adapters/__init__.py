"""Adapters carry commands to the other servers of a cluster: implementations of `cluster.commands.Adapter`.

May import: core, cluster, fanout, requests, options, errors, wire, redis_client, backoff.

| module | what |
|---|---|
| ``memory`` | one process |
| ``redis`` | Redis, in the protocol of Node's ``@socket.io/redis-adapter`` |
"""
