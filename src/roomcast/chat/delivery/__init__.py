"""The way of committed events: encoded, put into the log, announced to the users of a chat.

May import: model, errors, commands, ports, contract, backoff, histogram.

| module | what |
|---|---|
| ``event_blocks`` | encoded events for the pages of all clients |
| ``relay`` | publishes committed events to the log |
| ``activity``, ``audience`` | ``chat-activity``: when it is announced, and to which users |
| ``encoding`` | events as JSON bytes |
"""
