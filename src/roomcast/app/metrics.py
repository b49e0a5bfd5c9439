"""What each part counts, in the form of metrics. Names and texts are the contract with dashboards.

Layer: app.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from roomcast import __version__
from roomcast.observability.metrics import Family

if TYPE_CHECKING:
    from roomcast.chat.relay import RelayCounters
    from roomcast.eventlog.redis import RedisLogCounters
    from roomcast.gateway.service import Gateway
    from roomcast.observability.connections import ConnectionLog
    from roomcast.realtime.adapters.redis.counters import RedisAdapterCounters
    from roomcast.realtime.forwarding.redis_directory import RedisDirectory


def build_families() -> Iterator[Family]:
    """Which release this is."""
    yield Family("build_info", "The release that runs.", "gauge", {__version__: 1}, "version")


def connection_families(log: ConnectionLog) -> Iterator[Family]:
    """Of the Socket.IO server's observer."""
    counts = log.counts
    opened = "Connections that were opened, by their first transport."
    yield Family("connections_opened", opened, "counter", _of(counts, "opened:"), "transport")
    yield Family("connections_closed", "Connections that ended.", "counter", _of(counts, "closed:"), "reason")
    refused = "Handshakes that were answered with an error."
    yield Family("handshakes_refused", refused, "counter", _of(counts, "refused:"), "cause")
    malformed = "Clients that broke the protocol."
    yield Family("protocol_errors", malformed, "counter", _of(counts, "malformed:"), "fault")
    yield Family("connections_upgraded", "Polling sessions that became websockets.", "counter", counts["upgraded"])
    yield Family("slow_consumers_cut", "Clients that did not read and were cut.", "counter", counts["slow"])
    events = "Events from clients, by whether somebody serves them."
    yield Family("client_events", events, "counter", _of(counts, "events:"), "outcome")
    yield Family("handler_failures", "Handlers that raised.", "counter", counts["handlers:failed"])


def gateway_families(gateway: Gateway) -> Iterator[Family]:
    """Of the gateway and its feeds."""
    server, counters = gateway.server, gateway.feeds.counters
    transports = Counter(c.transport_name.value for c in server.engine.connections.values())
    yield Family("connections", "Open connections.", "gauge", transports, "transport")
    yield Family("chats_followed", "Chats with members on this gateway.", "gauge", len(gateway.feeds))
    yield Family("joins", "Joins of chats.", "counter", counters.joins, "outcome")
    yield Family("events_replayed", "Events that joins replayed.", "counter", counters.replayed)
    yield Family("events_delivered", "Events given to rooms, once for each chat.", "counter", counters.delivered)
    yield Family("feed_gaps", "Holes in live feeds, bridged or left open.", "counter", counters.gaps, "outcome")
    yield Family("resyncs", "Times that a room was told to fetch for itself.", "counter", counters.resyncs)
    yield Family("signals", "Signals between gateways.", "counter", gateway.signals.counters, "outcome")
    presence = "Presence between gateways: failures of the board, doubts while it may have lost data, refused users."
    yield Family("presence", presence, "counter", gateway.presences.counters, "outcome")
    forwarder = server.engine.forwarder
    if forwarder is not None:
        forwarded = "Polls and posts that another gateway answered."
        yield Family("requests_forwarded", forwarded, "counter", forwarder.forwarded)
        yield Family("websockets_piped", "Websockets piped to another gateway now.", "gauge", len(forwarder.pipes))


def log_families(counters: RedisLogCounters) -> Iterator[Family]:
    """Of the log in Redis."""
    yield Family("log_appended", "Entries that Redis took.", "counter", counters.appended)
    yield Family("log_gaps", "Appends that were answered with a gap, or an absent log.", "counter", counters.gaps)
    yield Family("log_replays", "Reads that were answered in full.", "counter", counters.replays)
    yield Family("log_refused_replays", "Reads that the log could not answer.", "counter", counters.refused_replays)
    yield Family("log_cut", "Entries too large to travel.", "counter", counters.cut)
    yield Family("log_frames", "Messages of the live feed.", "counter", counters.frames)
    yield Family("log_dropped", "What was not ours on the live feed.", "counter", counters.dropped, "reason")
    yield Family("log_connects", "Connections of the live feed that were opened.", "counter", counters.connects)
    yield Family("log_losses", "Connections of the live feed that were lost.", "counter", counters.losses, "cause")
    yield Family("log_lag_seconds", "From publishing to hearing, at the latest probe.", "gauge", counters.lag_s)


def adapter_families(counters: RedisAdapterCounters) -> Iterator[Family]:
    """Of the bus that is shared with Node's servers."""
    yield Family("adapter_published", "Messages to other Socket.IO servers.", "counter", counters.published)
    yield Family("adapter_received", "Messages of other servers that were obeyed.", "counter", counters.received)
    yield Family("adapter_answered", "Requests of other servers that were answered.", "counter", counters.answered)
    yield Family("adapter_dropped", "Messages not sent or not understood.", "counter", counters.dropped, "reason")
    yield Family("adapter_losses", "Connections that were lost.", "counter", counters.losses, "cause")
    yield Family("adapter_lag_seconds", "From publishing to hearing, at the latest probe.", "gauge", counters.lag_s)


def ingress_families(counters: Counter[str]) -> Iterator[Family]:
    """Of the guide's ``chat:events``."""
    yield Family("ingress_events", "Events published to chat:events.", "counter", counters, "outcome")


def directory_families(directory: RedisDirectory) -> Iterator[Family]:
    """Of the directory of gateways."""
    yield Family("gateways", "Gateways that are up, this one included.", "gauge", len(directory.alive()))


def relay_families(counters: RelayCounters) -> Iterator[Family]:
    """Of the relay."""
    yield Family(
        "relay_published", "Events that went to the log right behind their commit.", "counter", counters.appended
    )
    yield Family("relay_mended", "Logs that were compared with the events table.", "counter", counters.caught_up)
    yield Family("relay_put_off", "Publishing that has to be tried again.", "counter", counters.deferred)


def activity_families(counters: Counter[str]) -> Iterator[Family]:
    """Of the announcements of activity."""
    yield Family("activity_announcements", "Announcements of activity in chats.", "counter", counters, "outcome")


def _of(counts: Mapping[str, int], prefix: str) -> dict[str, float]:
    return {name.removeprefix(prefix): count for name, count in counts.items() if name.startswith(prefix)}
