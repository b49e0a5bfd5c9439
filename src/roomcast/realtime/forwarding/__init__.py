"""Requests for sessions of other nodes, so that polling needs no sticky sessions.

May import: core, cluster, requests, options, errors, wire, redis_client, backoff.

| module | what |
|---|---|
| ``forwarder`` | sends requests to the node that owns the session, and authenticates those from other nodes |
| ``pipe`` | a websocket whose bytes are copied to and from another node |
| ``connection_pool`` | HTTP connections to other nodes |
| ``redis_directory`` | the nodes and their addresses, in Redis |
"""
