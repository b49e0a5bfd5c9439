"""Presence and typing: ephemeral state of a chat, never stored in the database.

May import: what `roomcast.gateway` may.

| module | what |
|---|---|
| ``tracker`` | per-chat presence: deltas to members, a snapshot to new subscribers |
| ``state``, ``sharing`` | the state of one chat; what gateways exchange |
| ``typing`` | typing notices and their expiry |
| ``signals`` | ephemeral messages between gateways on a chat's channel |
"""
