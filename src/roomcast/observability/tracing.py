"""Traces over OpenTelemetry: the implementation of `chat.ports.Tracer`.

Imported only if traces are configured, since the packages are optional (``roomcast[otel]``). The SDK reads its own
variables (``OTEL_…``): endpoint, headers, service name, sampler, sizes of queue and batch.

A thread of the SDK sends the spans. Its queue is bounded, so that a collector that is away or slow costs spans and
nothing else.

Layer: observability. Source: OpenTelemetry, "SDK configuration"; W3C Trace Context.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import uuid
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Final

from opentelemetry import trace as otel
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from roomcast import __version__
from roomcast.chat.ports import Attributes, SpanKind
from roomcast.observability.log_context import log_context

logger = logging.getLogger(__name__)

#: Longest time for sending the last spans when the process ends. With the other time limits of a shutdown it is 5 s.
FLUSH_LIMIT_S: Final = 0.25

_KINDS: Final[dict[SpanKind, otel.SpanKind]] = {
    "internal": otel.SpanKind.INTERNAL,
    "server": otel.SpanKind.SERVER,
    "client": otel.SpanKind.CLIENT,
    "producer": otel.SpanKind.PRODUCER,
    "consumer": otel.SpanKind.CONSUMER,
}
_PROPAGATOR: Final = TraceContextTextMapPropagator()
#: The loggers of the SDK that report each failed batch, and each span that the full queue drops.
_NOISY: Final = ("opentelemetry.exporter.otlp.proto.http.trace_exporter", "opentelemetry.sdk._shared_internal")


class OtelSpan:
    """`roomcast.chat.ports.Span`."""

    __slots__ = ("_span",)

    def __init__(self, span: otel.Span) -> None:
        self._span = span

    @property
    def trace(self) -> str:
        """See the port."""
        return _traceparent(self._span.get_span_context())

    def rename(self, name: str) -> None:
        """See the port."""
        self._span.update_name(name)

    def set(self, attributes: Attributes) -> None:
        """See the port."""
        self._span.set_attributes(attributes)

    def fail(self, kind: str) -> None:
        """See the port."""
        self._span.set_status(otel.StatusCode.ERROR)
        self._span.set_attribute("error.type", kind)


class OtelTracer:
    """`roomcast.chat.ports.Tracer`. Log lines inside a span have its ids, as ``traceId`` and ``spanId``.

    Args:
        service: The kind of the process, such as ``roomcast-gateway``, unless ``OTEL_SERVICE_NAME`` names another.
        processor: Receives the spans; None: they are sent to the collector.

    Raises:
        ValueError: a variable of the SDK is invalid.
    """

    def __init__(self, service: str, processor: SpanProcessor | None = None) -> None:
        own = {"service.name": service, "service.version": __version__, "service.instance.id": str(uuid.uuid4())}
        resource = Resource.create(own).merge(OTELResourceDetector().detect())
        self._once = _Once()
        # Not at the exit of the interpreter, which would wait for the collector: `close` has a limit.
        self._provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        self._provider.add_span_processor(processor or BatchSpanProcessor(_Reporting(OTLPSpanExporter(), self._once)))
        for name in _NOISY:
            logging.getLogger(name).addFilter(self._once)
        self._tracer = self._provider.get_tracer("roomcast", __version__)

    @property
    def current(self) -> str | None:
        """See the port."""
        context = otel.get_current_span().get_span_context()
        return _traceparent(context) if context.is_valid else None

    @contextmanager
    def span(
        self, name: str, kind: SpanKind, attributes: Attributes, *, parent: str | None = None
    ) -> Iterator[OtelSpan]:
        """See the port."""
        started = self._tracer.start_span(name, _context(parent), _KINDS[kind], attributes)
        span, context = OtelSpan(started), started.get_span_context()
        # The texts of exceptions may have content, so that they are not recorded.
        with (
            otel.use_span(started, end_on_exit=True, record_exception=False, set_status_on_exception=False),
            log_context(trace_id=f"{context.trace_id:032x}", span_id=f"{context.span_id:016x}"),
        ):
            try:
                yield span
            except Exception as error:
                span.fail(type(error).__name__)
                raise

    def record(self, name: str, kind: SpanKind, attributes: Attributes, *, parent: str, began_ns: int) -> None:
        """See the port."""
        self._tracer.start_span(name, _context(parent), _KINDS[kind], attributes, start_time=began_ns).end()

    async def close(self) -> None:
        """Send the last spans, within ``FLUSH_LIMIT_S``."""
        closed: Future[None] = Future()

        def shut_down() -> None:
            self._provider.shutdown()
            closed.set_result(None)

        # A daemon: Python would wait for the threads of an executor.
        threading.Thread(target=shut_down, name="close traces", daemon=True).start()
        _, late = await asyncio.wait({asyncio.wrap_future(closed)}, timeout=FLUSH_LIMIT_S)
        if late:
            logger.warning("the last spans were not sent: the collector did not take them within %s s", FLUSH_LIMIT_S)
        for name in _NOISY:
            logging.getLogger(name).removeFilter(self._once)


def _context(parent: str | None) -> Context | None:
    """The context with this parent; an empty one if the ``traceparent`` is invalid; None: the current context."""
    return None if parent is None else _PROPAGATOR.extract({"traceparent": parent}, Context())


def _traceparent(context: otel.SpanContext) -> str:
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"


class _Once(logging.Filter):
    """Passes the first line of each logger since the last `reset`."""

    def __init__(self) -> None:
        super().__init__()
        self._seen: set[str] = set()

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the record is the first one of its logger."""
        if record.name in self._seen:
            return False
        self._seen.add(record.name)
        return True

    def reset(self, name: str) -> bool:
        """Let the next line of this logger pass. Return whether one was logged."""
        seen = name in self._seen
        self._seen.discard(name)
        return seen


class _Reporting(SpanExporter):
    """Logs the end of consecutive failures, whose first one the exporter has logged."""

    def __init__(self, exporter: SpanExporter, once: _Once) -> None:
        self._exporter = exporter
        self._once = once

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Send a batch."""
        result = self._exporter.export(spans)
        if result is SpanExportResult.SUCCESS and self._once.reset(_NOISY[0]):
            logger.info("the collector takes spans again")
        return result

    def shutdown(self) -> None:
        """Close the connections."""
        self._exporter.shutdown()
