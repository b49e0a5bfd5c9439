"""The rules of the domain, applied in memory to the commands of a batch.

A rule is two functions of a command: ``needs`` names the rows to read, and ``apply`` checks the command against them
and records its changes. `registry.RULES` has one rule for each command that stores something.

May import: chat, contract, store.lineage, store.rows, store.tables.

| module | what |
|---|---|
| ``registry`` | the rule of each command |
| ``messages`` | messages and their versions |
| ``marks`` | deletion, reactions, pins |
| ``expiring`` | the oldest messages of a chat are deleted |
| ``forgetting`` | what a user has left in a chat is erased |
| ``custom_events`` | events of applications |
| ``chats`` | new chats, their settings |
| ``membership`` | members, their rights, invite links, what they have read, what notifies them |
| ``quotas`` | quotas of AI answers |
| ``reports`` | reports of messages |
| ``files`` | uploads, and the files of messages |
| ``turns``, ``turn_commands`` | AI turns: their states; their commands |
| ``work`` | what rules work with: the loaded rows, and the changes so far |
| ``recording`` | the chats, events and messages that a batch adds |
| ``exchange`` | the rows that a batch reads and writes, for `roomcast.store.engine.statements` |
"""
