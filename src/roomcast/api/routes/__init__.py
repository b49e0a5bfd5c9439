"""The endpoints: each translates between HTTP and a use case.

May import: callers, options, services, auth, chat, contract, observability, wire.standard_webhooks.

| module | what |
|---|---|
| ``messages`` | the endpoints of chats and messages |
| ``chats`` | the endpoints that rename, archive and delete chats |
| ``search`` | the endpoint that searches messages |
| ``marks`` | the endpoints that delete, react to and pin messages |
| ``events`` | the endpoints for other applications: events in chats |
| ``notifications`` | what notifies users, and their devices |
| ``webhooks`` | the endpoints of webhooks |
| ``reads`` | the endpoints for what users have read |
| ``members`` | the endpoints for members, roles, mutes, bans and invite links |
| ``sign_in`` | sign-in by OpenID Connect, the session of a browser |
| ``audit`` | the audit log |
| ``personal`` | the endpoints that export and erase the data of a user |
| ``reports`` | the endpoints that report messages, and list and close reports |
| ``sessions`` | the caller, sign-out |
| ``turns`` | the endpoints of AI answers |
| ``files`` | upload, links and download of files |
| ``internal`` | the endpoints for gateways |
"""
