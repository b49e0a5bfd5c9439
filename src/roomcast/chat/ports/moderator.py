"""The port of the moderation hook.

Layer: chat.
"""

from __future__ import annotations

from typing import Protocol

from roomcast.contract.moderation import Review, Verdict


class Moderator(Protocol):
    """Decides what happens to a text before it is stored."""

    async def review(self, review: Review) -> Verdict:
        """The verdict. `chat.use_cases.moderation` limits the time and the number of concurrent calls.

        Raises:
            Exception: there is no verdict; the text says why, for the log.
        """
