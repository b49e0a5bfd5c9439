"""Presence and typing: ephemeral state of a chat, never stored in the database.

May import: ports, rooms, chat, realtime, contract, backoff.

| module | what |
|---|---|
| ``tracker`` | per-chat presence: deltas to members, a snapshot to new subscribers |
| ``state`` | the state of one chat, and the options |
| ``sync`` | keeps presence consistent across gateways |
| ``typing`` | typing notices and their expiry |
| ``signals`` | ephemeral messages between gateways on a chat's channel |
"""
