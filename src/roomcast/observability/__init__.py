"""Logs, metrics and readiness of a process, and the HTTP responses that expose them.

May import: chat, realtime, backoff, histogram.

| module | what |
|---|---|
| ``logs`` | structured logging: readable lines or JSON, escaped, without secrets |
| ``log_context`` | ids that all lines of a request or of a handler have |
| ``tracebacks`` | the text of exceptions, without what may quote content |
| ``metrics`` | ``/metrics`` for Prometheus; the lag of the event loop |
| ``readiness`` | ``/ready`` and ``/live`` |
| ``tracing`` | traces over OpenTelemetry, which is optional |
| ``connections`` | the observer of the Socket.IO server: logs and counts |
| ``http`` | responses for fixed paths |
"""
