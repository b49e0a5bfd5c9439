"""Requests to addresses that users and operators of other applications choose.

May import: nothing of roomcast; httpcore, httpx.

| module | what |
|---|---|
| ``addresses`` | which addresses are permitted |
| ``connections`` | connects to permitted addresses only |
| ``requests`` | sends requests, within limits of time and size |
"""
