"""Options of the API; without the web framework, so that whoever plans needs not load it.

Layer: api.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

#: Where `npm run build` in web/ leaves the page.
PAGE_DIRECTORY: Final = Path(__file__).parent / "page"


@dataclass(frozen=True, slots=True)
class ApiOptions:
    """Options of the API.

    Attributes:
        gateway_url: Where browsers find the gateway; None: see ``gateway_port``.
        gateway_port: The gateway's port on the API's own host; None: it is on the API's own port.
        allowed_hosts: Hosts that are answered to, without port, IPv6 in brackets; None: all. Needed wherever there is
            no authentication, or a page of a rebound name could read everything.
        connect_sources: Origins of the gateway, for the page's content security policy.
        page_directory: Where the built page is.
        max_body_bytes: Largest request body.
    """

    gateway_url: str | None = None
    gateway_port: int | None = None
    allowed_hosts: tuple[str, ...] | None = None
    connect_sources: tuple[str, ...] = ()
    page_directory: Path = PAGE_DIRECTORY
    max_body_bytes: int = 1_048_576
