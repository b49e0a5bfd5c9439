"""Authentication: access tokens.

May import: contract.

| module | what |
|---|---|
| ``tokens`` | issues and verifies signed tokens |
| ``ended_sessions`` | tokens that were ended before their expiry |
| ``scopes`` | what service tokens may do |
| ``key_set`` | keys at a URL, which change while the process runs |
| ``keys`` | the port to a provider's keys; those of a file |
| ``options`` | which tokens are accepted |
| ``errors`` | the errors of this package |
"""
