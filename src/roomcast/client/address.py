"""Base URLs. A base URL may have a path (``https://host/chat``), below which everything is served.

Layer: client.
"""

from __future__ import annotations

from urllib.parse import urlsplit, urlunsplit

from roomcast.contract.rest import GatewayAddress


def gateway_base(api_url: str, address: GatewayAddress) -> str:
    """The base URL of the gateway, as the API's configuration gives it."""
    if address.url is not None:
        return address.url
    if address.port is None:
        return api_url
    parts = urlsplit(api_url)
    name = parts.netloc.removesuffix(f":{parts.port}")
    return urlunsplit(parts._replace(netloc=f"{name}:{address.port}"))


def socket_url(base_url: str) -> str:
    """The address of the gateway's websocket."""
    return f"ws{base_url.removeprefix('http').rstrip('/')}/socket.io/?EIO=4&transport=websocket"
