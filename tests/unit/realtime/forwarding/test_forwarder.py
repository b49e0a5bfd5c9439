"""The headers that are forwarded to the node that owns the session."""

from __future__ import annotations

import pytest

from roomcast.realtime.cluster.nodes import NodeAddress
from roomcast.realtime.forwarding.forwarder import _HOP_BY_HOP, NodeAuthenticator, _forwarded_headers
from roomcast.realtime.requests.request import ClientView, EngineRequest
from roomcast.wire.engineio_refusals import RequestRefused

NODE = NodeAddress("10.0.0.2", 9000, "the secret")
FORGED = [
    (b"x-roomcast-forward", b"a guess"),
    (b"x-roomcast-client", b"203.0.113.9"),
    (b"x-roomcast-secure", b"1"),
]


def request(*headers: tuple[bytes, bytes]) -> EngineRequest:
    return EngineRequest(
        method="GET",
        path="/socket.io/",
        query_string="EIO=4",
        headers=headers,
        address="198.51.100.7",
        secure=False,
        websocket=False,
    )


@pytest.mark.parametrize("dropped", [frozenset[bytes](), _HOP_BY_HOP], ids=["websocket", "polling"])
def test_forged_internal_headers_are_replaced(dropped: frozenset[bytes]) -> None:
    sent = _forwarded_headers(NODE, request((b"host", b"x"), *FORGED, (b"cookie", b"a=1")), dropped)
    assert sent == [
        (b"host", b"x"),
        (b"cookie", b"a=1"),
        (b"x-roomcast-forward", b"the secret"),
        (b"x-roomcast-client", b"198.51.100.7"),
        (b"x-roomcast-secure", b"0"),
    ]
    assert NodeAuthenticator("the secret").client(None, True, sent) == ClientView("198.51.100.7", secure=False)


def test_hop_by_hop_headers_are_not_forwarded() -> None:
    hop = [(b"connection", b"keep-alive, X-Other"), (b"x-other", b"1"), (b"te", b"trailers"), (b"content-length", b"5")]
    sent = _forwarded_headers(NODE, request((b"host", b"x"), *hop), _HOP_BY_HOP)
    assert [name for name, _ in sent if not name.startswith(b"x-roomcast-")] == [b"host"]
    # The headers of a websocket upgrade are between the client and the owner.
    assert set(hop) <= set(_forwarded_headers(NODE, request(*hop), frozenset()))


def test_forged_internal_headers_without_the_secret_are_rejected() -> None:
    with pytest.raises(RequestRefused):
        NodeAuthenticator("the secret").client("10.0.0.3", False, FORGED)
