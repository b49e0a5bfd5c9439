"""Nothing reaches a user that is no member of its chat, or is of another tenant: random use, against a model."""

from __future__ import annotations

from pathlib import Path

from support.isolation import ENV, Isolation
from support.processes import Roomcast


async def test_random_use_shows_nothing_to_others_than_members(tmp_path: Path) -> None:
    with Roomcast.up(tmp_path / "data", env=ENV) as server:
        run = Isolation(server.api_url, [server.gateway_url], 14, users=5, chats=2, sockets=3)
        await run.run(200)
    # What was to be refused was tried, and what was to be received has arrived.
    for name in ("send", "edit", "delete", "react", "add", "remove", "join-chat"):
        assert run.done[f"{name} done"], (name, run.done)
        assert run.done[f"{name} refused"], (name, run.done)
    for name in ("new-msg", "presence", "chat-activity", "member-added", "member-removed", "ai-status"):
        assert run.done[f"received {name}"], (name, run.done)
