"""The spans of distributed traces: what took how long, in which process, because of which request.

Where tracing is off there is no tracer (None), so that it costs one comparison.

Layer: chat. Contract suite: tests/contract/test_tracer.py. Source: W3C Trace Context; OpenTelemetry, "Trace semantic
conventions".
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Literal, Protocol

SpanKind = Literal["internal", "server", "client", "producer", "consumer"]
#: Ids of chats, messages and turns, sizes, outcomes: never content, names, tokens, or text that clients choose.
Attributes = Mapping[str, str | int | float | bool]


class Span(Protocol):
    """A span in progress."""

    @property
    def trace(self) -> str:
        """Its W3C ``traceparent``, for the spans that it causes in other processes."""

    def rename(self, name: str) -> None:
        """Replace the name."""

    def set(self, attributes: Attributes) -> None:
        """Add attributes, or replace their values."""

    def fail(self, kind: str) -> None:
        """Mark the span as failed, for example by ``unavailable``. An exception that leaves the span does so, too."""


class Tracer(Protocol):
    """Starts spans. A span whose parent is not sampled is not recorded, and neither are those that it causes."""

    @property
    def current(self) -> str | None:
        """The ``traceparent`` of the current span of this task; None if it has none."""

    def span(
        self, name: str, kind: SpanKind, attributes: Attributes, *, parent: str | None = None
    ) -> AbstractContextManager[Span]:
        """Start a span, which is the current one inside the ``with`` block and ends with it.

        Args:
            name: One of few names: no id is part of it.
            kind: Its role towards other processes.
            attributes: See `Attributes`.
            parent: The ``traceparent`` of another process's span, or of an event; if it is invalid, the span begins a
                new trace. None: the current span is the parent.
        """

    def record(self, name: str, kind: SpanKind, attributes: Attributes, *, parent: str, began_ns: int) -> None:
        """Record a span that ends now and began at ``began_ns`` (`time.time_ns`); the rest is as for `span`."""
