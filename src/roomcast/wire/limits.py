"""Every limit and timeout of the wire protocols.

Layer: wire (standard library only). Source: the defaults of socket.io 4.8 ("Node"). If Node has no such limit, the
attribute's description gives the advisory or the reason.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """Sizes and counts. All limits are inclusive: the value itself is accepted.

    Attributes:
        max_payload_bytes: One websocket message or one POST body, in bytes. Node: ``maxHttpBufferSize`` 1e6. Announced
            to clients as ``maxPayload``. The transport enforces it while it reads; the codec checks POST bodies again.
        max_payload_packets: Packets in one POST body. Node has no limit. 1 MB of two-byte packets would block the event
            loop for half a second; 10,000 packets take about 30 ms and are more than a client buffers in an outage.
        max_attachments: Binary attachments of one Socket.IO packet. Node: ``maxAttachments`` 10 (CVE-2026-33151).
        max_reassembly_bytes: Total size of all attachments of one packet, in bytes. Node allows ten of 1 MB. Four
            messages of the largest size suffice for several photographs, and limit the memory of one connection.
        max_namespaces: Concurrent namespaces of one connection. Node has no limit.
        max_namespace_length: Characters of a namespace name. Node has no limit.
        max_event_name_length: Characters of an event name. Node has no limit.
        max_json_depth: Nesting of arrays and objects. Node has no limit; deep input crashed orjson (CVE-2024-27454).
        max_json_digits: Characters of a number literal. JavaScript's largest number has 309 digits, and the conversion
            of long literals takes quadratic time.
        max_msgpack_items: Values in one packet of msgpack, nested ones and keys counted. JSON is parsed in C; this many
            values take about 30 ms in Python.
        max_ack_id: Greatest acknowledgement id: JavaScript's ``Number.MAX_SAFE_INTEGER``.
        max_pending_acks: Events that await an acknowledgement from one connection. Node has no limit, so a client that
            never answers makes its table of pending acknowledgements grow without limit.
        max_query_fields: Fields in the query string of a request.
        max_packets_per_s: Packets of one connection per second, on average; more are read later. Node has no limit.
        max_packets_before_connect: Packets of a connection without a namespace; more close it. Node has no limit. A
            client sends a probe, an UPGRADE and a CONNECT for each of its namespaces.
        max_bytes_before_connect: Bytes of one such packet, as much as the head of an HTTP request. Node has no limit.
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
    max_msgpack_items: int = 50_000
    max_ack_id: int = 2**53 - 1
    max_pending_acks: int = 10_000
    max_query_fields: int = 64
    max_packets_per_s: float = 1_000.0
    max_packets_before_connect: int = 128
    max_bytes_before_connect: int = 16_384

    def __hash__(self) -> int:
        """Of one field: each connection looks up what belongs to its limits, and those of a server are equal."""
        return hash(self.max_payload_bytes)


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Times in seconds.

    Attributes:
        ping_interval_s: From one pong (or the handshake) to the next ping. Below nginx's default of 60 s, so that
            an idle session survives a proxy with default settings. Node: 25 s.
        ping_timeout_s: From the ping to its pong. Node: 20 s.
        upgrade_timeout_s: From the websocket handshake of an upgrade to its UPGRADE packet. Node: 10 s.
        close_timeout_s: How long a closing polling session waits for the poll that fetches its queue. Node: 30 s.
    """

    ping_interval_s: float = 25.0
    ping_timeout_s: float = 20.0
    upgrade_timeout_s: float = 10.0
    close_timeout_s: float = 30.0


DEFAULT_LIMITS = Limits()
DEFAULT_TIMEOUTS = Timeouts()
