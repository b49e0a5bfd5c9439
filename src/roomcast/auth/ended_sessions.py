"""The tokens that have been ended before their expiry, as far as this process knows.

Layer: auth. Source: docs/design.md, "Authorization".
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from roomcast.contract.internal import EndedSession

#: A session ended by another process arrives at most this much later than a later one: clocks and commits may differ.
OVERLAP_MS: Final = 60_000


class EndedSessions:
    """Ended tokens, and a listener that closes the connections of their bearers. Its methods run in one event loop."""

    def __init__(self) -> None:
        self._users: dict[str, EndedSession] = {}
        self._tokens: dict[str, EndedSession] = {}
        self._newest_ms = 0
        self._listeners: list[Callable[[], None]] = []

    def __len__(self) -> int:
        """The number of entries."""
        return len(self._users) + len(self._tokens)

    def listen(self, listener: Callable[[], None]) -> None:
        """Call a function after new entries."""
        self._listeners.append(listener)

    def after_ms(self, now_ms: int) -> int:
        """The time from which entries have to be read again; 0 before the first.

        Args:
            now_ms: The time of this process. An entry from a clock that is ahead must not hide those that follow.
        """
        return max(0, min(self._newest_ms, now_ms) - OVERLAP_MS)

    def add(self, sessions: Iterable[EndedSession]) -> None:
        """Add entries; those that are known change nothing."""
        changed = False
        for session in sessions:
            self._newest_ms = max(self._newest_ms, session.ended_at)
            entries, key = (
                (self._tokens, session.token or "") if session.user_id is None else (self._users, session.user_id)
            )
            known = entries.get(key)
            if known is None or known.ended_at < session.ended_at:
                entries[key] = session
                changed = True
        if changed:
            for listener in self._listeners:
                listener()

    def forget_expired(self, now_ms: int) -> None:
        """Drop the entries whose tokens have expired."""
        for entries in (self._users, self._tokens):
            for key in [key for key, session in entries.items() if session.expires_at < now_ms]:
                del entries[key]

    def has_ended(self, user_id: str, issued_at: float, *digests: str) -> bool:
        """Whether a token was ended.

        Args:
            user_id: Its user.
            issued_at: Unix seconds of its ``iat``; 0: it has none.
            *digests: Its SHA-256 and, if it was issued for one, that of its browser's session, hexadecimal.
        """
        if not self._tokens.keys().isdisjoint(digests):
            return True
        session = self._users.get(user_id)
        # ``iat`` has whole seconds: a token of the second of the end counts as earlier.
        return session is not None and int(issued_at) <= session.ended_at // 1_000
