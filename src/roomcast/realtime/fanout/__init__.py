"""Fan-out: each emit is encoded and framed once, and each connection gets one ordered write per loop tick.

May import: wire.

| module | what |
|---|---|
| ``log`` | the emits of a loop tick in order, and how they are written to rooms and single connections |
| ``message`` | an encoded event and its frames |
| ``pacing`` | when the log is flushed |
"""
