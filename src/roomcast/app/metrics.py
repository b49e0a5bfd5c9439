"""The metric families of each component. Dashboards depend on their names and labels.

Layer: app.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from roomcast import __version__
from roomcast.backoff import repeat_forever
from roomcast.chat.errors import StoreUnavailable
from roomcast.chat.files.options import OUTCOMES as UPLOAD_OUTCOMES
from roomcast.chat.use_cases.moderation import OUTCOMES
from roomcast.contract.errors import ErrorCode
from roomcast.gateway.delivery.counters import JOINS
from roomcast.histogram import Histogram
from roomcast.observability.metrics import Family
from roomcast.realtime.core.reasons import Reason
from roomcast.wire.engineio_http import TransportName
from roomcast.wire.engineio_refusals import HttpError
from roomcast.wire.errors import Fault
from roomcast.worker.push_deliveries import OUTCOMES as PUSH_OUTCOMES

if TYPE_CHECKING:
    from roomcast.api.durations import Key
    from roomcast.chat.delivery.relay import RelayCounters
    from roomcast.chat.files.options import FileCounters
    from roomcast.chat.use_cases.moderation import Moderation
    from roomcast.eventlog.redis import RedisEventLog
    from roomcast.gateway.service import Gateway
    from roomcast.limits.memory import MemoryRateLimiter
    from roomcast.limits.redis import RedisRateLimiter
    from roomcast.observability.connections import ConnectionLog
    from roomcast.observability.readiness import Readiness
    from roomcast.realtime.adapters.redis.counters import RedisAdapterCounters
    from roomcast.realtime.forwarding.redis_directory import RedisDirectory
    from roomcast.store.opening import Store
    from roomcast.store.queries.chats import SqlChatStore
    from roomcast.worker.counters import WorkerCounters
    from roomcast.worker.webhooks import WebhookWorker

#: Seconds between two reads of the outbox.
_OUTBOX_SAMPLE_S: Final = 5.0

#: The usual causes of refused handshakes.
_REFUSALS: Final = (
    "host",
    "origin",
    "request",
    "full",
    *(error.name.lower() for error in HttpError if error is not HttpError.FORBIDDEN),
)

_RESUMES: Final = ("read", "empty", ErrorCode.FORBIDDEN, ErrorCode.UNAVAILABLE)
_LOSSES: Final = ("closed", "deaf", "oversize", "protocol")
_LOG_DROPS: Final = (
    *("arguments", "encoding", "epoch", "frame header", "frame size", "head", "number", "record header"),
    *("seq", "signal size", "trace", "version"),
)
_ADAPTER_DROPS: Final = (
    *("malformed", "unknown-request", "oversize", "queue-full"),
    *("stale", "refused", "unpackable", "busy"),
)


def build_families() -> Iterator[Family]:
    """The running version."""
    yield Family("build_info", "The running version of Roomcast.", "gauge", {__version__: 1}, "version")


def connection_families(log: ConnectionLog) -> Iterator[Family]:
    """Engine.IO connections and Socket.IO events."""
    counts = log.counts
    opened = "Opened connections, by their first transport."
    yield Family("connections_opened", opened, "counter", _of(counts, "opened:", TransportName), "transport")
    yield Family("connections_closed", "Closed connections.", "counter", _of(counts, "closed:", Reason), "reason")
    refused = "Handshakes that were rejected."
    yield Family("handshakes_refused", refused, "counter", _of(counts, "refused:", _REFUSALS), "cause")
    malformed = "Protocol violations by clients."
    yield Family("protocol_errors", malformed, "counter", _of(counts, "malformed:", Fault), "fault")
    yield Family("connections_upgraded", "Polling sessions that upgraded to WebSocket.", "counter", counts["upgraded"])
    yield Family("slow_consumers_cut", "Slow clients that were disconnected.", "counter", counts["slow"])
    events = "Events from clients, by whether they have a handler."
    yield Family("client_events", events, "counter", _of(counts, "events:", ("handled", "unknown")), "outcome")
    yield Family("handler_failures", "Event handlers that raised an exception.", "counter", counts["handlers:failed"])


def gateway_families(gateway: Gateway) -> Iterator[Family]:
    """Connections, feeds, presence and forwarding of a gateway."""
    server, counters = gateway.server, gateway.feeds.counters
    transports = Counter(polling=0, websocket=0)
    transports.update(c.transport_name.value for c in server.engine.connections.values())
    yield Family("connections", "Open connections.", "gauge", transports, "transport")
    yield Family("chats_followed", "Chats with connected members on this gateway.", "gauge", len(gateway.feeds))
    yield Family("joins", "Requests to join a chat.", "counter", _all(JOINS, counters.joins), "outcome")
    yield Family("join_duration_seconds", "Joins, until the ack.", "histogram", counters.join_s, "outcome")
    yield Family("replay_duration_seconds", "Reads of the log for replays.", "histogram", counters.replay_s)
    delay = "From the time in an event to its emit, by the clocks of two machines; without answers of AI turns."
    yield Family("delivery_delay_seconds", delay, "histogram", counters.delivery_s)
    yield Family("events_replayed", "Events that joins replayed.", "counter", counters.replayed)
    yield Family("events_delivered", "Events emitted to rooms, once per chat.", "counter", counters.delivered)
    yield Family("answer_frames", "Frames of answers emitted to rooms.", "counter", gateway.answers.frames, "outcome")
    yield Family(
        "answer_resumes",
        "Answers so far that clients requested.",
        "counter",
        _all(_RESUMES, gateway.resumes.counters),
        "outcome",
    )
    yield Family(
        "feed_gaps",
        "Gaps in live feeds, bridged or left open.",
        "counter",
        _all(("bridged", "open"), counters.gaps),
        "outcome",
    )
    yield Family("resyncs", "Resyncs sent to rooms.", "counter", counters.resyncs)
    signals = _all(("sent", "heard", "malformed", "dropped"), gateway.signals.counters)
    yield Family("signals", "Signals between gateways.", "counter", signals, "outcome")
    presence = "Presence shared between gateways: failures, users kept without confirmation, rejected users."
    counts = _all(("failures", "doubts", "refused"), gateway.presence.counters)
    yield Family("presence", presence, "counter", counts, "outcome")
    forwarder = server.engine.forwarder
    if forwarder is not None:
        forwarded = "HTTP requests forwarded to the gateway that has the session."
        yield Family("requests_forwarded", forwarded, "counter", forwarder.forwarded)
        yield Family("websockets_piped", "WebSockets that are piped to another gateway.", "gauge", len(forwarder.pipes))


def log_families(log: RedisEventLog) -> Iterator[Family]:
    """The event log in Redis."""
    counters = log.counters
    failures = {outcome.name: outcome.failures for outcome in (log.appends, log.reads, log.live_feed)}
    yield Family("log_failures", "Failed uses of Redis by the log.", "counter", failures, "use")
    yield Family("log_appended", "Entries appended to logs.", "counter", counters.appended)
    unstored = "Entries published without being stored, because Redis refuses writes."
    yield Family("log_unstored", unstored, "counter", counters.unstored)
    yield Family("log_gaps", "Appends that found a gap or no log.", "counter", counters.gaps)
    yield Family("log_replays", "Reads that returned every requested entry.", "counter", counters.replays)
    yield Family("log_refused_replays", "Reads that the log could not serve.", "counter", counters.refused_replays)
    yield Family("log_cut", "Entries too large for the log.", "counter", counters.cut)
    yield Family("log_frames", "Messages received by the live feed.", "counter", counters.frames)
    dropped = _all(_LOG_DROPS, counters.dropped)
    yield Family("log_dropped", "Malformed messages and records.", "counter", dropped, "reason")
    yield Family("log_connects", "Connections opened by the live feed.", "counter", counters.connects)
    losses = _all(_LOSSES, counters.losses)
    yield Family("log_losses", "Connections lost by the live feed.", "counter", losses, "cause")
    yield Family("log_lag_seconds", "Time from publishing to receiving the latest probe.", "gauge", counters.lag_s)


def adapter_families(counters: RedisAdapterCounters) -> Iterator[Family]:
    """The adapter that is shared with Node servers."""
    yield Family("adapter_published", "Messages published to other Socket.IO servers.", "counter", counters.published)
    yield Family("adapter_received", "Messages from other servers that were applied.", "counter", counters.received)
    yield Family("adapter_answered", "Requests from other servers that were answered.", "counter", counters.answered)
    dropped = _all(_ADAPTER_DROPS, counters.dropped)
    yield Family("adapter_dropped", "Messages that could not be sent or parsed.", "counter", dropped, "reason")
    losses = _all((*_LOSSES, "moved", "refused"), counters.losses)
    yield Family("adapter_losses", "Connections lost by the adapter.", "counter", losses, "cause")
    yield Family("adapter_lag_seconds", "Time from publishing to receiving the latest probe.", "gauge", counters.lag_s)


def ingress_families(counters: Counter[str]) -> Iterator[Family]:
    """The guide's channel ``chat:events``."""
    yield Family(
        "ingress_events",
        "Events received from chat:events.",
        "counter",
        _all(("delivered", "malformed"), counters),
        "outcome",
    )


