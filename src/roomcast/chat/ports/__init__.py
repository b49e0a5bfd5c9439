"""The ports of the domain: what chat needs from the outside, stated as guarantees.

Each port has one contract suite in tests/contract, run over every implementation.

Layer: chat.
"""

from roomcast.chat.ports.clock import Clock, SystemClock
from roomcast.chat.ports.log import (
    LOG_ENTRY_VERSION,
    MAX_SIGNAL_BYTES,
    Appended,
    CannotReplay,
    EventLog,
    FeedSink,
    Gap,
    Head,
    LogEntry,
    LogUnavailable,
    Replay,
    SignalSink,
    Subscription,
)
from roomcast.chat.ports.presence import Listing, Nodes, PresenceBoard, PresenceUnavailable
from roomcast.chat.ports.responder import Prompt, Responder
from roomcast.chat.ports.store import ChatStore, TurnStore

__all__ = [
    "LOG_ENTRY_VERSION",
    "MAX_SIGNAL_BYTES",
    "Appended",
    "CannotReplay",
    "ChatStore",
    "Clock",
    "EventLog",
    "FeedSink",
    "Gap",
    "Head",
    "Listing",
    "LogEntry",
    "LogUnavailable",
    "Nodes",
    "PresenceBoard",
    "PresenceUnavailable",
    "Prompt",
    "Replay",
    "Responder",
    "SignalSink",
    "Subscription",
    "SystemClock",
    "TurnStore",
]
