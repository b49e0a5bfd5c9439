"""Settings that consist of several variables, by subject. Single values: `setting_values`.

May import: setting_values, auth, redis_client, responders.

| module | what |
|---|---|
| ``identity`` | access tokens, identity providers, sign-in on the page |
| ``servers`` | the database, Redis, the collector of traces |
| ``answers`` | the responders |
"""
