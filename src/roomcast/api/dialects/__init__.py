"""Answers for clients of other protocols, as translations of the chunks of a turn.

May import: chat, contract.

| module | what |
|---|---|
| ``agui`` | AG-UI: from chunks to events |
"""
