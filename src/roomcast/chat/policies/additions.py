"""How often a user may add other users to chats, so that none can flood another user's list of chats.

Each allowance refills evenly: a full one permits ``limit`` additions at once, and after that ``limit`` per period. Its
state is one number, the time at which it is full again, in Unix milliseconds.

Layer: chat. Source: ITU-T I.371, "Generic cell rate algorithm".
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from math import ceil
from typing import Final

from roomcast.chat.errors import AdditionLimitReached

#: The members that one creation of a chat may have; a lower limit for all users would refuse some creations for ever.
LEAST_ADDITIONS: Final = 256
#: In place of a user id: the allowance for all users together.
ALL_USERS: Final = ""


@dataclass(frozen=True, slots=True)
class AdditionLimits:
    """The allowances of each user. A user's own membership, services and removals are not limited.

    Attributes:
        same_user: Additions of one and the same other user in a period, to any chats; 0: no limit. Lower than one page
            of the list of chats.
        all_users: Additions of all other users in a period; 0: no limit. At least `LEAST_ADDITIONS` otherwise.
        period_s: The period.
    """

    same_user: int = 20
    all_users: int = 1_000
    period_s: int = 86_400

    def charge(self, full_at: Mapping[str, int], user_ids: Collection[str], now_ms: int) -> dict[str, int]:
        """Charge one addition of each user.

        Args:
            full_at: The states of a user's allowances, by the added user or `ALL_USERS`; absent: full.
            user_ids: The added users, each once.
            now_ms: Unix milliseconds.

        Returns:
            The new states.

        Raises:
            AdditionLimitReached: an allowance is used up.
        """
        period_ms = self.period_s * 1_000
        charges = [(user_id, 1, self.same_user) for user_id in user_ids]
        charges.append((ALL_USERS, len(user_ids), self.all_users))
        charged: dict[str, int] = {}
        for user_id, count, limit in charges:
            if not limit:
                continue
            # At most one period ahead, also after the clock was set back.
            start = min(max(full_at.get(user_id, 0), now_ms), now_ms + period_ms)
            charged[user_id] = start + count * period_ms // limit
            if (wait_ms := charged[user_id] - now_ms - period_ms) > 0:
                raise AdditionLimitReached(user_id, ceil(wait_ms / 1_000))
        return charged
