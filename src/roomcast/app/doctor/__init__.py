"""`roomcast doctor`: checks what a process would use, and names what to change.

May import: app, settings, setting_values, auth, gateway, realtime, redis_client, store.

| module | what |
|---|---|
| ``examination`` | all checks of one process; start reading here |
| ``redis``, ``database``, ``proxy`` | the checks of these parts |
| ``clock`` | the difference of two clocks |
| ``findings`` | the outcome of a check |
"""
