"""Concurrent senders over HTTP: ``python -m support.http_senders CHAT SECONDS SENDERS URL…`` prints the figures.

Each has a connection of its own. They cost little, so that the server has the machine.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from urllib.parse import urlsplit

import httpx

from support.store_load import Tally


async def send(
    streams: tuple[asyncio.StreamReader, asyncio.StreamWriter], host: str, body: dict[str, str], headers: str = ""
) -> tuple[int, dict[str, object]]:
    """Send one message on an open connection; status and body of the answer."""
    reader, writer = streams
    content = json.dumps(body).encode()
    head = f"POST /api/chat/messages HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n{headers}"
    writer.write(f"{head}Content-Length: {len(content)}\r\n\r\n".encode() + content)
    answer = (await reader.readuntil(b"\r\n\r\n")).lower()
    _, _, rest = answer.partition(b"content-length: ")
    found = await reader.readexactly(int(rest.partition(b"\r\n")[0]))
    return int(answer.split(b" ", 2)[1]), json.loads(found)


async def load(urls: list[str], chat: str, *, seconds: float, senders: int) -> Tally:
    """Send to the APIs in turn; any answer but 201 counts as failed."""
    tally = Tally()
    began = time.perf_counter()

    async def sender(number: int) -> None:
        host = urlsplit(urls[number % len(urls)]).netloc
        address, _, port = host.partition(":")
        streams = await asyncio.open_connection(address, int(port))
        count = 0
        while time.perf_counter() - began < seconds:
            key = f"k-{number}-{count}"
            started = time.perf_counter()
            body = {"chatId": chat, "role": "USER", "content": f"text of {key}", "clientMsgId": key, "userId": "ann"}
            status, answer = await send(streams, host, body)
            if status == 201:
                tally.seconds.append(time.perf_counter() - started)
                tally.acknowledged[key] = int(str(answer["seq"]))
            else:
                tally.failed += 1
            count += 1
        streams[1].close()

    await asyncio.gather(*map(sender, range(senders)))
    tally.elapsed_s = time.perf_counter() - began
    return tally


async def check(url: str, chat: str, tally: Tally) -> None:
    """Check that the events have one order without a gap, and each acknowledged message once, at its seq."""
    events: list[dict[str, object]] = []
    async with httpx.AsyncClient(base_url=url, timeout=60) as http:
        more = True
        while more:
            page = (await http.get(f"/api/chats/{chat}/events", params={"after": len(events), "limit": 500})).json()
            events += page["events"]
            more = page["more"]
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
    sent = [event["data"] for event in events if event["type"] == "message-created"]
    stored = {data["clientMsgId"]: data["seq"] for data in sent}  # type: ignore[index]  # JSON
    assert len(stored) == len(sent)
    assert stored == tally.acknowledged


if __name__ == "__main__":
    given = asyncio.run(load(sys.argv[4:], sys.argv[1], seconds=float(sys.argv[2]), senders=int(sys.argv[3])))
    sys.stdout.write(given.figures + "\n")
