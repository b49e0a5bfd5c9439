"""Whether one use of Redis works: a line in the log for each change, and a value for readiness and metrics.

Layer: redis_client.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Final

from roomcast.redis_client.errors import RedisUnavailable

logger = logging.getLogger(__name__)

# A success directly after a failure is not logged: where some attempts fail and others succeed, each attempt would
# otherwise be a change.
_QUIET_S: Final = 1.0


class Outcome:
    """The outcome of the latest attempt of one use of Redis.

    Args:
        name: What uses Redis, such as ``append``.
        effect: The consequence of a failure, for the log.

    Attributes:
        name: See above.
        error: Why the latest attempt failed; None: it succeeded, or there was none yet.
        failed_since: Loop time of the first of the failures that no success has followed; None: see ``error``.
        failures: Total of failed attempts.
    """

    def __init__(self, name: str, effect: str) -> None:
        self.name = name
        self.error: RedisUnavailable | None = None
        self.failed_since: float | None = None
        self.failures = 0
        self._effect = effect
        self._failed_at = 0.0
        self._logged: str | None = None

    def succeed(self) -> None:
        """Record a success."""
        self.error = self.failed_since = None
        if self._logged is not None and asyncio.get_running_loop().time() - self._failed_at >= _QUIET_S:
            self._logged = None
            logger.info("redis: %s works again", self.name, extra={"failures": self.failures})

    def fail(self, error: RedisUnavailable) -> None:
        """Record a failure."""
        self._failed_at = asyncio.get_running_loop().time()
        self.error = error
        if self.failed_since is None:
            self.failed_since = self._failed_at
        self.failures += 1
        if self._logged != error.code:
            self._logged = error.code
            logger.warning("redis: %s; %s: %s", error, self.name, self._effect)
