"""The messages of Node's adapters, byte for byte; sans-I/O.

May import: errors, cluster.commands, fanout.message, requests.handshake, wire.

| module | what |
|---|---|
| ``stream_entries`` | the entries and sessions of a stream |
| ``cluster_messages`` | the messages of Node's newer adapters |
| ``protocol`` | channels and messages, byte for byte; sans-I/O |
| ``packing`` | msgpack as notepack.io writes and reads it, with limits |
| ``responses`` | responses to queries, byte for byte; sans-I/O |
"""
