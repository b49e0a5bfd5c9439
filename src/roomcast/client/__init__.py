"""The Python client: chats, messages and events over the public API and the gateway; bots.

    from roomcast.client import Client

    async with Client("http://localhost:3000", token="…") as client:
        await client.chat("lobby").send("Hello")

May import: contract, wire, backoff; httpx and websockets.

| module | what |
|---|---|
| ``client`` | `Client`, `ChatHandle`: the requests, and the events of a chat |
| ``bot`` | `Bot`: calls a function for each message of the chats of its user, and sends what it returns |
| ``bot_cursors`` | up to where a bot has handled each chat, in a file |
| ``address`` | base URLs, which may have a path |
| ``api`` | requests to the REST API |
| ``retrying`` | repeats a request until it is answered |
| ``gateway`` | one connection to a gateway |
| ``chat_follower`` | every event of a chat once, in order, through any number of connections |
| ``errors`` | what a request or a connection fails with |
"""

from roomcast.client.bot import Bot
from roomcast.client.chat_follower import Event, Reset
from roomcast.client.client import ChatHandle, Client
from roomcast.client.errors import ClientError, Refused, Unreachable
from roomcast.contract.cursor import Cursor
from roomcast.contract.events import Attachment, Message

__all__ = [
    "Attachment",
    "Bot",
    "ChatHandle",
    "Client",
    "ClientError",
    "Cursor",
    "Event",
    "Message",
    "Refused",
    "Reset",
    "Unreachable",
]
