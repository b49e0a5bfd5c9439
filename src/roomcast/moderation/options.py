"""How the moderation hook is reached. Free of the HTTP client, since `settings` imports it.

Layer: moderation.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from roomcast.chat.use_cases.moderation import ModerationLimits


@dataclass(frozen=True, slots=True, kw_only=True)
class ModerationOptions:
    """The hook.

    Attributes:
        hook: An HTTP URL, or ``module:function``.
        secret: The key that signs requests to a URL.
        limits: As in `chat.use_cases.moderation`.
    """

    hook: str
    secret: bytes = field(default=b"", repr=False)
    limits: ModerationLimits = field(default_factory=ModerationLimits)

    @property
    def is_url(self) -> bool:
        """Whether the hook is reached over HTTP."""
        return self.hook.startswith(("http://", "https://"))
