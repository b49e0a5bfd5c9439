"""The process around the applications: sockets to listen on, request limits, signals, the drain.

May import: transports, core, requests, limits, options, errors, backoff.

| module | what |
|---|---|
| ``process`` | binds, starts, drains and stops |
| ``descriptors`` | how many file descriptors clients may take |
| ``first_read`` | a connection until its first bytes: ordinary handshakes are answered without HTTP |
| ``http_protocol`` | HTTP with limits and deadlines for head, body and unread output |
| ``application_websocket`` | websockets of the application behind Engine.IO, with a deadline for unread output |
"""
