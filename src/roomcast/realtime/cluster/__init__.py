"""The other servers of a cluster: the ports to them, and what can be done with sockets on any of them.

May import: fanout, requests, errors, wire.

| module | what |
|---|---|
| ``commands`` | commands for selected sockets, and the port that carries them |
| ``nodes`` | the directory of session owners |
| ``operators`` | selected sockets of the cluster, and what can be done with them |
| ``gathering`` | the answers of the other servers to a query |
| ``membership`` | start and end of the adapter, also in a mounted application, which gets no lifespan |
"""
