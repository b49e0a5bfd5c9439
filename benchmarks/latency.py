"""Latency: from POST /api/chat/messages to another client's `new-msg`, through the whole embedded product.

Starts `roomcast up` with an empty data directory, connects one member over WebSocket and sends from another client.
Prints p50 and p99 of the time to the member's socket and of the POST, first one message at a time, then at a steady
rate. The API answers a POST when the message is committed and synced to disk.

    python benchmarks/latency.py --messages 500 --rate 100
"""

from __future__ import annotations

import argparse
import http.client
import json
import socket
import sys
import tempfile
import threading
import time
from contextlib import ExitStack
from pathlib import Path

from load import Client
from servers import free_port, machine, spawn, wait_for

CHAT = "bench"


def start_product(stack: ExitStack) -> tuple[int, int]:
    """Start `roomcast up`; the API's and the gateway's port."""
    api_port, gateway_port = free_port(), free_port()
    data = stack.enter_context(tempfile.TemporaryDirectory())
    command = [str(Path(sys.executable).with_name("roomcast")), "up", "--data", data]
    command += ["--api-port", str(api_port), "--gateway-port", str(gateway_port)]
    wait_for(spawn(command, stack, env={"ROOMCAST_RESPONDER": "none", "LOG_LEVEL": "warning"}), "Ctrl-C")
    return api_port, gateway_port


def percentile(values: list[float], share: float) -> float:
    """The value below which that share of the values lies."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


class Member(threading.Thread):
    """The receiving client: records when each message reaches its socket."""

    def __init__(self, gateway_port: int, expected: int) -> None:
        super().__init__(daemon=True)
        self.arrived: dict[str, float] = {}
        self._expected = expected
        self._client = Client(gateway_port)
        self._client.call("join-chat", CHAT)

    def run(self) -> None:
        """Read until every expected message has arrived."""
        while len(self.arrived) < self._expected:
            text = self._client.receive()
            now = time.perf_counter()
            if text == "2":
                self._client.pong()
            elif text.startswith('42["new-msg"'):
                key = json.loads(text[2:])[1]["clientMsgId"]
                if key in self.arrived:
                    raise AssertionError(f"{key} was delivered twice")
                self.arrived[key] = now


def run(ports: tuple[int, int], messages: int, rate: float, label: str) -> None:
    """Send messages one after the other, at most ``rate`` a second; 0: each as soon as the last one is answered."""
    member = Member(ports[1], messages)
    member.start()
    connection = http.client.HTTPConnection("127.0.0.1", ports[0], timeout=10)
    connection.connect()
    connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sent: dict[str, float] = {}
    answered: list[float] = []
    started = time.perf_counter()
    for number in range(messages):
        if rate:
            time.sleep(max(0.0, started + number / rate - time.perf_counter()))
        key = f"{label}-{number}"
        body = json.dumps({"chatId": CHAT, "role": "USER", "content": "x" * 120, "clientMsgId": key})
        sent[key] = time.perf_counter()
        connection.request("POST", "/api/chat/messages", body, {"Content-Type": "application/json"})
        response = connection.getresponse()
        response.read()
        if response.status != http.client.CREATED:
            raise RuntimeError(f"POST answered {response.status}")
        answered.append(time.perf_counter() - sent[key])
    member.join(10)
    delivered = [member.arrived[key] - moment for key, moment in sent.items()]
    for name, values in (("POST to new-msg", delivered), ("POST answered", answered)):
        p50, p99 = percentile(values, 0.5) * 1000, percentile(values, 0.99) * 1000
        print(f"  {label:12} {name:16} p50 {p50:6.2f} ms   p99 {p99:6.2f} ms   max {max(values) * 1000:6.2f} ms")


def main() -> int:
    """Run both loads and print their figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--messages", type=int, default=500, help="messages of each run (default 500)")
    parser.add_argument("--rate", type=float, default=100.0, help="messages a second of the paced run (default 100)")
    options = parser.parse_args()
    print(f"{machine()}; server and clients share them")
    with ExitStack() as stack:
        ports = start_product(stack)
        run(ports, 50, 0, "warm-up")
        run(ports, options.messages, 0, "one by one")
        run(ports, options.messages, options.rate, f"{options.rate:.0f} a second")
    return 0


if __name__ == "__main__":
    sys.exit(main())
