"""Sessions, namespaces, rooms, handlers and acknowledgements: a Socket.IO server without transports.

May import: cluster, fanout, requests, limits, options, errors, wire.

| module | what |
|---|---|
| ``engine`` | all connections and namespaces of one server, and their end |
| ``connection``, ``ports`` | one Engine.IO connection; what it needs from its host and its transport |
| ``socket``, ``hub`` | one client in one namespace; the sockets and rooms of a namespace |
| ``recovery`` | sessions that clients return to after a lost connection, and the events that they missed |
| ``handlers`` | handlers of events: which one serves an event, and its call in order and within limits |
| ``backlogs`` | emits wait for clients that have much left to read |
| ``environ`` | the handshake for applications, under the names of PEP 3333 |
| ``broadcasting``, ``server_events`` | a namespace of the cluster; events between servers |
| ``acks``, ``callbacks`` | an event that several sockets acknowledge; with a callback |
| ``observer``, ``reasons`` | the port for metrics and logs; why a connection or socket ended |
"""
