"""The keys of a JSON Web Key Set at a URL, which change while the process runs.

- They are loaded with the first token, and again while they are in use: in the background after `refresh_s`, and before
  the next check after twice that time. A key that the provider has withdrawn verifies no token then.
- A token with an unknown key loads them, too, at most once per `spacing_s`, however many such tokens arrive.
- While the provider is away, the keys are kept, and only tokens with an unknown key have to wait.

Layer: auth. Source: RFC 7517 §5; OpenID Connect Core §10.1.1 (rotation of keys).
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from roomcast.auth.errors import KeyNotLoaded, KeysUnavailable, TokenRejected
from roomcast.auth.http import FAILURES, LimitedHttp
from roomcast.auth.keys import VerificationKey, read_key_set

logger = logging.getLogger(__name__)

#: Requests that wait for keys at the same time. Others are answered as unavailable at once.
MAX_WAITING: Final = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class KeySetOptions:
    """Limits of loading keys.

    Attributes:
        refresh_s: Age at which keys that are in use are loaded again; after twice that time they are not used
            before that.
        spacing_s: Shortest time between the beginnings of two loads.
        time_limit_s: Time limit for one load.
        max_bytes: Longest response that is read.
    """

    refresh_s: float = 300.0
    spacing_s: float = 2.0
    time_limit_s: float = 3.0
    max_bytes: int = 262_144


class KeySet:
    """The keys at a URL. Its methods run in one event loop.

    Args:
        url: The URL, as `is_safe_url` accepts it.
        allowed: The allowed algorithms.
        on_change: Called after a load that has changed the keys.
        options: Limits.
        clock: Monotonic seconds.
    """

    def __init__(
        self,
        url: str,
        allowed: frozenset[str],
        on_change: Callable[[], None],
        options: KeySetOptions | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._url = url
        self._allowed = allowed
        self._on_change = on_change
        self._options = options or KeySetOptions()
        self._clock = clock
        self._keys: list[VerificationKey] = []
        self._content = b""
        self._loaded_at = float("-inf")
        self._begun_at = float("-inf")
        self._failed = False
        self._load: asyncio.Task[None] | None = None
        self._load_begun = False
        self._waiting = 0
        self._http = LimitedHttp(self._options.time_limit_s, self._options.max_bytes)

    def find(self, kid: str | None, algorithm: str) -> Sequence[VerificationKey]:
        """See `Keys`. A token without a key id is accepted if only one key fits its algorithm."""
        self.check_age()
        fitting = [key for key in self._keys if algorithm in key.algorithms and kid in {None, key.kid}]
        if not fitting:
            raise KeyNotLoaded
        if len(fitting) > 1:
            raise TokenRejected("the token does not say which key signed it (kid); get a new one")
        return fitting

    def check_age(self) -> None:
        """See `Keys`."""
        age_s = self._clock() - self._loaded_at
        if age_s <= self._options.refresh_s:
            return
        if age_s > 2 * self._options.refresh_s and not self._failed:
            raise KeyNotLoaded
        if self._load is None and self._clock() - self._begun_at >= self._options.spacing_s:
            self._begin()

    async def load(self) -> bool:
        """See `Keys`. Cancelling one of several callers does not cancel the load."""
        if self._waiting >= MAX_WAITING:
            raise KeysUnavailable
        fresh = not self._load_begun
        load = self._load or self._begin()
        self._waiting += 1
        try:
            await asyncio.shield(load)
        finally:
            self._waiting -= 1
        if self._failed and fresh:
            raise KeysUnavailable
        return fresh

    def _begin(self) -> asyncio.Task[None]:
        self._load = asyncio.create_task(self._load_spaced(), name="keys of the identity provider")
        return self._load

    async def _load_spaced(self) -> None:
        try:
            await asyncio.sleep(max(0.0, self._begun_at + self._options.spacing_s - self._clock()))
            self._begun_at = self._clock()
            self._load_begun = True
            self._take(await self._http.fetch(self._url))
        except FAILURES as error:
            if not self._failed:
                logger.warning(
                    "the keys of the identity provider cannot be loaded; those known are kept",
                    extra={"url": self._url, "error": repr(error), "keys": len(self._keys)},
                )
            self._failed = True
        finally:
            self._load, self._load_begun = None, False

    def _take(self, content: bytes) -> None:
        if content != self._content:
            self._keys = read_key_set(content, self._allowed)
            self._content = content
            logger.info("keys of the identity provider loaded", extra={"url": self._url, "keys": len(self._keys)})
            self._on_change()
        self._failed = False
        self._loaded_at = self._clock()
