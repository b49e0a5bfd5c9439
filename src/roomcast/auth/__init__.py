"""Authentication: access tokens.

May import: contract.

| module | what |
|---|---|
| ``tokens`` | issues and verifies signed tokens |
"""
