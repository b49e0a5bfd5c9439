"""The gateway service (port 3001): sockets, rooms and chat events, without a database.

May import: chat, realtime, presence, auth, observability, contract, wire, backoff, histogram. Must not import: store.

| module | what |
|---|---|
| ``service`` | composes one gateway: a Socket.IO server, feeds, joins, presence, handlers |
| ``handlers`` | the events that clients may send |
| ``connection_limits`` | how many connections users and addresses open |
| ``delivery`` | chat events, from the log to the sockets; joins with replay |
| ``presence`` | presence in chats, typing notices |
| ``api`` | admission to chats, decided by the main API |
| ``ingress`` | the guide's ``PUBLISH chat:events`` |
| ``announcing`` | emits chat activity to the rooms of users |
| ``http`` | the health check |
| ``rooms`` | names of rooms |
| ``ports`` | the interfaces to the API and the Socket.IO server |
"""
