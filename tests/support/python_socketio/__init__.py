"""Cases that run on python-socketio's server and on `roomcast.realtime.compat.socketio`."""
