"""Authentication: access tokens.

May import: contract.

| module | what |
|---|---|
| ``tokens`` | issues and verifies signed tokens |
| ``ended_sessions`` | tokens that were ended before their expiry |
| ``open_id`` | sign-in by OpenID Connect |
| ``browser_sessions`` | the session of a browser after its sign-in |
| ``http`` | requests to an identity provider, with limits |
| ``scopes`` | what service tokens may do |
| ``key_set`` | keys at a URL, which change while the process runs |
| ``keys`` | the port to a provider's keys; those of a file |
| ``options`` | which tokens are accepted |
| ``errors`` | the errors of this package |
"""
