"""Roomcast: a real-time chat backend for Python teams.

A module imports only from rows below its own (checked by import-linter; see ARCHITECTURE.md):

| module | what |
|---|---|
| ``cli``, ``__main__`` | the `roomcast` command |
| ``app`` | builds the services from the settings |
| ``settings`` | the only reader of the environment |
| ``setting_groups`` | settings of several variables: identity, servers, responders |
| ``setting_values`` | the form of single values of settings |
| ``gateway`` | the Socket.IO gateway service |
| ``api`` | the REST API service and the chat page |
| ``worker`` | the service that answers with AI, and sends to webhooks |
| ``store`` | the database: SQLite or PostgreSQL |
| ``eventlog`` | the event log of each chat: in memory or in Redis |
| ``files`` | the contents of uploaded files: a directory or a bucket |
| ``moderation`` | hooks that review texts: HTTP, a Python function |
| ``webhooks`` | the HTTP client of webhooks |
| ``push`` | Web Push |
| ``limits`` | rate limits: in memory, and shared through Redis |
| ``presence`` | the presence board: in memory or in Redis |
| ``auth`` | access tokens |
| ``responders`` | AI responders |
| ``client`` | a client of API and gateway, for commands |
| ``observability`` | logs, metrics, readiness |
| ``chat`` | the domain: use cases and ports |
| ``realtime`` | a Socket.IO server, usable alone |
| ``contract`` | typed events and payloads |
| ``wire`` | Engine.IO, Socket.IO, signatures of webhooks, sans-I/O |
| ``redis_client`` | connections and commands to Redis |
| ``outgoing`` | requests to addresses that others choose |
| ``loading`` | loads code of the team by ``module:name`` |
| ``backoff`` | pauses between retries, with jitter |
| ``histogram`` | counts of durations by size |
"""

__version__ = "0.2.0.dev0"
