"""Three clients for test_fairness that send one kind of frame as fast as the server reads, for a few seconds.

python flood_process.py PORT KIND SECONDS
"""

from __future__ import annotations

import select
import socket
import sys
import time

UPGRADE = (
    b"GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nhost: x\r\nconnection: Upgrade\r\nupgrade: websocket\r\n"
    b"sec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\nsec-websocket-version: 13\r\n\r\n"
)
GET = b"GET /health HTTP/1.1\r\nhost: x\r\n\r\n"


def masked(head: int, payload: bytes) -> bytes:
    return bytes([head, 0x80 | len(payload)]) + bytes(4) + payload


# Frames that open the flood, and the frame that is repeated.
KINDS = {
    "pong packets": (b"", masked(0x81, b"3")),
    "pings": (b"", masked(0x89, b"")),
    "fragments": (masked(0x01, b"4"), masked(0x00, b"")),
    "events": (masked(0x81, b"40"), masked(0x81, b'42["echo",1]')),
    "requests": (b"", GET),
}


def flooding(port: int, kind: str) -> socket.socket:
    client = socket.create_connection(("127.0.0.1", port))
    if kind != "requests":
        client.sendall(UPGRADE)
        client.recv(65536)
    client.sendall(KINDS[kind][0])
    client.setblocking(False)
    return client


def main(port: int, kind: str, seconds: float) -> None:
    ends = time.monotonic() + seconds
    clients = [flooding(port, kind) for _ in range(3)]
    frames = KINDS[kind][1] * 10_000
    sent = dict.fromkeys(clients, 0)
    while sent and time.monotonic() < ends:
        readable, writable, _ = select.select(sent, sent, [], 0.1)
        for client in set(readable) | set(writable):
            try:
                if client in readable and not client.recv(1_000_000):
                    del sent[client]
                elif client in writable:
                    at = sent[client] % len(frames)
                    sent[client] += client.send(frames[at : at + 100_000])
            except BlockingIOError:
                pass
            except ConnectionError:
                sent.pop(client, None)  # the server has closed it
    for client in clients:
        client.close()


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], float(sys.argv[3]))
