"""A moderation hook over HTTP: a signed POST, whose response is the verdict.

Layer: moderation.
"""

from __future__ import annotations

from datetime import UTC, datetime
from http import HTTPStatus
from typing import Final

import httpx

from roomcast.chat.ids import new_id
from roomcast.contract.moderation import Review, ReviewRequest, Verdict
from roomcast.wire.standard_webhooks import sign

#: Longest response that is read: a masked text, each character as a JSON escape.
_MAX_BYTES: Final = 1_000_000


class HttpModerator:
    """Asks a service.

    Args:
        url: Receives the requests.
        secret: The key of the signatures.
    """

    def __init__(self, url: str, secret: bytes) -> None:
        self._url = url
        self._secret = secret
        # `chat.use_cases.moderation` limits time and concurrency. Only `settings` reads the environment.
        self._http = httpx.AsyncClient(timeout=None, trust_env=False, follow_redirects=False)  # noqa: S113 - `Moderation` has a deadline

    async def review(self, review: Review) -> Verdict:
        """See the port."""
        now = datetime.now(UTC)
        body = ReviewRequest(timestamp=now.isoformat(), data=review).model_dump_json().encode()
        headers = {
            "Content-Type": "application/json",
            # A compressed response could expand without bound.
            "Accept-Encoding": "identity",
            **sign([self._secret], new_id(), int(now.timestamp()), body),
        }
        async with self._http.stream("POST", self._url, content=body, headers=headers) as response:
            if response.status_code != HTTPStatus.OK:
                raise ValueError(f"the moderation hook answered {response.status_code}; expected 200 with a verdict")
            content = b""
            async for part in response.aiter_raw():
                content += part
                if len(content) > _MAX_BYTES:
                    raise ValueError(f"the verdict has more than {_MAX_BYTES} bytes")
        return Verdict.model_validate_json(content)

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()