def directory_families(directory: RedisDirectory) -> Iterator[Family]:
    """The directory of gateways."""
    yield Family("gateways", "Running gateways, including this one.", "gauge", len(directory.alive()))


def http_families(durations: Mapping[Key, Histogram]) -> Iterator[Family]:
    """The requests of the API, public and internal."""
    text = "Time until the response begins."
    yield Family("http_request_duration_seconds", text, "histogram", durations, "method,route,status")


def redis_families(durations: Mapping[str, Histogram]) -> Iterator[Family]:
    """Commands to Redis."""
    text = "Commands to Redis, with the wait for a connection and all attempts."
    yield Family("redis_duration_seconds", text, "histogram", durations, "use")


def limit_families(limiter: MemoryRateLimiter) -> Iterator[Family]:
    """The rate limits, as this process applies them."""
    yield Family("limit_refusals", "What a rate limit has refused.", "counter", limiter.refused, "limit")
    yield Family("limit_keys", "Users, addresses and chats that are counted.", "gauge", limiter.keys, "limit")


def moderation_families(moderation: Moderation) -> Iterator[Family]:
    """The moderation hook."""
    text = "Texts by the outcome of their review; failed, paused and busy: there was no verdict."
    yield Family("moderation_reviews", text, "counter", _all(OUTCOMES, moderation.outcomes), "outcome")
    yield Family("moderation_duration_seconds", "Times until a verdict.", "histogram", moderation.durations)


