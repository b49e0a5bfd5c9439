"""Requests to addresses that users and operators of other applications choose.

May import: nothing of roomcast; httpcore.

| module | what |
|---|---|
| ``addresses`` | which addresses are permitted |
| ``connections`` | connects to permitted addresses only |
"""
