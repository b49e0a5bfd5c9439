"""Composition: builds the services from the settings. The only package that knows every implementation.

May import: everything but cli.

| module | what |
|---|---|
| ``composition`` | `run_up`, `run_api`, `run_gateway`: what each command builds and serves; start reading here |
| ``config`` | settings and command line, checked and combined into a `ProcessConfig` |
| ``process`` | what every process has, and the services that it shares with other processes |
| ``backend`` | store, relay, worker, use cases and API; migrations |
| ``redis_services`` | what processes share through Redis |
| ``internal_site`` | the internal address: metrics, readiness, forwarded requests |
| ``worker_processes`` | several gateway processes on one port |
| ``tasks`` | background tasks, whose failure ends the process |
| ``metrics`` | the metric families |
| ``addresses`` | what a host option binds, and the URLs that follow |
| ``errors`` | failures that are printed as one line |
"""
