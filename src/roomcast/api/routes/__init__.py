"""The endpoints: each translates between HTTP and a use case.

May import: callers, options, services, auth, chat, contract, observability, wire.standard_webhooks.

| module | what |
|---|---|
| ``messages`` | the endpoints of chats and messages |
| ``chats`` | the endpoints that rename, archive and delete chats, change their retention, and open direct chats |
| ``search`` | the endpoint that searches messages |
| ``marks`` | the endpoints that delete, react to and pin messages |
| ``events`` | the endpoints for other applications: events in chats, the events of all chats |
| ``notifications`` | the endpoints for what notifies users, and for their devices |
| ``webhooks`` | the endpoints of webhooks |
| ``reads`` | the endpoints for what users have read |
| ``members`` | the endpoints for members, roles, mutes, bans and invite links |
| ``sign_in`` | the endpoints of the sign-in by OpenID Connect, and of the session of a browser |
| ``audit`` | the endpoint of the audit log |
| ``personal`` | the endpoints that export and erase the data of a user |
| ``reports`` | the endpoints that report messages, and list and close reports |
| ``sessions`` | the endpoints for the caller, its quota and sign-out |
| ``turns`` | the endpoints of AI answers, and of edits and versions of messages |
| ``files`` | the endpoints that upload, link, remove and download files |
| ``internal`` | the endpoints for gateways |
"""
