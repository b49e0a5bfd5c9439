"""The rule for messages: a message is written once, at a place of its own or as a new version at that of another.

Layer: store.rules. Source: docs/design.md, "Events and seq".
"""

from __future__ import annotations

from collections.abc import Sequence

from roomcast.chat.commands import NewMessage
from roomcast.chat.delivery.encoding import encode_message
from roomcast.chat.errors import MessageNotFound
from roomcast.chat.model import ChatAi, Committed, StoredEvent, StoredMessage
from roomcast.chat.policies.rights import Right
from roomcast.contract.events import EventType
from roomcast.store.rules import files as attached_files
from roomcast.store.rules import quotas
from roomcast.store.rules.exchange import LoadedRows, Needs
from roomcast.store.rules.membership import reads, rights
from roomcast.store.rules.turns import asked
from roomcast.store.rules.work import Work
from roomcast.store.tables import files, messages


def needs(needs: Needs, new: NewMessage) -> None:
    """The rows for `append`."""
    needs.chat(new.chat_id, new.member)
    if new.client_msg_id is not None:
        needs.sent.add((new.chat_id, new.client_msg_id))
    if new.reply_to is not None:
        needs.row(messages, new.reply_to)
    for file_id in (*new.files, *new.drops):
        needs.row(files, file_id)
    if new.role == "USER":
        reads.needs_mentions(needs, new)
        needs.turns.asked.add(new.chat_id)
        if new.replaces is not None:
            needs.turns.replaced.add(new.replaces)


def follow(needs: Needs, loaded: LoadedRows, new: NewMessage) -> None:
    """The quotas of the author, unless the message asks for no answer."""
    chat = loaded.chats.get(new.chat_id)
    if new.role == "USER" and (chat is None or asked(chat.ai, new) is not None):
        quotas.needs(needs, new.quotas, new.member)


def append(work: Work, new: NewMessage) -> Committed:
    """Write a message, or return the stored one; and queue its turn if it asks for an answer."""
    recorder, turns = work.recorder, work.turns
    if new.client_msg_id is not None and (known := work.sent.get((new.chat_id, new.client_msg_id))):
        work.check_member(new.chat_id, new.member)
        return Committed(known, created=False)
    chat = recorder.chats.get(new.chat_id)
    if chat is not None or new.creates is None:
        chat = work.open_chat(new.chat_id, new.member)
    rights.check(work, new.chat_id, new.member, Right.SEND if new.replaces is None else Right.EDIT_OWN, new.created_at)
    ai = chat.ai if chat is not None else (new.creates and new.creates.ai) or ChatAi()
    _check_reply(work, new)
    earlier = None if new.replaces is None else turns.replaced(new, new.replaces)
    attachments = attached_files.of_version(work, new, () if earlier is None else earlier.attachments)
    responder = turns.responder(ai, new)
    if responder is not None:
        quotas.charge(work, new.quotas, new.member, new.created_at)
    if chat is None and new.creates is not None:
        chat = recorder.add_chat(new.creates)
    before: Sequence[StoredEvent] = ()
    if responder is not None or earlier is not None:
        before = turns.make_room(new, earlier, asks=responder is not None)

    seq = recorder.next_seq(new.chat_id)
    turn = None if responder is None else turns.next_turn(new.id, earlier)
    message = StoredMessage(
        id=new.id,
        chat_id=new.chat_id,
        epoch=recorder.epoch,
        seq=seq,
        role=new.role,
        content=new.content,
        user_id=new.user_id if earlier is None else earlier.user_id,
        client_msg_id=new.client_msg_id,
        created_at=new.created_at,
        place=seq if earlier is None else earlier.place,
        version=1 if earlier is None else earlier.version + 1,
        turn=turn,
        reply_to=new.reply_to if earlier is None else earlier.reply_to,
        attachments=attachments,
    )
    attached_files.attach(work, message, new.drops)
    event = recorder.add_event(
        new.chat_id, EventType.MESSAGE_CREATED, encode_message(message), new.created_at, new.trace
    )
    recorder.add_message(message)
    if new.role == "USER":
        reads.record_mentions(work, message)
    if new.client_msg_id is not None:
        work.sent[new.chat_id, new.client_msg_id] = event
    if responder is not None or earlier is not None:
        turns.ask(message, responder, event, new.member)
    return Committed(event, created=True, turn_queued=responder is not None, before=tuple(before))


def _check_reply(work: Work, new: NewMessage) -> None:
    """Check that the chat has the message that another one replies to."""
    if new.reply_to is not None:
        original = work.row(messages, new.reply_to)
        if original is None or original["chat_id"] != new.chat_id:
            raise MessageNotFound(new.chat_id, new.reply_to)
