"""The main API, as the gateway calls it.

May import: what `roomcast.gateway` may.

| module | what |
|---|---|
| ``client`` | HTTP requests with a token and a time limit |
| ``admission``, ``batches`` | who may join a chat, asked over HTTP; many joins in one request |
| ``follower`` | a gateway without Redis fills its log from the API |
"""
