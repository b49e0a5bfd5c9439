"""The worker service: claims AI turns and stores their answers.

May import: chat, contract, backoff.

| module | what |
|---|---|
| ``service`` | claims turns, renews leases, calls responders |
| ``ports`` | stores the start and the end of turns |
"""
