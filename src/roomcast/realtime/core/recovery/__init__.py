"""Connection state recovery: lost sessions, and the events that their clients missed.

May import: core, cluster, fanout, limits, options, wire.

| module | what |
|---|---|
| ``sessions`` | sessions that clients return to after a lost connection |
| ``event_log`` | the latest events, with their offsets |
| ``ordered`` | recovery by any server of a cluster whose adapter orders all events |
"""
