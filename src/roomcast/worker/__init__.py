"""The worker service: claims AI turns, and publishes and stores their answers.

May import: chat, contract, backoff, histogram.

| module | what |
|---|---|
| ``service`` | claims turns, renews leases, drains |
| ``turn_run`` | one turn: its responder, retries, stops, time limits, takeover, end |
| ``publishing`` | the chunks of one answer: merged, numbered, in frames, through outages |
| ``waking`` | wakes the workers of other processes |
| ``options``, ``counters`` | limits and times; what metrics count |
"""
