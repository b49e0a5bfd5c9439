"""Answers for clients of other protocols: the AI SDK over SSE and websocket, and AG-UI.

Each translates the same chunks of a turn, so that all clients see the same text.

May import: api, auth, chat, contract, observability, realtime.requests.origins, realtime.options.

| module | what |
|---|---|
| ``asking`` | from a request to the turn that answers it |
| ``sending`` | server-sent events, pauses, the limit of open streams |
| ``ai_sdk`` | the AI SDK's ``DefaultChatTransport`` |
| ``ai_sdk_socket`` | the AI SDK's ``WebSocketChatTransport`` |
| ``agui`` | AG-UI: from chunks to events |
| ``agui_routes`` | AG-UI: the endpoint |
| ``probe`` | a stream that shows whether a proxy holds streams back |
"""
