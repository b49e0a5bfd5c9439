"""The ports of the domain: protocols that other packages implement, with the guarantees that the domain relies on.

Most ports have a contract suite in tests/contract, which runs over every implementation.

May import: chat.model, chat.commands, chat.errors, chat.policies.rates, chat.policies.search_terms,
chat.webhook_values, contract.

| module | what |
|---|---|
| ``clock`` | wall-clock time |
| ``files`` | the contents of uploaded files |
| ``limiter`` | rate limits of users, chats and addresses |
| ``log`` | the ordered log of each chat and its live feed |
| ``moderator`` | decides what happens to a text before it is stored |
| ``personal`` | the data of one user in the whole database |
| ``presence`` | the presence board: the users online per chat |
| ``push`` | devices and push services |
| ``responder`` | answers USER messages |
| ``store`` | chats, events, AI turns, sessions, the feed, the search and files in the database |
| ``tracer`` | the spans of distributed traces |
| ``turn_streams`` | the chunks of the answers that are being written |
| ``webhooks`` | webhooks in the database, and the client that sends to them |
"""

from roomcast.chat.ports.clock import Clock, SystemClock
from roomcast.chat.ports.files import ContentHeaders, FileContents
from roomcast.chat.ports.limiter import Charge, RateLimiter
from roomcast.chat.ports.log import (
    LOG_ENTRY_VERSION,
    MAX_SIGNAL_BYTES,
    Appended,
    CannotReplay,
    EventLog,
    FeedSink,
    Gap,
    Head,
    ImmediateLog,
    LogEntry,
    LogNotStored,
    LogUnavailable,
    Replay,
    SignalSink,
    Subscription,
)
from roomcast.chat.ports.moderator import Moderator
from roomcast.chat.ports.personal import Erasure, InChat, PersonalPage, PersonalStore
from roomcast.chat.ports.presence import BoardSnapshot, LiveNodes, PresenceBoard, PresenceUnavailable
from roomcast.chat.ports.push import (
    MAX_DEVICES,
    Push,
    PushedMessage,
    PushOutcome,
    PushSender,
    PushState,
    PushStore,
    Recipient,
)
from roomcast.chat.ports.responder import (
    AnswerItem,
    Chunk,
    CutOff,
    Prompt,
    PromptFile,
    Reference,
    Responder,
    ResponderFailure,
    ResumableResponder,
    Usage,
)
from roomcast.chat.ports.store import (
    ChatStore,
    FeedRead,
    FeedStore,
    FileStore,
    SearchStore,
    SessionStore,
    TurnStore,
    Writes,
)
from roomcast.chat.ports.tracer import Attributes, Span, SpanKind, Tracer
from roomcast.chat.ports.turn_streams import (
    MAX_FRAME_BYTES,
    StreamGap,
    StreamTaken,
    TurnFrame,
    TurnStreams,
    decode_frame,
    decode_stop,
    encode_frame,
    encode_stop,
)
from roomcast.chat.ports.webhooks import WebhookSender, WebhookStore

__all__ = [
    "LOG_ENTRY_VERSION",
    "MAX_DEVICES",
    "MAX_FRAME_BYTES",
    "MAX_SIGNAL_BYTES",
    "AnswerItem",
    "Appended",
    "Attributes",
    "BoardSnapshot",
    "CannotReplay",
    "Charge",
    "ChatStore",
    "Chunk",
    "Clock",
    "ContentHeaders",
    "CutOff",
    "Erasure",
    "EventLog",
    "FeedRead",
    "FeedSink",
    "FeedStore",
    "FileContents",
    "FileStore",
    "Gap",
    "Head",
    "ImmediateLog",
    "InChat",
    "LiveNodes",
    "LogEntry",
    "LogNotStored",
    "LogUnavailable",
    "Moderator",
    "PersonalPage",
    "PersonalStore",
    "PresenceBoard",
    "PresenceUnavailable",
    "Prompt",
    "PromptFile",
    "Push",
    "PushOutcome",
    "PushSender",
    "PushState",
    "PushStore",
    "PushedMessage",
    "RateLimiter",
    "Recipient",
    "Reference",
    "Replay",
    "Responder",
    "ResponderFailure",
    "ResumableResponder",
    "SearchStore",
    "SessionStore",
    "SignalSink",
    "Span",
    "SpanKind",
    "StreamGap",
    "StreamTaken",
    "Subscription",
    "SystemClock",
    "Tracer",
    "TurnFrame",
    "TurnStore",
    "TurnStreams",
    "Usage",
    "WebhookSender",
    "WebhookStore",
    "Writes",
    "decode_frame",
    "decode_stop",
    "encode_frame",
    "encode_stop",
]
