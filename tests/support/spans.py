"""A tracer whose spans stay in memory."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from roomcast.observability.tracing import OtelTracer
from support.waiting import until

TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
SAMPLED = f"00-{TRACE_ID}-b7ad6b7169203331-01"
UNSAMPLED = f"00-{TRACE_ID}-b7ad6b7169203331-00"


class Spans:
    """What a tracer has recorded."""

    def __init__(self, tracer: OtelTracer, exporter: InMemorySpanExporter) -> None:
        self.tracer = tracer
        self._exporter = exporter

    def all(self) -> tuple[ReadableSpan, ...]:
        return self._exporter.get_finished_spans()

    def named(self, name: str) -> list[ReadableSpan]:
        return [span for span in self.all() if span.name == name]

    def one(self, name: str) -> ReadableSpan:
        (span,) = self.named(name)
        return span

    async def wait_for(self, name: str) -> ReadableSpan:
        """The first span of this name. Spans of background tasks end a few loop turns later."""
        found: list[ReadableSpan] = await until(lambda: self.named(name))
        return found[0]


@asynccontextmanager
async def recorded_spans() -> AsyncIterator[Spans]:
    """A tracer, and its spans."""
    exporter = InMemorySpanExporter()
    tracer = OtelTracer("roomcast-test", SimpleSpanProcessor(exporter))
    try:
        yield Spans(tracer, exporter)
    finally:
        await tracer.close()


def trace_id(span: ReadableSpan) -> str:
    """Its trace, as in a ``traceparent``."""
    return f"{span.context.trace_id:032x}"


def is_child(span: ReadableSpan, parent: ReadableSpan) -> bool:
    return span.parent is not None and span.parent.span_id == parent.context.span_id