def file_families(counters: FileCounters) -> Iterator[Family]:
    """Uploaded files."""
    uploads = _all(UPLOAD_OUTCOMES, counters.uploads)
    yield Family("file_uploads", "Uploads of files by outcome.", "counter", uploads, "outcome")
    yield Family("file_bytes", "Total size of the stored files.", "counter", counters.stored_bytes)
    yield Family("files_removed", "Files whose contents were deleted.", "counter", counters.removed)


def shared_limit_families(limiter: RedisRateLimiter) -> Iterator[Family]:
    """The rate limits that processes share."""
    reports = "Counts of one user, address or chat that were shared, or lost because Redis did not answer."
    yield Family("limit_reports", reports, "counter", limiter.reports, "outcome")
    together = "1: processes count together; 0: Redis is away, and each process limits by itself."
    yield Family("limits_shared", together, "gauge", limiter.outcome.error is None)


def readiness_families(readiness: Readiness) -> Iterator[Family]:
    """The state that ``/ready`` answers with."""
    yield Family("ready", "Whether the process is ready.", "gauge", not readiness.reasons)
    up = "Whether a service works for this process, and whether a listener receives."
    yield Family("service_up", up, "gauge", readiness.services_up(), "service")


class Outbox:
    """The committed events that are not published.

    Args:
        store: The store, which any process may write to.
    """

    def __init__(self, store: SqlChatStore) -> None:
        self._store = store
        self._size = 0
        self._oldest: datetime | None = None

    async def run(self) -> None:
        """Read the size until cancelled. While the database is away the age of the oldest event still grows."""
        await repeat_forever(self._sample, _OUTBOX_SAMPLE_S, "counting the events in the outbox", StoreUnavailable)

    async def _sample(self) -> None:
        self._size, self._oldest = await self._store.backlog()

    def families(self) -> Iterator[Family]:
        """The size and the age of the latest sample."""
        age_s = _age_s(self._oldest)
        yield Family("outbox_events", "Committed events that are not published, at most 10,000.", "gauge", self._size)
        yield Family("outbox_oldest_seconds", "Age of the oldest of these events; 0: there is none.", "gauge", age_s)


def store_families(store: Store) -> Iterator[Family]:
    """The database."""
    commits = "Writes, from their arrival to the commit on the disk."
    yield Family("commit_duration_seconds", commits, "histogram", store.chats.commit_s)
    text = "Transactions, with the wait for a connection and all attempts."
    yield Family("database_duration_seconds", text, "histogram", store.durations, "operation")
    connections = "Connections that are used and idle, and calls that are waiting for one."
    yield Family("database_connections", connections, "gauge", store.connections, "state")


