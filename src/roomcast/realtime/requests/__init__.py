"""Requests to the Engine.IO path, before there is a session.

May import: options, errors, wire.

| module | what |
|---|---|
| ``request``, ``handshake`` | a request to the Engine.IO path; what a session keeps of it |
| ``origins`` | the rules for ``Origin`` and ``Host`` |
"""
