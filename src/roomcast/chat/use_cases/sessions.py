"""The use cases that end access tokens before their expiry: sign-out, and the end of all sessions of a user.

Layer: chat.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Final

from roomcast.chat.errors import NotAllowed
from roomcast.chat.model import Caller
from roomcast.chat.ports import SessionStore
from roomcast.contract.internal import EndedSession, EndedSessions

#: How long the tokens of a user may be valid after their issue, so that an entry may be deleted then.
MAX_TOKEN_LIFETIME_S: Final = 90 * 86_400
#: Entries of one page, well below the longest response that gateways read.
PAGE: Final = 2_000


class Sessions:
    """Ends sessions, and reads the ended ones.

    Args:
        store: The database.
        announce: Receives new entries, for this process.
        clock: Unix seconds.
    """

    def __init__(
        self,
        store: SessionStore,
        announce: Callable[[Iterable[EndedSession]], None],
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self._announce = announce
        self._clock = clock

    async def end_token(self, digest: str, expires_at: float) -> None:
        """End one token, whose bearer the caller is.

        Args:
            digest: The SHA-256 of the token, hexadecimal.
            expires_at: Unix seconds from which it is not valid anyway.

        Raises:
            StoreUnavailable: repeat the request.
        """
        now_ms = self._now_ms()
        # A token may be valid for longer than can be stored; and its leeway is in no claim.
        expires_ms = int(min(expires_at, self._clock() + 100 * MAX_TOKEN_LIFETIME_S) * 1_000) + 3_600_000
        await self._end(EndedSession(token=digest, ended_at=now_ms, expires_at=expires_ms), now_ms)

    async def end_all(self, caller: Caller, user_id: str) -> None:
        """End all tokens of a user that were issued until now.

        Raises:
            NotAllowed: the caller is another user.
            StoreUnavailable: repeat the request.
        """
        if not caller.unrestricted and caller.user_id != user_id:
            raise NotAllowed("only a service token may end the sessions of another user")
        now_ms = self._now_ms()
        expires_ms = now_ms + MAX_TOKEN_LIFETIME_S * 1_000
        session = EndedSession(user_id=user_id, ended_at=now_ms, expires_at=expires_ms)
        await self._end(session, now_ms, by_service=caller.unrestricted)

    async def ended(self, after_ms: int) -> EndedSessions:
        """One page of the entries from ``after_ms`` on.

        Raises:
            StoreUnavailable: try again.
        """
        found = await self._store.ended_sessions(after_ms, self._now_ms(), PAGE)
        return EndedSessions(sessions=list(found), more=len(found) >= PAGE)

    async def _end(self, session: EndedSession, now_ms: int, *, by_service: bool = False) -> None:
        await self._store.end_session(session, now_ms, by_service=by_service)
        self._announce([session])

    def _now_ms(self) -> int:
        return int(self._clock() * 1_000)
