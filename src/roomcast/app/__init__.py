"""Composition: builds the services from the settings. Only this package imports every implementation.

May import: everything but cli.

| module | what |
|---|---|
| ``composition`` | `run_process`: builds and serves the services of a command; start reading here |
| ``config`` | settings and command line, checked and combined into a `ProcessConfig` |
| ``process`` | the parts of every process, and the services that processes share |
| ``backend`` | store, relay, worker, use cases and API; migrations |
| ``backups`` | backups of the database, and their restore |
| ``parts`` | responders, moderation, pushes, webhooks, files: each built from its settings |
| ``redis_services`` | the services that processes share through Redis |
| ``internal_site`` | the internal address: metrics, readiness, forwarded requests |
| ``worker_processes`` | several gateway processes on one port |
| ``tasks`` | background tasks, whose failure ends the process |
| ``metrics`` | the metric families |
| ``doctor`` | `roomcast doctor`: the checks of a set-up |
| ``stats`` | `roomcast stats`: reads and compares the metrics of processes |
| ``addresses`` | the addresses that ``--host`` binds, and their URLs |
| ``errors`` | failures that are printed as one line |
"""
