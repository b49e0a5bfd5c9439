from __future__ import annotations

import pytest

from roomcast.eventlog.memory import MemoryEventLog
from roomcast.gateway.api.open_admission import OpenAdmission
from roomcast.gateway.ports import Cursor, Head
from support.gateway_model import entry


async def test_every_join_of_an_empty_chat_is_admitted() -> None:
    admission = OpenAdmission(MemoryEventLog())
    first = await admission.admit("c1", None, None)
    again = await admission.admit("c2", None, Cursor(epoch=first.head.epoch, seq=0))
    assert (first.head.seq, first.reset, again.reset) == (0, False, False)
    assert again.head.epoch == first.head.epoch


@pytest.mark.parametrize(
    ("since", "reset"),
    [(Cursor(epoch="e1", seq=2), False), (Cursor(epoch="e1", seq=3), True), (Cursor(epoch="e0", seq=1), True)],
)
async def test_a_cursor_is_valid_if_the_log_contains_it(since, reset) -> None:
    log = MemoryEventLog()
    await log.append("a", "e1", [entry(1), entry(2)])
    admitted = await OpenAdmission(log).admit("a", None, since)
    assert (admitted.head, admitted.reset) == (Head("e1", 2), reset)
