"""Growing answers: the lag from a provider's token to the sockets of the viewers, and the ceiling of one core.

Starts `roomcast up` with an empty data directory, on a core of its own; provider and viewers use the other. Each
answer has a chat and a viewer of its own. Every token is the time at which the provider wrote it, so a viewer computes
the lag of each token that it reads. Three servers:

    function   an async generator in the server's process (as the demo responder, without a provider)
    openai     Chat Completions over HTTP from the provider in the load generator
    peer       python-socketio on uvicorn, with one emit per token, as Chainlit sends them

With `--redis` the product appends the answers to a Redis on the other core, and its gateway subscribes there.

    python benchmarks/answers.py --answers 100 --rate 50 --seconds 10 openai
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import http.client
import json
import os
import select
import sys
import tempfile
import threading
import time
from contextlib import ExitStack
from pathlib import Path

from load import RECEIVE_BYTES, Client
from servers import SERVER_CPU, free_port, machine, percentile, spawn, start_redis, wait_for

HERE = Path(__file__).parent
SERVERS = ("function", "openai", "peer")
#: What a run may take longer than its answers.
GRACE_S = 30.0


class Provider(threading.Thread):
    """An HTTP server that answers every request with a stream of Chat Completions chunks."""

    def __init__(self, rate: float, tokens: int) -> None:
        super().__init__(daemon=True)
        self.port = free_port()
        self._rate = rate
        self._tokens = tokens
        self._ready = threading.Event()

    def start(self) -> None:
        """Start, and wait until the port accepts connections."""
        super().start()
        self._ready.wait()

    def run(self) -> None:
        """Serve until the process ends."""
        asyncio.run(self._serve())

    async def _serve(self) -> None:
        server = await asyncio.start_server(self._answer, "127.0.0.1", self.port, backlog=1_024)
        self._ready.set()
        await server.serve_forever()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
        await reader.readexactly(int(length.split(b":")[1]))
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n")
        started = time.perf_counter()
        for number in range(self._tokens):
            await asyncio.sleep(max(0.0, started + number / self._rate - time.perf_counter()))
            delta = {"choices": [{"index": 0, "delta": {"content": token()}, "finish_reason": None}]}
            writer.write(b"data: " + json.dumps(delta).encode() + b"\n\n")
        end = {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
        writer.write(b"data: " + json.dumps(end).encode() + b"\n\ndata: [DONE]\n\n")
        with contextlib.suppress(ConnectionError):
            await writer.drain()
        writer.close()


def token() -> str:
    """One token: the time in microseconds, on the monotonic clock that all processes share."""
    return f"{time.monotonic_ns() // 1_000} "


class Viewers:
    """Sockets that collect the lag of each token."""

    def __init__(self, clients: list[Client]) -> None:
        self.lags_s: list[float] = []
        self.frames = 0
        self.size_bytes = 0
        self._poll = select.epoll()
        self._clients = {client.socket.fileno(): client for client in clients}
        self._buffers = dict.fromkeys(self._clients, b"")
        for descriptor, client in self._clients.items():
            client.socket.setblocking(False)
            self._poll.register(descriptor, select.EPOLLIN)

    def read(self, tokens: int, timeout_s: float) -> None:
        """Read until that number of tokens has arrived.

        Raises:
            TimeoutError: fewer arrived within ``timeout_s``.
        """
        deadline = time.perf_counter() + timeout_s
        while len(self.lags_s) < tokens:
            for descriptor, _ in self._poll.poll(1.0):
                self._read_from(descriptor)
            if time.perf_counter() > deadline:
                raise TimeoutError(f"{len(self.lags_s)} of {tokens} tokens within {timeout_s:.0f} s")
        if len(self.lags_s) > tokens:
            raise AssertionError(f"{len(self.lags_s)} tokens instead of {tokens}: some arrived twice")

    def _read_from(self, descriptor: int) -> None:
        client = self._clients[descriptor]
        data = self._buffers[descriptor] + client.socket.recv(RECEIVE_BYTES)
        now = time.monotonic_ns() // 1_000
        start = 0
        while (found := next_frame(data, start)) is not None:
            text, start = found
            if text == b"2":
                client.pong()
            elif text.startswith((b'42["ai-chunk"', b'42["token"')):
                self._take(text, now)
        self._buffers[descriptor] = data[start:]

    def _take(self, text: bytes, now: int) -> None:
        self.frames += 1
        self.size_bytes += len(text)
        _, payload = json.loads(text[2:])
        deltas = [payload] if isinstance(payload, str) else [chunk.get("delta", "") for chunk in payload["chunks"]]
        self.lags_s.extend((now - int(written)) / 1e6 for delta in deltas for written in delta.split())

    def close(self) -> None:
        """Close every socket."""
        self._poll.close()
        for client in self._clients.values():
            client.socket.close()


def next_frame(data: bytes, start: int) -> tuple[bytes, int] | None:
    """The payload of the unmasked frame at ``start`` and the position after it; None if it is not complete."""
    if len(data) < start + 2:
        return None
    length, begin = data[start + 1], start + 2
    if length == 126:
        length, begin = int.from_bytes(data[begin : begin + 2]), begin + 2
    elif length == 127:
        length, begin = int.from_bytes(data[begin : begin + 8]), begin + 8
    end = begin + length
    return None if len(data) < end else (data[begin:end], end)


def start_product(stack: ExitStack, environment: dict[str, str]) -> tuple[int, int, int]:
    """Start `roomcast up`; the API's and the gateway's port, and the process id."""
    api_port, gateway_port = free_port(), free_port()
    data = stack.enter_context(tempfile.TemporaryDirectory())
    command = [str(Path(sys.executable).with_name("roomcast")), "up", "--data", data]
    command += ["--api-port", str(api_port), "--gateway-port", str(gateway_port)]
    process = spawn(command, stack, SERVER_CPU, {"LOG_LEVEL": "warning", "PYTHONPATH": str(HERE), **environment})
    wait_for(process, "Ctrl-C")
    return api_port, gateway_port, process.pid


def ask(api_port: int, chats: list[str]) -> None:
    """Send one message to each chat."""
    connection = http.client.HTTPConnection("127.0.0.1", api_port, timeout=30)
    for chat in chats:
        body = json.dumps({"chatId": chat, "role": "USER", "content": "go"})
        connection.request("POST", "/api/chat/messages", body, {"Content-Type": "application/json"})
        response = connection.getresponse()
        response.read()
        if response.status != http.client.CREATED:
            raise RuntimeError(f"POST answered {response.status}")


def cpu_s(pid: int) -> float:
    """Processor time of a process so far, in seconds."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def measure(server: str, answers: int, rate: float, seconds: float, *, redis: bool) -> None:
    """Run one server, and print its figures."""
    tokens = int(rate * seconds)
    environment = {"BENCH_RATE": str(rate), "BENCH_TOKENS": str(tokens), "ROOMCAST_WORKER_TURNS": str(answers)}
    chats = [f"bench-{number}" for number in range(answers)]
    with ExitStack() as stack:
        if server == "peer":
            port = free_port()
            command = [sys.executable, str(HERE / "answers_peer.py"), str(port)]
            process = spawn(command, stack, SERVER_CPU, environment)
            wait_for(process, "ready")
            pid, api_port = process.pid, 0
            clients = [Client(port) for _ in chats]
        else:
            if server == "openai":
                provider = Provider(rate, tokens)
                provider.start()
                url = f"http://127.0.0.1:{provider.port}/v1"
                environment |= {"ROOMCAST_RESPONDER": "openai", "OPENAI_BASE_URL": url, "OPENAI_API_KEY": "bench"}
                environment |= {"OPENAI_MODEL": "bench"}
            else:
                environment["ROOMCAST_RESPONDER"] = "answers_responder:answer"
            if redis:
                environment |= {"REDIS_HOST": "127.0.0.1", "REDIS_PORT": str(start_redis(stack)[0])}
            api_port, port, pid = start_product(stack, environment)
            clients = [Client(port) for _ in chats]
            for chat, client in zip(chats, clients, strict=True):
                client.call("join-chat", {"chatId": chat, "stream": True})
        viewers = Viewers(clients)
        stack.callback(viewers.close)
        before, started = cpu_s(pid), time.perf_counter()
        if server == "peer":
            for client in clients:
                client.socket.setblocking(True)
                client.emit("go")
                client.socket.setblocking(False)
        else:
            threading.Thread(target=ask, args=(api_port, chats), daemon=True).start()
        viewers.read(answers * tokens, seconds + GRACE_S)
        took_s, used_s = time.perf_counter() - started, cpu_s(pid) - before
    lags = [percentile(viewers.lags_s, share) * 1_000 for share in (0.5, 0.99)]
    total = answers * tokens
    print(
        f"  {server:9} {answers:4} answers  lag p50 {lags[0]:7.1f} ms  p99 {lags[1]:7.1f} ms"
        f"  {total / took_s:8,.0f} tokens/s  core {used_s / took_s:4.0%}  {total / used_s:8,.0f} tokens per core second"
        f"  {viewers.size_bytes / total:5.1f} B a token in {viewers.frames / total:4.2f} frames",
        flush=True,
    )


def main() -> int:
    """Run the chosen servers and print their figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("only", nargs="*", metavar="SERVER", help=f"which: {', '.join(SERVERS)} (default: all)")
    parser.add_argument("--answers", type=int, default=100, help="concurrent answers (default 100)")
    parser.add_argument("--rate", type=float, default=50.0, help="tokens a second of each answer (default 50)")
    parser.add_argument("--seconds", type=float, default=10.0, help="length of an answer (default 10)")
    parser.add_argument("--redis", action="store_true", help="stream through a Redis instead of memory")
    options = parser.parse_args()
    if unknown := set(options.only) - set(SERVERS):
        parser.error(f"no such server: {', '.join(sorted(unknown))}")
    print(f"{machine()}; the server on one, provider and viewers on the other")
    for server in options.only or SERVERS:
        measure(server, options.answers, options.rate, options.seconds, redis=options.redis)
    return 0


if __name__ == "__main__":
    sys.exit(main())
