"""The API service (port 3000): REST over the use cases of `roomcast.chat`, and the chat page.

May import: auth, chat, contract, observability, realtime.requests.origins, realtime.options, wire.standard_webhooks,
histogram.

| module | what |
|---|---|
| ``app`` | `create_api`, `create_internal_api`: the ASGI applications |
| ``routes`` | the endpoints, from HTTP to a use case and back |
| ``direct`` | the way of a valid message, and of a gateway's questions, without the framework |
| ``dialects`` | answers for clients of the AI SDK and of AG-UI |
| ``callers`` | authentication: the caller of a request from its bearer token |
| ``problems`` | errors as RFC 9457 problem details |
| ``middleware`` | what each request passes first: its id; checks of host, path, type and size of the body; HEAD |
| ``links`` | the links of the OpenAPI document |
| ``durations`` | how long requests take, by route; their log lines |
| ``spans`` | the span of each request, for traces |
| ``page`` | the files of the chat page and their headers |
| ``services``, ``options`` | the arguments of `create_api`: use cases and options |
"""
