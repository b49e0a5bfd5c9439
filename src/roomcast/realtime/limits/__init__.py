"""Deadlines, and limits of what all clients together may take.

May import: options, errors, wire.

| module | what |
|---|---|
| ``timers`` | one timer for all deadlines |
| ``unfinished`` | memory and deadline of what clients have begun to send |
| ``reading`` | turns of reading: none of the connections holds up the others |
"""
