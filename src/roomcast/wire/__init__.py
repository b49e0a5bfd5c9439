"""Engine.IO v4 and Socket.IO v5, sans-I/O: bytes and time in, events and bytes out.

May import: the standard library only.

| module | what |
|---|---|
| ``engineio`` | packets and polling payloads |
| ``engineio_http`` | query strings, which requests are refused, with what |
| ``engineio_session`` | one session: handshake, heartbeat, polling, upgrade, close |
| ``socketio`` | packets, text and binary |
| ``socketio_session`` | one connection's namespaces and acks |
| ``websocket_frames`` | server frames as bytes |
| ``strict_json`` | JSON in and out, bounded |
| ``limits``, ``errors`` | every bound and time-out; what goes wrong and whose fault it is |
"""
