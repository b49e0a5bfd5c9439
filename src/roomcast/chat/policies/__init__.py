"""The rules of the domain that need no storage: rights, limits, quotas, mentions, the terms of a search.

May import: errors, ports, contract.

| module | what |
|---|---|
| ``search_terms`` | the terms of a text that a search finds, snippets |
| ``rights`` | what the members of a chat may do, by role |
| ``additions`` | how often a user may add other users to chats |
| ``quotas`` | how many AI answers and tokens users and tenants have in a window |
| ``rates`` | the rate limits and their values |
| ``mentions`` | whether a message mentions the AI, and which users |
"""
