"""The port `chat.ports.Tracer`, for its implementation over OpenTelemetry."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import time

import pytest
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

from roomcast.observability.logs import LogOptions, configure_logging
from roomcast.observability.tracing import OtelTracer

TRACE = "0af7651916cd43dd8448eb211c80319c"
SAMPLED = f"00-{TRACE}-b7ad6b7169203331-01"
UNSAMPLED = f"00-{TRACE}-b7ad6b7169203331-00"


@pytest.fixture
def spans() -> InMemorySpanExporter:
    return InMemorySpanExporter()


@pytest.fixture
async def tracer(spans):
    tracer = OtelTracer("roomcast-test", SimpleSpanProcessor(spans))
    yield tracer
    await tracer.close()


def test_a_span_continues_the_trace_of_its_parent(tracer, spans) -> None:
    with tracer.span("request", "server", {"roomcast.chat.id": "c"}, parent=SAMPLED) as span:
        assert span.trace == tracer.current
        assert span.trace.split("-")[1] == TRACE
    (found,) = spans.get_finished_spans()
    assert (found.name, found.kind.name, dict(found.attributes)) == ("request", "SERVER", {"roomcast.chat.id": "c"})
    assert f"{found.parent.span_id:016x}" == "b7ad6b7169203331"
    assert tracer.current is None


def test_a_span_inside_another_one_is_its_child(tracer, spans) -> None:
    with tracer.span("outer", "server", {}) as outer, tracer.span("inner", "client", {}):
        pass
    inner = spans.get_finished_spans()[0]
    assert f"-{inner.parent.span_id:016x}-" in outer.trace


async def test_a_task_has_the_current_span_of_its_creator_and_not_of_its_siblings(tracer, spans) -> None:
    async def work(name: str) -> None:
        with tracer.span(name, "internal", {}):
            await asyncio.sleep(0)
            with tracer.span(f"child of {name}", "internal", {}):
                await asyncio.sleep(0)

    with tracer.span("root", "server", {}):
        await asyncio.gather(work("a"), work("b"))
    found = {span.name: span for span in spans.get_finished_spans()}
    for name in ("a", "b"):
        assert found[f"child of {name}"].parent.span_id == found[name].context.span_id
        assert found[name].parent.span_id == found["root"].context.span_id


@pytest.mark.parametrize(
    "parent", ["", "garbage", f"00-{'0' * 32}-b7ad6b7169203331-01", SAMPLED.replace("00-", "ff-", 1)]
)
def test_an_invalid_parent_begins_a_new_trace(tracer, spans, parent) -> None:
    with tracer.span("outer", "server", {}), tracer.span("request", "server", {}, parent=parent):
        pass
    found = spans.get_finished_spans()[0]
    assert found.parent is None
    assert f"{found.context.trace_id:032x}" != TRACE


def test_what_an_unsampled_parent_causes_is_not_recorded(tracer, spans) -> None:
    with tracer.span("request", "server", {}, parent=UNSAMPLED) as span:
        assert span.trace.split("-")[1] == TRACE
        assert span.trace.endswith("-00")
        tracer.record("commit", "client", {}, parent=span.trace, began_ns=time.time_ns())
        span.set({"roomcast.chat.id": "c"})
        with tracer.span("inner", "internal", {}):
            pass
    assert spans.get_finished_spans() == ()


def test_a_recorded_span_began_when_it_is_said_to(tracer, spans) -> None:
    began_ns = time.time_ns() - 5_000_000
    tracer.record("commit", "client", {"db.system.name": "sqlite"}, parent=SAMPLED, began_ns=began_ns)
    (found,) = spans.get_finished_spans()
    assert found.start_time == began_ns
    assert found.end_time >= began_ns + 5_000_000
    assert f"{found.context.trace_id:032x}" == TRACE


def test_an_exception_fails_the_span_with_its_class_and_without_its_text(tracer, spans) -> None:
    with pytest.raises(ValueError, match="hunter2"), tracer.span("request", "server", {}):
        raise ValueError("password hunter2")
    (found,) = spans.get_finished_spans()
    assert found.status.status_code is StatusCode.ERROR
    assert dict(found.attributes) == {"error.type": "ValueError"}
    assert "hunter2" not in found.to_json()


async def test_a_cancelled_span_ends_without_an_error(tracer, spans) -> None:
    async def wait() -> None:
        with tracer.span("join", "server", {}):
            await asyncio.Event().wait()

    task = asyncio.create_task(wait())
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    (found,) = spans.get_finished_spans()
    assert found.status.status_code is StatusCode.UNSET


def test_log_lines_inside_a_span_have_its_ids(tracer) -> None:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    out = io.StringIO()
    try:
        root.handlers = []
        configure_logging(LogOptions(format="json"), out)
        with tracer.span("request", "server", {}, parent=SAMPLED) as span:
            logging.getLogger("x").info("inside")
        logging.getLogger("x").info("outside")
    finally:
        root.handlers = handlers
        root.setLevel(level)
    inside, outside = map(json.loads, out.getvalue().splitlines())
    assert (inside["traceId"], inside["spanId"]) == tuple(span.trace.split("-")[1:3])
    assert not {"traceId", "spanId"} & outside.keys()


def test_the_environment_names_the_service_and_its_resource(monkeypatch) -> None:
    monkeypatch.setenv("OTEL_SERVICE_NAME", "chat")
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test")
    spans = InMemorySpanExporter()
    tracer = OtelTracer("roomcast-test", SimpleSpanProcessor(spans))
    tracer.record("commit", "client", {}, parent="", began_ns=0)
    resource = spans.get_finished_spans()[0].resource.attributes
    assert resource["service.name"] == "chat"
    assert resource["deployment.environment.name"] == "test"
    assert {"service.version", "service.instance.id"} <= resource.keys()


@pytest.mark.parametrize(("sampler", "count"), [("parentbased_always_off", 0), ("always_on", 1)])
def test_the_environment_names_the_sampler(monkeypatch, sampler, count) -> None:
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", sampler)
    spans = InMemorySpanExporter()
    tracer = OtelTracer("roomcast-test", SimpleSpanProcessor(spans))
    with tracer.span("request", "server", {}, parent=""):
        pass
    assert len(spans.get_finished_spans()) == count
