"""Latency: from POST /api/chat/messages to another client's `new-msg`, through the whole embedded product.

Starts `roomcast up` on free ports with a fresh data directory (a message is committed and synced to disk before it is
answered), connects one member over WebSocket and sends from another. Prints p50 and p99 of the way to the member's
socket, and of the POST itself, first one at a time and then at a steady rate.

    python benchmarks/latency.py --messages 500 --rate 100
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import platform
import socket
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import ExitStack
from pathlib import Path

from load import Client

CHAT = "bench"
START_LIMIT_S = 30.0


def free_port() -> int:
    """A port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def start_product(stack: ExitStack) -> tuple[int, int]:
    """Start `roomcast up`; returns the API's and the gateway's port."""
    api_port, gateway_port = free_port(), free_port()
    data = stack.enter_context(tempfile.TemporaryDirectory())
    command = [str(Path(sys.executable).with_name("roomcast")), "up", "--data", data]
    command += ["--api-port", str(api_port), "--gateway-port", str(gateway_port)]
    environment = {**os.environ, "ROOMCAST_RESPONDER": "none", "LOG_LEVEL": "warning"}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)

    def stop() -> None:
        process.terminate()
        process.wait(10)

    stack.callback(stop)
    deadline = time.monotonic() + START_LIMIT_S
    while time.monotonic() < deadline:
        try:
            for port in (api_port, gateway_port):
                connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
                connection.request("GET", "/health")
                connection.getresponse().read()
        except OSError:
            if process.poll() is not None:
                raise RuntimeError(f"roomcast up ended with {process.returncode}") from None
            time.sleep(0.05)
        else:
            return api_port, gateway_port
    raise TimeoutError(f"roomcast up did not answer within {START_LIMIT_S} s")


def percentile(values: list[float], share: float) -> float:
    """The value below which ``share`` of them lie."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


class Member(threading.Thread):
    """The other client: notes when each message reaches its socket."""

    def __init__(self, gateway_port: int, expected: int) -> None:
        super().__init__(daemon=True)
        self.arrived: dict[str, float] = {}
        self._expected = expected
        self._client = Client(gateway_port)
        self._client.call("join-chat", CHAT)

    def run(self) -> None:
        """Read until every expected message has come."""
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
    """Send ``messages`` one after the other, at most ``rate`` a second (0: as fast as they are answered)."""
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
    print(f"{platform.platform()}, {os.cpu_count()} cores; server and clients share them")
    with ExitStack() as stack:
        ports = start_product(stack)
        run(ports, 50, 0, "warm-up")
        run(ports, options.messages, 0, "one by one")
        run(ports, options.messages, options.rate, f"{options.rate:.0f} a second")
    return 0


if __name__ == "__main__":
    sys.exit(main())
