"""Web Push: sends encrypted messages to the push services of browsers. The implementation of `chat.ports.PushSender`.

May import: chat, contract, outgoing, backoff.

| module | what |
|---|---|
| ``client`` | one request to a push service, at an address that is accepted |
| ``encryption`` | the encryption for one device |
| ``vapid`` | the key of the server, and its signature of requests |
| ``options`` | what the settings say |
"""
