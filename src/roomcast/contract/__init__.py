"""The public contract: typed events, payloads and errors, from which the schemas and TypeScript types are generated.

May import: nothing of roomcast; pydantic.

| module | what |
|---|---|
| ``text`` | types and limits of ids, texts, numbers and times |
| ``tenants`` | ids that are qualified with their tenant inside the server, and local at its edges |
| ``model`` | base classes of the payloads |
| ``cursor`` | a client's position in a chat |
| ``events`` | events that the gateway emits, event types |
| ``gateway`` | events that a Socket.IO client sends, their acks |
| ``rest``, ``internal`` | request and response bodies of the REST API; of the API for gateways |
| ``moderation`` | what a moderation hook receives, and its verdict |
| ``webhooks`` | request and response bodies of webhooks |
| ``push`` | what a push carries |
| ``errors`` | error codes, problem details, failed acks |
| ``schema`` | prints the JSON Schema of the public payloads |
"""
