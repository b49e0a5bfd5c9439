"""A moderation hook that passes every text, for `ROOMCAST_MODERATION`."""

from __future__ import annotations


async def review(_text: object) -> dict[str, str]:
    """The verdict."""
    return {"action": "pass"}
