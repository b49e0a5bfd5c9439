"""Parts of the services, each built and run from its settings.

May import: everything but cli.

| module | what |
|---|---|
| ``responders`` | the responders that the settings name |
| ``moderation`` | the moderation hook that the settings name |
| ``pushing`` | Web Push: its key, its tasks |
| ``webhooks`` | builds the HTTP client of webhooks |
| ``sessions`` | keeps the ended access tokens of a process up to date |
| ``files`` | where files are stored, and their use cases |
| ``search_index`` | indexes the messages of earlier versions |
"""
