"""The commands of AI turns: which rows they need, and which method of `turns.TurnRules` applies them.

Layer: store.rules.
"""

from __future__ import annotations

from roomcast.chat.commands import CallTool, EndTurn, NewVersion, StartTurn, StopTurn
from roomcast.chat.model import Committed, StoredTurn
from roomcast.chat.policies.rights import Right
from roomcast.store.rules import quotas
from roomcast.store.rules.exchange import LoadedRows, Needs
from roomcast.store.rules.membership import rights
from roomcast.store.rules.work import Work


def needs_version(needs: Needs, new: NewVersion) -> None:
    """The rows for `add_version`."""
    needs.chat(new.chat_id, new.member)
    needs.turns.asked.add(new.chat_id)
    needs.turns.regenerated.add(new.turn_id)


def add_version(work: Work, new: NewVersion) -> tuple[StoredTurn, Committed]:
    """Queue a new answer."""
    work.open_chat(new.chat_id, new.member)
    rights.check(work, new.chat_id, new.member, Right.SEND, new.created_at)
    work.turns.check_version(new)
    quotas.charge(work, new.quotas, new.member, new.created_at)
    return work.turns.regenerate(new)


def follow_version(needs: Needs, _loaded: LoadedRows, new: NewVersion) -> None:
    """The quotas of the member."""
    quotas.needs(needs, new.quotas, new.member)


def end(work: Work, command: EndTurn) -> Committed:
    """End a turn, and count its tokens."""
    committed = work.turns.end(command)
    if committed.created:
        quotas.spend(work, command.quotas, work.turns.asker(command.claim.turn_id), _tokens(command), command.at)
    return committed


def follow_end(needs: Needs, loaded: LoadedRows, command: EndTurn) -> None:
    """The quotas of the user that asked for the answer."""
    if _tokens(command) and (row := loaded.turns.get(command.claim.turn_id)) is not None:
        quotas.needs(needs, command.quotas, row.asker_id)


def _tokens(command: EndTurn) -> int:
    return (command.ending.input_tokens or 0) + (command.ending.output_tokens or 0)


def needs_stop(needs: Needs, stop: StopTurn) -> None:
    """The rows for `stop`."""
    needs.chat(stop.chat_id, stop.member)
    needs.turns.ids.add(stop.turn_id)


def stop(work: Work, stop: StopTurn) -> tuple[StoredTurn, Committed | None]:
    """Stop a turn."""
    work.chat(stop.chat_id, stop.member)
    rights.check(work, stop.chat_id, stop.member, Right.SEND, stop.at)
    return work.turns.stop(stop)


def needs_claim(needs: Needs, command: StartTurn | CallTool | EndTurn) -> None:
    """The rows for the commands of a worker."""
    needs.chat(command.claim.chat_id)
    needs.turns.ids.add(command.claim.turn_id)
