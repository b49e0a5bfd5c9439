"""The worker service: claims AI turns, and publishes and stores their answers; sends to webhooks.

May import: chat, contract, backoff, histogram.

| module | what |
|---|---|
| ``service`` | claims turns, renews leases, drains |
| ``turn_run`` | one turn: its responder, retries, stops, time limits, takeover, end |
| ``publishing`` | the chunks of one answer: merged, numbered, in frames, through outages |
| ``webhooks`` | claims webhooks, renews leases |
| ``webhook_run`` | one claimed webhook: new events, retries, dead events |
| ``waking`` | wakes the workers of other processes |
| ``options``, ``counters`` | limits and times; what metrics count |
"""
