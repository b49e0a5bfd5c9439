"""Nothing reaches a user that is no member of its chat, or is of another tenant: random use, against a model."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.isolation import ENV, Isolation
from support.processes import Roomcast


@pytest.mark.timeout(120)
async def test_random_use_shows_nothing_to_others_than_members(tmp_path: Path) -> None:
    with Roomcast.up(tmp_path / "data", env=ENV) as server:
        run = Isolation(server.api_url, [server.gateway_url], 14, users=5, chats=2, sockets=3)
        await run.run(400)
    # What was to be refused was tried, and what was to be received has arrived. A new route changes the random choices.
    for name in (
        "send done",
        "add done",
        "join-chat done",
        "received new-msg",
        "received presence",
        "change member done",
        "ban done",
        "search with hits",
        "download done",
        "download refused",
        "link after removal refused",
        "thumbnail done",
        "forged link refused",
        "preview done",
        "accept done",
        "direct done",
        "export done",
        "export refused",
        "report done",
        "rename done",
        "received own removal",
        "received push",
        "received webhook",
    ):
        assert run.done[name], (name, run.done)
    assert sum(count for name, count in run.done.items() if name.endswith(" refused")) > 50, run.done
    assert run.done["intrusion refused"] > 3, run.done
