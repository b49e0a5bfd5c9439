"""Sessions, namespaces, rooms, handlers and acknowledgements: a Socket.IO server without transports.

May import: cluster, fanout, requests, limits, options, errors, wire.

| module | what |
|---|---|
| ``engine`` | all connections and namespaces of one server, and their end |
| ``connection``, ``ports`` | one Engine.IO connection; what it needs from its host and its transport |
| ``socket``, ``hub`` | one client in one namespace; the sockets and rooms of a namespace |
| ``recovery`` | sessions that clients return to after a lost connection, and the events that they missed |
| ``registry``, ``dispatch`` | which handler serves an event; calling it |
| ``dynamic`` | namespaces whose names follow a rule |
| ``hooks``, ``listeners`` | middleware and catch-all listeners, for servers that have some; what they are |
| ``backlogs`` | emits wait for clients that have much left to read |
| ``inbox`` | order and limits of the calls |
| ``environ`` | the handshake for applications, under the names of PEP 3333 |
| ``broadcasting``, ``server_events`` | a namespace of the cluster; events between servers |
| ``acks``, ``callbacks`` | an event that several sockets acknowledge; with a callback |
| ``observer``, ``reasons`` | the port for metrics and logs; why a connection or socket ended |
"""
