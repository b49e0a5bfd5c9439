"""A client of the public API and of the gateway, for the commands that people use. Not a public interface yet.

May import: contract, wire, backoff; httpx and websockets.

| module | what |
|---|---|
| ``address`` | base URLs, which may have a path |
| ``api`` | requests to the REST API |
| ``gateway`` | one connection to a gateway |
| ``chat_follower`` | every event of a chat once, in order, through any number of connections |
| ``errors`` | what a request or a connection fails with |
"""
