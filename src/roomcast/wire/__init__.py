"""Engine.IO v4 and Socket.IO v5, sans-I/O: bytes and time in, events and bytes out.

May import: nothing of roomcast; the standard library only.

| module | what |
|---|---|
| ``engineio`` | Engine.IO packets and polling payloads |
| ``engineio_http`` | query strings, and the checks of a request before it reaches a session |
| ``engineio_refusals`` | the HTTP error codes, and the exceptions that carry them |
| ``engineio_effects`` | the actions that an Engine.IO session returns for its caller to carry out |
| ``engineio_session`` | one Engine.IO session: handshake, heartbeat, polling, upgrade, close |
| ``socketio`` | Socket.IO packets, text and binary |
| ``socketio_session`` | one Socket.IO session: the namespaces and pending acks of a connection |
| ``msgpack``, ``socketio_msgpack`` | msgpack with limits; Socket.IO packets in it |
| ``websocket_frames`` | encoding of the data frames that a server sends |
| ``websocket_handshake`` | the check of a WebSocket handshake, and its response |
| ``standard_webhooks`` | signatures of requests to webhooks |
| ``strict_json`` | JSON parsing with limits, and JSON encoding |
| ``input_budget`` | how much one client may send |
| ``limits`` | every limit and timeout |
| ``errors`` | errors of the caller and of the peer; the closed list of the peer's faults |
"""
