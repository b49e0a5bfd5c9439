"""The API service (port 3000): REST over the use cases of `roomcast.chat`, and the chat page.

May import: auth, chat, contract, observability, realtime.requests.origins, realtime.options, wire.standard_webhooks,
histogram.

| module | what |
|---|---|
| ``app`` | `create_api`, `create_internal_api`: the ASGI applications |
| ``routes`` | the endpoints, from HTTP to a use case and back |
| ``direct`` | the way of a valid message, and of a gateway's questions, without the framework |
| ``chat_routes`` | the endpoints that rename, archive and delete chats |
| ``search_routes`` | the endpoint that searches messages |
| ``mark_routes`` | the endpoints that delete, react to and pin messages |
| ``event_routes`` | the endpoints for other applications: events in chats |
| ``notification_routes`` | what notifies users, and their devices |
| ``webhook_routes`` | the endpoints of webhooks |
| ``read_routes`` | the endpoints for what users have read |
| ``member_routes`` | the endpoints for members, roles, mutes, bans and invite links |
| ``sign_in_routes`` | sign-in by OpenID Connect, the session of a browser |
| ``audit_routes`` | the audit log |
| ``personal_routes`` | the endpoints that export and erase the data of a user |
| ``report_routes`` | the endpoints that report messages, and list and close reports |
| ``session_routes`` | the caller, sign-out |
| ``turn_routes`` | the endpoints of AI answers |
| ``file_routes`` | upload, links and download of files |
| ``internal_routes`` | the endpoints for gateways |
| ``dialects`` | answers for clients of the AI SDK and of AG-UI |
| ``callers`` | authentication: the caller of a request from its bearer token |
| ``problems`` | errors as RFC 9457 problem details |
| ``middleware`` | what each request passes first: its id; checks of host, path, type and size of the body; HEAD |
| ``durations`` | how long requests take, by route; their log lines |
| ``spans`` | the span of each request, for traces |
| ``page`` | the files of the chat page and their headers |
| ``services``, ``options`` | the arguments of `create_api`: use cases and options |
"""
