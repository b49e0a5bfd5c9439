"""The rule for events of applications: each id is stored once in its chat.

Layer: store.rules.
"""

from __future__ import annotations

from roomcast.chat.commands import NewCustomEvents
from roomcast.chat.model import StoredEvent
from roomcast.contract.events import EventType
from roomcast.store.rules.exchange import Needs
from roomcast.store.rules.work import Work
from roomcast.store.tables import custom_events


def needs(needs: Needs, command: NewCustomEvents) -> None:
    """The rows for `append`."""
    for event in command.events:
        needs.chat(event.chat_id)
        needs.row(custom_events, event.chat_id, event.id)


def append(work: Work, command: NewCustomEvents) -> tuple[tuple[int, StoredEvent | None], ...]:
    """Store the events that are new."""
    for event in command.events:
        work.open_chat(event.chat_id, None)
    results: list[tuple[int, StoredEvent | None]] = []
    for chat_id, event_id, name, data in command.events:
        known = work.row(custom_events, chat_id, event_id)
        if known is not None:
            results.append((known["seq"], None))
            continue
        stored = work.recorder.add(
            chat_id, EventType.CUSTOM, command.at, command.trace, id=event_id, name=name, data=data
        )
        work.put(custom_events, chat_id, event_id, seq=stored.seq)
        results.append((stored.seq, stored))
    return tuple(results)
