"""How pushes are sent. Free of the libraries, since `settings` imports it.

Layer: push.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from roomcast.chat.notifications.endpoints import EndpointRules


@dataclass(frozen=True, slots=True, kw_only=True)
class PushOptions:
    """Web Push.

    Attributes:
        key: The private key of the server, in base64url; None: no pushes are sent.
        subject: A ``mailto:`` or ``https:`` URL at which a push service reaches the operator; None: none.
        rules: Which endpoints are accepted.
        delay_s: For how long a user has the time to see a message before it is pushed.
    """

    key: str | None = field(default=None, repr=False)
    subject: str | None = None
    rules: EndpointRules = field(default_factory=EndpointRules)
    delay_s: float = 3.0
