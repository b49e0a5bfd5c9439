"""Engine.IO v4 and Socket.IO v5, sans-I/O: bytes and time in, events and bytes out.

May import: the standard library only.
"""
