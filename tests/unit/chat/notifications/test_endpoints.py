"""Which addresses of push services are accepted."""

from __future__ import annotations

from ipaddress import ip_network

import pytest

from roomcast.chat.errors import PushRefused
from roomcast.chat.notifications.endpoints import EndpointRules

PUBLIC = EndpointRules()
LOCAL = EndpointRules((ip_network("127.0.0.0/8"),))


@pytest.mark.parametrize(
    "endpoint",
    [
        "http://push.example/1",
        "https://",
        "https://user@push.example/1",
        "https://push.example/1#fragment",
        "https://push.example:0/1",
        "https://push.example:99999/1",
        "https://[::1/1",
        "https://127.0.0.1/1",
        "https://10.1.2.3/1",
        "https://169.254.169.254/latest",
        "https://[::1]/1",
        "https://[::ffff:10.0.0.1]/1",
        "https://[64:ff9b::a00:1]/1",
        "https://[2002:a00:1::1]/1",
        "https://224.0.0.1/1",
        "https://0.0.0.0/1",
    ],
)
def test_an_endpoint_without_tls_or_at_an_address_that_is_not_public_is_refused(endpoint: str) -> None:
    with pytest.raises(PushRefused):
        PUBLIC.check(endpoint)


@pytest.mark.parametrize(
    "endpoint", ["https://push.example/1?a=b", "https://8.8.8.8/1", "https://[2606:4700::1]:8443/1"]
)
def test_public_endpoints_are_accepted(endpoint: str) -> None:
    PUBLIC.check(endpoint)


def test_a_listed_network_is_accepted_also_without_tls() -> None:
    LOCAL.check("http://127.0.0.1:8000/1")
    LOCAL.check("https://127.0.0.1/1")
    for endpoint in ("http://push.example/1", "http://8.8.8.8/1", "https://10.0.0.1/1"):
        with pytest.raises(PushRefused):
            LOCAL.check(endpoint)
