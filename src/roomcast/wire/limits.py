"""Every limit and every time-out of the wire, in one place.

Layer: wire (standard library only). Source: defaults of socket.io 4.8 where Node has the limit; the advisory or the
reason beside those that it lacks.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """Sizes and counts; all inclusive: the value itself is still accepted.

    Attributes:
        max_payload_bytes: One websocket message or one POST body, in bytes. Node: ``maxHttpBufferSize`` 1e6. It is told
            to clients as ``maxPayload``. The transport must hold it while it reads; the codec checks bodies once more.
        max_payload_packets: Packets in one POST body. Node has none. 1 MB of two-byte packets would hold the loop for
            half a second; ten thousand take about 30 ms and are more than a client buffers in any outage we know.
        max_attachments: Binary attachments of one Socket.IO packet. Node: ``maxAttachments`` 10 (CVE-2026-33151).
        max_reassembly_bytes: All attachments of one packet together, in bytes. Node allows ten of 1 MB per connection;
            four full messages are enough for an album of photographs and keep a flood cheap.
        max_namespaces: Namespaces one connection may hold at a time. Node has none.
        max_namespace_length: Characters of a namespace name. Node has none.
        max_event_name_length: Characters of an event name. Node has none.
        max_json_depth: Nested arrays and objects. Node has none; deep input is how CVE-2024-27454 (orjson) crashed.
        max_json_digits: Characters of a number literal. JavaScript's largest number has 309 digits; converting a longer
            one costs quadratic time.
        max_ack_id: Greatest acknowledgement id: JavaScript's ``Number.MAX_SAFE_INTEGER``.
        max_pending_acks: Acknowledgements a connection may owe us at a time. Node has none, so a client that never
            answers grows the table for ever.
        max_query_fields: Fields in the query string of a request.
    """

    max_payload_bytes: int = 1_000_000
    max_payload_packets: int = 10_000
    max_attachments: int = 10
    max_reassembly_bytes: int = 4_000_000
    max_namespaces: int = 64
    max_namespace_length: int = 256
    max_event_name_length: int = 256
    max_json_depth: int = 128
    max_json_digits: int = 309
    max_ack_id: int = 2**53 - 1
    max_pending_acks: int = 10_000
    max_query_fields: int = 64


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Times in seconds.

    Attributes:
        ping_interval_s: From one pong (or the handshake) to the next ping. Below nginx's idle default of 60 s, so that
            a quiet session survives a plain proxy. Node: 25 s.
        ping_timeout_s: From the ping to its pong. Node: 20 s.
        upgrade_timeout_s: From the websocket of an upgrade to its ``5`` packet. Node: 10 s.
        close_timeout_s: How long a closed polling session waits for the poll that fetches its last packets. Node: 30 s.
    """

    ping_interval_s: float = 25.0
    ping_timeout_s: float = 20.0
    upgrade_timeout_s: float = 10.0
    close_timeout_s: float = 30.0


DEFAULT_LIMITS = Limits()
DEFAULT_TIMEOUTS = Timeouts()
