"""Nothing reaches a user that is no member of its chat, or is of another tenant: random use, against a model."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.isolation import ENV, Isolation
from support.processes import Roomcast

TRIED = (
    "send done",
    "add done",
    "join-chat done",
    "change member done",
    "ban done",
    "search with hits",
    "download done",
    "download refused",
    "thumbnail done",
    "forged link refused",
    "preview done",
    "accept done",
    "direct done",
    "export done",
    "export refused",
    "report done",
    "rename done",
)
RECEIVED = (
    "received new-msg",
    "received presence",
    "link after removal refused",
    "received own removal",
    "received push",
    "received webhook",
)


@pytest.mark.timeout(180)
async def test_random_use_shows_nothing_to_others_than_members(tmp_path: Path) -> None:
    with Roomcast.up(tmp_path / "data", env=ENV) as server:
        run = Isolation(server.api_url, [server.gateway_url], 14, users=5, chats=2, sockets=3)
        await run.run(350, TRIED)
    # What was to be refused was tried, and what was to be received has arrived.
    for name in (*TRIED, *RECEIVED):
        assert run.done[name], (name, run.done)
    assert sum(count for name, count in run.done.items() if name.endswith(" refused")) > 50, run.done
    assert run.done["intrusion refused"] > 3, run.done
