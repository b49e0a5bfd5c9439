"""One trace from the POST to the delivery in another process and to the answer, over a real Redis and a collector."""

from __future__ import annotations

import http.server
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from support.clients import ChatClient
from support.ports import free_port
from support.processes import ROOMCAST, Roomcast, clean_environment
from support.redis_server import RedisServer, environment, running
from support.spans import SAMPLED, TRACE_ID, UNSAMPLED
from support.waiting import until

CONTENT = "recognisable-content"
USER = "recognisable-name"


class Collector:
    """What processes have sent over OTLP/HTTP."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.spans: list[tuple[str, Span]] = []  # with the name of their service
        self.text = ""

    def take(self, body: bytes) -> None:
        request = ExportTraceServiceRequest.FromString(body)
        self.text += str(request)
        for resource in request.resource_spans:
            names = [item.value.string_value for item in resource.resource.attributes if item.key == "service.name"]
            self.spans += [(names[0], span) for scope in resource.scope_spans for span in scope.spans]

    def named(self, name: str) -> list[Span]:
        """The spans of the trace with this name."""
        return [span for _, span in self.spans if span.trace_id.hex() == TRACE_ID and span.name == name]

    def of_trace(self) -> set[tuple[str, str]]:
        """Service and name of the spans of the trace."""
        return {(service, span.name) for service, span in self.spans if span.trace_id.hex() == TRACE_ID}


@contextmanager
def running_collector() -> Iterator[Collector]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            collector.take(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_args: object) -> None:
            """Print nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        collector = Collector(f"http://127.0.0.1:{server.server_address[1]}")
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield collector
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisServer]:
    with running(RedisServer(tmp_path)) as server:
        yield server


def post(api: Roomcast, trace: str) -> httpx.Response:
    body = {"chatId": "c", "role": "USER", "content": f"{CONTENT} @ai", "userId": USER}
    return httpx.post(f"{api.api_url}/api/chat/messages", json=body, headers={"traceparent": trace}, timeout=10)


async def test_a_trace_reaches_the_delivery_in_another_process_and_the_answer(
    redis: RedisServer, tmp_path: Path
) -> None:
    with running_collector() as collector:
        traced = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url, "OTEL_BSP_SCHEDULE_DELAY": "100"}
        env = environment(redis, **traced) | {"ROOMCAST_RESPONDER": "demo"}
        with Roomcast.api(tmp_path / "data", env=env) as api, Roomcast.gateway(env=env) as gateway:
            async with ChatClient(gateway.gateway_url) as client:
                assert (await client.call("join-chat", "c"))["ok"] is True
                assert post(api, UNSAMPLED).status_code == 201
                assert post(api, SAMPLED).status_code == 201
                expected = {
                    ("roomcast-api", "POST /api/chat/messages"),
                    ("roomcast-api", "commit"),
                    ("roomcast-api", "publish event"),
                    ("roomcast-api", "answer turn"),
                    ("roomcast-api", "call responder"),
                    ("roomcast-gateway", "deliver event"),
                }
                await until(lambda: collector.of_trace() >= expected, limit_s=30)
                # The message, the start of its answer, and its end.
                await until(lambda: len(collector.named("deliver event")) >= 3, limit_s=30)
    (request,) = collector.named("POST /api/chat/messages")
    spans = [span for _, span in collector.spans]
    children = {span.name for span in spans if span.parent_span_id == request.span_id}
    assert children >= {"commit", "publish event", "deliver event", "answer turn"}
    (turn,) = collector.named("answer turn")
    assert {span.name for span in spans if span.parent_span_id == turn.span_id} >= {"commit", "call responder"}
    assert CONTENT not in collector.text
    assert USER not in collector.text


async def test_a_collector_that_is_away_costs_one_line_of_the_log(redis: RedisServer, tmp_path: Path) -> None:
    away = {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{free_port()}", "OTEL_BSP_SCHEDULE_DELAY": "50"}
    env = environment(redis, LOG_FORMAT="json", OTEL_EXPORTER_OTLP_TIMEOUT="1", **away)
    with Roomcast.api(tmp_path / "data", env=env) as api:
        for _ in range(5):
            assert post(api, SAMPLED).elapsed.total_seconds() < 2
            await until(lambda: "trace_exporter" in api.output, limit_s=30)
        code, took_s = api.stop()
    assert code == 0
    assert took_s < 5
    assert len([line for line in api.output.splitlines() if "trace_exporter" in line]) == 1


# The SDK reads the first one at its import.
@pytest.mark.parametrize("name", ["OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", "OTEL_ATTRIBUTE_COUNT_LIMIT"])
def test_an_invalid_variable_of_the_sdk_is_named(tmp_path: Path, name: str) -> None:
    env = clean_environment({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1", name: "many"})
    args = (str(ROOMCAST), "up", "--data", str(tmp_path))
    ended = subprocess.run(args, env=env, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 1
    (line,) = ended.stderr.splitlines()
    assert name in line
