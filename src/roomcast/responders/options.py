"""How responders reach their providers. Free of the HTTP client, since `settings` imports it.

Layer: responders.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, Literal

OpenAiApi = Literal["chat", "responses"]
OPENAI_URL: Final = "https://api.openai.com/v1"


@dataclass(frozen=True, slots=True)
class StreamLimits:
    """Time limits of a request, in seconds.

    Attributes:
        connect_s: Until the connection is open.
        read_s: Until the next bytes, also of the response's head; models may be silent while they think.
    """

    connect_s: float = 10.0
    read_s: float = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenAiOptions:
    """How to reach the provider.

    Attributes:
        model: The model of chats that name none.
        base_url: Base URL of the API, with its version.
        api_key: The key; None: none is sent.
        api: ``chat`` for Chat Completions, which every compatible server has; ``responses`` for the Responses API, with
            which another worker can continue an answer.
        limits: Time limits.
    """

    model: str
    base_url: str = OPENAI_URL
    api_key: str | None = field(default=None, repr=False)
    api: OpenAiApi = "chat"
    limits: StreamLimits = field(default_factory=StreamLimits)

    @property
    def headers(self) -> dict[str, str]:
        """The headers of every request."""
        return _bearer(self.api_key)


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointOptions:
    """How to reach an agent or an endpoint of a team.

    Attributes:
        url: Receives the requests.
        token: Bearer token; None: none is sent.
        limits: Time limits.
    """

    url: str
    token: str | None = field(default=None, repr=False)
    limits: StreamLimits = field(default_factory=StreamLimits)

    @property
    def headers(self) -> dict[str, str]:
        """The headers of every request."""
        return _bearer(self.token)


def _bearer(token: str | None) -> dict[str, str]:
    return {} if token is None else {"Authorization": f"Bearer {token}"}
