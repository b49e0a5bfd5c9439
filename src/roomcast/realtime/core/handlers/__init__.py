"""Handlers of events: which one serves an event, and its call in order and within limits.

May import: core, fanout, limits, options, errors, wire.

| module | what |
|---|---|
| ``registry``, ``dispatch`` | which handler serves an event; calling it |
| ``dynamic`` | namespaces whose names follow a rule |
| ``hooks``, ``listeners`` | middleware and catch-all listeners, for servers that have some; what they are |
| ``inbox`` | order and limits of the calls |
"""