def relay_families(counters: RelayCounters) -> Iterator[Family]:
    """The relay."""
    yield Family(
        "relay_published", "Events appended to the log directly after their commit.", "counter", counters.appended
    )
    yield Family(
        "relay_mended", "Times that the relay updated a log from the events table.", "counter", counters.caught_up
    )
    yield Family("relay_put_off", "Failed attempts to publish, which are retried.", "counter", counters.deferred)


def activity_families(counters: Counter[str], reads: Counter[str]) -> Iterator[Family]:
    """Announcements of activity in chats, and of what users have read."""
    counts = _all(("announced", "coalesced", "curtailed", "dropped", "failed", "lost", "unavailable"), counters)
    yield Family("activity_announcements", "Announcements of activity in chats.", "counter", counts, "outcome")
    counts = _all(("announced", "dropped", "lost"), reads)
    yield Family("read_announcements", "Announcements of what users have read.", "counter", counts, "outcome")


def push_families(counters: Counter[str], messages: Counter[str]) -> Iterator[Family]:
    """Pushes to devices."""
    counts = _all(PUSH_OUTCOMES, counters)
    repeated = counts.pop("repeated", 0)
    yield Family("pushes", "Pushes to devices, by outcome.", "counter", counts, "outcome")
    yield Family("pushes_repeated", "Further attempts to send a push.", "counter", repeated)
    curtailed = "Messages that were pushed to the first devices of a chat only."
    yield Family("pushes_curtailed", curtailed, "counter", messages["curtailed"])


def worker_families(counters: WorkerCounters) -> Iterator[Family]:
    """AI turns that this process answers."""
    from roomcast.worker.counters import ENDS, FAILURES

    yield Family("ai_turns_active", "AI turns that are being answered.", "gauge", counters.active)
    waiting = "Queued AI turns, for all workers."
    yield Family("ai_turns_waiting", waiting, "gauge", counters.waiting)
    oldest = "Time that the oldest turn waits which a worker could claim; 0: there is none."
    yield Family("ai_turns_oldest_waiting_seconds", oldest, "gauge", _age_s(counters.waits_since))
    ended = "Ended AI turns, by status and reason."
    yield Family("ai_turns_ended", ended, "counter", _all(ENDS, counters.ends), "outcome")
    waited = "Times from the claim of a turn to its first published chunk."
    yield Family("ai_first_chunk_seconds", waited, "histogram", counters.first_chunk_s)
    yield Family("ai_characters", "Characters that responders yielded.", "counter", counters.characters)
    yield Family("ai_chunks", "Published chunks, after merging.", "counter", counters.chunks)
    yield Family("ai_frames", "Published frames of chunks.", "counter", counters.frames)
    rewritten = "Streams of answers that were written again."
    causes = _all(("lost", "compacted", "reviewed"), counters.seeds)
    yield Family("ai_streams_rewritten", rewritten, "counter", causes, "cause")
    yield Family(
        "ai_responder_failures", "Failures of responders.", "counter", _all(FAILURES, counters.failures), "kind"
    )
    yield Family(
        "ai_tokens",
        "Tokens, as providers count them.",
        "counter",
        _all(("input", "output"), counters.tokens),
        "direction",
    )


def webhook_families(worker: WebhookWorker) -> Iterator[Family]:
    """Webhooks that this process sends for."""
    counters = worker.counters
    attempts = "Requests to webhooks, and events that are not tried any more."
    counts = _all(("delivered", "failed", "dead"), counters.attempts)
    yield Family("webhook_attempts", attempts, "counter", counts, "outcome")
    yield Family("webhook_duration_seconds", "Requests to webhooks.", "histogram", counters.durations)
    states = "Webhooks that this process sends for; away: all requests fail."
    yield Family("webhooks", states, "gauge", worker.states, "state")
    waiting = "Events of these webhooks that failed and will be tried again, and those behind them."
    yield Family("webhook_events_waiting", waiting, "gauge", worker.waiting)


def _age_s(since: datetime | None) -> float:
    """Seconds since then; 0 if None, or if the clock of the machine that gave the time is ahead."""
    return 0.0 if since is None else max(0.0, (datetime.now(UTC) - since).total_seconds())


def _of(counts: Mapping[str, int], prefix: str, expected: Iterable[str]) -> dict[str, float]:
    return dict.fromkeys(map(str, expected), 0.0) | {
        name.removeprefix(prefix): count for name, count in counts.items() if name.startswith(prefix)
    }


def _all(expected: Iterable[str], counts: Mapping[str, float]) -> dict[str, float]:
    """The counts, and 0 for what has not occurred: a series that begins with its first event hides that event."""
    return dict.fromkeys(map(str, expected), 0.0) | dict(counts)
