"""The worker service: claims AI turns, and publishes and stores their answers; sends to webhooks and to devices.

May import: chat, contract, backoff, histogram.

| module | what |
|---|---|
| ``service`` | claims turns, renews leases, drains |
| ``turn_run`` | one turn: its responder, retries, stops, time limits, takeover, end |
| ``publishing`` | the chunks of one answer: merged, numbered, in frames, through outages |
| ``webhooks`` | claims webhooks, renews leases |
| ``webhook_run`` | one claimed webhook: new events, retries, dead events |
| ``pushes`` | pushes for the messages of all chats, to the users that have not seen them |
| ``push_deliveries`` | sends pushes: retries, and one queue for each push service |
| ``waking`` | wakes the workers of other processes |
| ``options``, ``counters`` | limits and times; what metrics count |
"""
