"""Composition: builds the services from the settings. Only this package imports every implementation.

May import: everything but cli.

| module | what |
|---|---|
| ``composition`` | `run_process`: builds and serves the services of a command; start reading here |
| ``config`` | settings and command line, checked and combined into a `ProcessConfig` |
| ``process`` | the parts of every process, and the services that processes share |
| ``backend`` | store, relay, worker, use cases and API; migrations |
| ``backups`` | backups of the database, and their restore |
| ``responders`` | the responders that the settings name |
| ``moderation`` | the moderation hook that the settings name |
| ``pushing`` | Web Push: its key, its tasks |
| ``redis_services`` | the services that processes share through Redis |
| ``internal_site`` | the internal address: metrics, readiness, forwarded requests |
| ``worker_processes`` | several gateway processes on one port |
| ``webhooks`` | builds the HTTP client of webhooks |
| ``tasks`` | background tasks, whose failure ends the process |
| ``metrics`` | the metric families |
| ``doctor`` | `roomcast doctor`: the checks of a set-up |
| ``sessions`` | keeps the ended access tokens of a process up to date |
| ``files`` | where files are stored, and their use cases |
| ``search_index`` | indexes the messages of earlier versions |
| ``stats`` | `roomcast stats`: reads and compares the metrics of processes |
| ``addresses`` | the addresses that ``--host`` binds, and their URLs |
| ``errors`` | failures that are printed as one line |
"""
