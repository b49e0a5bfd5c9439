"""The transports: HTTP long-polling and websocket, with the checks that they share.

May import: core, cluster, fanout, requests, limits, options, errors, wire.

| module | what |
|---|---|
| ``application`` | the ASGI application over ``polling`` and ``asgi_websocket`` |
| ``polling`` | HTTP long-polling |
| ``websocket`` | websocket on uvicorn's pluggable protocol class: the fast path |
| ``encoded_websocket`` | the fast path with permessage-deflate or the msgpack parser |
| ``asgi_websocket`` | websocket on any ASGI server |
| ``admission`` | what the application decides about a request that opens a session |
| ``compression`` | compression of polling responses |
| ``session_lookup`` | from a request to its session: origin, host, owner, limits |
| ``proxies`` | addresses, hosts and paths behind proxies |
"""
