"""Sessions, namespaces, rooms, handlers and acknowledgements: a Socket.IO server without transports.

May import: fanout, options, errors, wire.

| module | what |
|---|---|
| ``engine`` | all connections and namespaces of one server, and their end |
| ``connection``, ``ports`` | one Engine.IO connection; what it needs from its host and its transport |
| ``socket``, ``hub`` | one client in one namespace; the sockets and rooms of a namespace |
| ``recovery``, ``event_log`` | sessions that clients return to after a lost connection; the events that they missed |
| ``ordered_recovery`` | the same for the servers of a cluster |
| ``registry``, ``dispatch`` | which handler serves an event; calling it |
| ``reading`` | turns of reading: none of the connections holds up the others |
| ``dynamic`` | namespaces whose names follow a rule |
| ``hooks``, ``listeners`` | middleware and catch-all listeners, for servers that have some; what they are |
| ``backlogs`` | emits wait for clients that have much left to read |
| ``inbox`` | order and limits of the calls |
| ``unfinished`` | memory and deadline of what clients have begun to send |
| ``timers`` | one timer for all deadlines |
| ``request``, ``handshake`` | a request to the Engine.IO path; what a session keeps of it |
| ``environ`` | the handshake for applications, under the names of PEP 3333 |
| ``origins`` | the rules for ``Origin`` and ``Host`` |
| ``cluster``, ``nodes`` | the ports to the other servers: commands, and the directory of session owners |
| ``operators`` | selected sockets of the cluster, and what can be done with them |
| ``broadcasting``, ``server_events`` | a namespace of the cluster; events between servers |
| ``gathering`` | the answers of the other servers to a query |
| ``acks`` | an event that several sockets acknowledge |
| ``membership`` | start and end of the adapter, also in a mounted application, which gets no lifespan |
| ``observer``, ``reasons`` | the port for metrics and logs; why a connection or socket ended |
"""
