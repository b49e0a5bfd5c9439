"""The ports of the domain: what chat needs from the outside, stated as guarantees.

Each port has one contract suite in tests/contract, run over every implementation.

Layer: chat.
"""

from roomcast.chat.ports.clock import Clock, SystemClock
from roomcast.chat.ports.log import (
    LOG_ENTRY_VERSION,
    Appended,
    CannotReplay,
    EventLog,
    FeedSink,
    Gap,
    Head,
    LogEntry,
    LogUnavailable,
    Replay,
    Subscription,
)
from roomcast.chat.ports.responder import Prompt, Responder
from roomcast.chat.ports.store import ChatStore, TurnStore

__all__ = [
    "LOG_ENTRY_VERSION",
    "Appended",
    "CannotReplay",
    "ChatStore",
    "Clock",
    "EventLog",
    "FeedSink",
    "Gap",
    "Head",
    "LogEntry",
    "LogUnavailable",
    "Prompt",
    "Replay",
    "Responder",
    "Subscription",
    "SystemClock",
    "TurnStore",
]
