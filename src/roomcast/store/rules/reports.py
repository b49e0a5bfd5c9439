"""The rules for reports of messages to the moderators of a chat. Only open reports are stored; the audit log has all.

Layer: store.rules.
"""

from __future__ import annotations

from roomcast.chat.commands import MAX_REPORTS, Report, ResolveReport
from roomcast.chat.errors import MessageNotFound, TooManyEntries
from roomcast.chat.model import AuditAction
from roomcast.chat.policies.rights import Right
from roomcast.store.rows import to_ms
from roomcast.store.rules.exchange import Needs
from roomcast.store.rules.membership import rights
from roomcast.store.rules.work import Work
from roomcast.store.tables import reports


def needs(needs: Needs, command: Report) -> None:
    """The rows for `report`."""
    needs.chat(command.chat_id, command.member)
    needs.last_versions.add(command.message_id)
    needs.row(reports, command.chat_id, command.message_id, command.reporter_id)
    needs.counts.add((reports, command.chat_id))


def report(work: Work, command: Report) -> None:
    """Store a report; a repeat replaces it."""
    chat = work.chat(command.chat_id, command.member)
    message = work.last_versions.get(command.message_id)
    if message is None or message.chat_id != chat.id or message.deleted:
        raise MessageNotFound(chat.id, command.message_id)
    key = (chat.id, command.message_id, command.reporter_id)
    known = work.row(reports, *key) is not None
    if not known and work.count(reports, chat.id) >= MAX_REPORTS:
        raise TooManyEntries(f"a chat has at most {MAX_REPORTS} open reports; its moderators have to handle some")
    work.put(reports, *key, reason=command.reason, note=command.note, created_at=to_ms(command.at))
    if not known:
        acts = work.recorder.record_silent_act
        acts(AuditAction.REPORTED, chat.id, command.at, command.reporter_id, command.message_id, command.trace)


def needs_resolve(needs: Needs, command: ResolveReport) -> None:
    """The rows for `resolve`."""
    needs.chat(command.chat_id, command.member)
    needs.row(reports, command.chat_id, command.message_id, command.reporter_id)


def resolve(work: Work, command: ResolveReport) -> None:
    """Delete a report; it need not exist."""
    chat = work.chat(command.chat_id, command.member)
    rights.check(work, chat.id, command.member, Right.HANDLE_REPORTS)
    key = (chat.id, command.message_id, command.reporter_id)
    if work.row(reports, *key) is not None:
        work.delete(reports, *key)
        acts = work.recorder.record_silent_act
        acts(AuditAction.REPORT_CLOSED, chat.id, command.at, command.member, command.message_id, command.trace)
