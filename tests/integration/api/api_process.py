"""Runs the API alone, over real HTTP and a real database: ``python api_process.py DATABASE_URL``.

Prints its port when it accepts connections.
"""

from __future__ import annotations

import asyncio
import socket
import sys

import uvicorn

from roomcast.api.app import create_api
from roomcast.api.services import ApiServices
from roomcast.chat.answers.following import TurnFollower
from roomcast.chat.delivery.relay import Relay
from roomcast.chat.notifications.preferences import Devices, Preferences
from roomcast.chat.use_cases.admission import Admissions
from roomcast.chat.use_cases.feed import Feed
from roomcast.chat.use_cases.personal import PersonalData
from roomcast.chat.use_cases.publishing import Publishing
from roomcast.chat.use_cases.read_state import ReadState
from roomcast.chat.use_cases.reading import ChatReader
from roomcast.chat.use_cases.searching import ChatSearch
from roomcast.chat.use_cases.sessions import Sessions
from roomcast.chat.use_cases.turns import Turns
from roomcast.chat.use_cases.writing import ChatWriter
from roomcast.eventlog.memory import MemoryEventLog
from roomcast.eventlog.memory_streams import MemoryTurnStreams
from roomcast.store.opening import open_store
from roomcast.store.options import DatabaseOptions


async def main(url: str) -> None:
    async with open_store(DatabaseOptions(url=url)) as store:
        log = MemoryEventLog()
        relay = Relay(store.chats, log)
        await relay.start()
        turns, sessions = Turns(store.turns, relay, log), Sessions(store.sessions, lambda _ended: None)
        publishing = Publishing(relay, None, lambda: None)
        app = create_api(
            ApiServices(
                ChatWriter(store.chats, relay),
                ChatReader(store.chats),
                Admissions(store.chats, relay),
                turns,
                TurnFollower(log, MemoryTurnStreams(log), store.chats, store.turns),
                sessions,
                ReadState(store.chats),
                Feed(store.feed),
                ChatSearch(store.chats, store.search),
                Preferences(store.chats),
                Devices(store.pushes, None),
                personal=PersonalData(store.personal, store.chats, publishing, turns, sessions),
            )
        )
        server = uvicorn.Server(uvicorn.Config(app, lifespan="off", log_level="error"))
        # asyncio disables Nagle's algorithm only if the protocol is given; with it each response waits 40 ms.
        listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        listening.bind(("127.0.0.1", 0))
        listening.listen(128)  # before the port is printed, so that the kernel accepts early connections
        sys.stdout.write(f"{listening.getsockname()[1]}\n")
        sys.stdout.flush()
        await server.serve([listening])
        await relay.stop()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
