"""Admission to chats for a gateway without a database.

May import: ports, auth, chat, contract.

| module | what |
|---|---|
| ``client`` | HTTP requests to the main API, with a service token and a time limit |
| ``connections`` | the connections of these requests |
| ``admission``, ``batches`` | the API decides on joins; joins that wait share requests |
| ``open_admission`` | admits every join, for a gateway without an API |
"""
