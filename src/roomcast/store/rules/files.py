"""The rules for files: an upload is reserved and finished, a message has it, or it is removed.

A file that no message has is removed once it is due. So a process that dies during an upload, a removal or a deletion
leaves nothing behind that a later sweep does not find. All rules lock the chat: a file is either sent or removed.

Layer: store.rules.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from roomcast.chat.commands import DropFile, FinishFile, ForgetFile, NewMessage, PostponeFile, ReserveFile
from roomcast.chat.errors import EmptyMessage, FileLimitReached, FileNotFound
from roomcast.chat.model import StoredMessage
from roomcast.chat.policies.rights import Right
from roomcast.contract.events import Attachment
from roomcast.store.rows import to_ms
from roomcast.store.rules.exchange import LoadedRows, Needs, Row
from roomcast.store.rules.membership import rights
from roomcast.store.rules.work import Work
from roomcast.store.tables import files


def needs_reserve(needs: Needs, command: ReserveFile) -> None:
    """The rows for `reserve`."""
    needs.chat(command.chat_id, command.member)
    if command.member is not None:
        needs.locks.add(command.member)


def follow_reserve(needs: Needs, loaded: LoadedRows, command: ReserveFile) -> None:  # noqa: ARG001 - as `Rule` has it
    """What the user has uploaded, read after the lock."""
    if command.member is not None:
        needs.uploaded.add(command.member)


def reserve(work: Work, command: ReserveFile) -> None:
    """Note a file before its upload."""
    work.open_chat(command.chat_id, command.member)
    rights.check(work, command.chat_id, command.member, Right.SEND, command.at)
    if command.member is not None:
        unsent, total = (size + command.size for size in work.uploaded[command.member])
        if unsent > command.max_unsent:
            raise FileLimitReached(command.max_unsent, "files that are not sent")
        if total > command.max_total:
            raise FileLimitReached(command.max_total, "files")
        work.uploaded[command.member] = unsent, total
    work.put(
        files,
        command.id,
        chat_id=command.chat_id,
        user_id=command.user_id,
        message_id=None,
        name="",
        type="",
        size=command.size,
        width=None,
        height=None,
        due_at=to_ms(command.due_at),
    )


def needs_finish(needs: Needs, command: FinishFile) -> None:
    """The rows for `finish`."""
    needs.chat(command.chat_id, command.member)
    needs.row(files, command.attachment.id)


def finish(work: Work, command: FinishFile) -> None:
    """Complete an upload."""
    work.chat(command.chat_id, command.member)
    row = work.row(files, command.attachment.id)
    if row is None or not row["due_at"] or row["chat_id"] != command.chat_id:
        raise FileNotFound(command.attachment.id)
    _change(work, row, **vars(command.attachment))


def of_version(work: Work, new: NewMessage, earlier: tuple[Attachment, ...]) -> tuple[Attachment, ...]:
    """The files of a new message or version, checked: those of the earlier version, and new ones."""
    attachments = earlier
    if new.files or new.drops:
        if len(set(new.files)) < len(new.files):
            raise FileNotFound(next(file_id for file_id in new.files if new.files.count(file_id) > 1))
        if missing := set(new.drops) - {one.id for one in earlier}:
            raise FileNotFound(min(missing))
        kept = (one for one in earlier if one.id not in new.drops)
        attachments = (*kept, *(_sendable(work, new, file_id) for file_id in new.files))
    if not (new.content or attachments):
        raise EmptyMessage
    return attachments


def attach(work: Work, message: StoredMessage, drops: Iterable[str]) -> None:
    """Give a message its files, and begin the removal of those that a new version has no more."""
    drop(work, drops)
    for attachment in message.attachments:
        if (row := work.row(files, attachment.id)) is not None:
            _change(work, row, message_id=message.id, due_at=None)


def drop(work: Work, ids: Iterable[str]) -> None:
    """Begin the removal of files that their message has no more."""
    for file_id in ids:
        if (row := work.row(files, file_id)) is not None:
            _change(work, row, due_at=0)


def needs_of_messages(needs: Needs, loaded: LoadedRows, message_ids: Iterable[str]) -> None:
    """The rows for `drop_of`."""
    for message_id in message_ids:
        for attachment in _last_attachments(loaded.versions.get(message_id, ())):
            needs.row(files, attachment.id)


def drop_of(work: Work, message_ids: Iterable[str]) -> None:
    """Begin the removal of the files of messages that are erased."""
    for message_id in message_ids:
        drop(work, (one.id for one in _last_attachments(work.versions[message_id])))


def _last_attachments(versions: Sequence[StoredMessage]) -> Sequence[Attachment]:
    return versions[-1].attachments if versions else ()


def needs_removal(needs: Needs, command: DropFile | ForgetFile) -> None:
    """The rows for `drop_one` and `forget`."""
    needs.chat(command.chat_id, command.member if isinstance(command, DropFile) else None)
    needs.row(files, command.file_id)


def drop_one(work: Work, command: DropFile) -> bool:
    """Begin the removal of a file, unless a message has it."""
    row = work.row(files, command.file_id)
    of_chat = row is not None and row["chat_id"] == command.chat_id
    if command.member is not None:
        work.chat(command.chat_id, command.member)
        if row is None or not of_chat or row["user_id"] != command.member or row["due_at"] is None:
            raise FileNotFound(command.file_id)
    if row is None or not of_chat or row["due_at"] is None:
        return False
    if command.member is None and row["due_at"] > to_ms(command.at):
        return False
    _change(work, row, due_at=0)
    return True


def forget(work: Work, command: ForgetFile) -> None:
    """Delete the row of a file whose content is deleted."""
    row = work.row(files, command.file_id)
    if row is not None and row["due_at"] == 0:
        work.delete(files, command.file_id)


def needs_postpone(needs: Needs, command: PostponeFile) -> None:
    """The rows for `postpone`."""
    needs.chat(command.chat_id)
    needs.row(files, command.file_id)


def postpone(work: Work, command: PostponeFile) -> None:
    """Make a file due again later. Without a type, no message can have it."""
    row = work.row(files, command.file_id)
    if row is not None and row["due_at"] == 0:
        _change(work, row, type="", due_at=to_ms(command.due_at))


def _sendable(work: Work, new: NewMessage, file_id: str) -> Attachment:
    row = work.row(files, file_id)
    if (
        row is None
        or row["chat_id"] != new.chat_id
        or not row["due_at"]
        or not row["type"]
        or (new.member is not None and row["user_id"] != new.member)
    ):
        raise FileNotFound(file_id)
    return Attachment.model_construct(**{name: row[name] for name in Attachment.model_fields})


def _change(work: Work, row: Row, **columns: object) -> None:
    changed = {**row, **columns}
    work.put(files, changed.pop("id"), **changed)
