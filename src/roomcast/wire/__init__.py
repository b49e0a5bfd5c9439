"""Engine.IO v4 and Socket.IO v5, sans-I/O: bytes and time in, events and bytes out.

May import: nothing of roomcast; the standard library only.

| module | what |
|---|---|
| ``engineio`` | packets and polling payloads |
| ``engineio_http`` | query strings, and the checks of a request before it reaches a session |
| ``engineio_refusals`` | the HTTP error codes, and the exceptions that carry them |
| ``engineio_effects`` | what the caller of a session has to do |
| ``engineio_session`` | one session: handshake, heartbeat, polling, upgrade, close |
| ``socketio`` | packets, text and binary |
| ``socketio_session`` | the namespaces and pending acks of one connection |
| ``websocket_frames`` | server frames as bytes |
| ``strict_json`` | JSON in and out, bounded |
| ``limits`` | every limit and timeout |
| ``errors`` | errors of this side and of the peer; the closed list of the peer's faults |
"""
