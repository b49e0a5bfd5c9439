"""The rules for members of chats, and for what belongs to a membership.

May import: chat, contract, store.rows, store.tables, store.rules.exchange, store.rules.work.

| module | what |
|---|---|
| ``members`` | memberships, roles, mutes, bans, and the allowances for additions |
| ``invites`` | invite links |
| ``rights`` | what a member may do, checked in the transaction |
| ``reads`` | cursors of users, mentions |
| ``notifications`` | what notifies users of chats |
"""
