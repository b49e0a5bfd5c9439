"""The rule of each command.

Layer: store.rules. A command without a rule fails tests/unit/store/rules/test_registry.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from roomcast.chat.commands import (
    AcceptInvite,
    Ban,
    CallTool,
    ChangeAi,
    ChangeChat,
    ChangeMember,
    Command,
    DeleteChat,
    DeleteMessage,
    DropFile,
    EndTurn,
    ExpireMessages,
    FinishFile,
    ForgetFile,
    ForgetUser,
    MarkPublished,
    MarkRead,
    NewChat,
    NewCustomEvents,
    NewInvite,
    NewMemberChange,
    NewMessage,
    NewVersion,
    OpenDirect,
    Pin,
    PostponeFile,
    React,
    Report,
    ReserveFile,
    ResolveReport,
    RevokeInvite,
    SetNotificationDefault,
    SetNotifications,
    StartTurn,
    StopTurn,
)
from roomcast.store.rules import (
    chats,
    custom_events,
    expiring,
    files,
    forgetting,
    marks,
    messages,
    reports,
    turn_commands,
)
from roomcast.store.rules.membership import invites, members, notifications, reads
from roomcast.store.rules.work import Rule

RULES: Final[Mapping[type[Command[Any]], Rule]] = {
    NewMessage: Rule(messages.needs, messages.append, messages.follow),
    NewChat: Rule(chats.needs_new, chats.create),
    OpenDirect: Rule(chats.needs_direct, chats.open_direct),
    ChangeAi: Rule(chats.needs_ai, chats.change_ai),
    ChangeChat: Rule(chats.needs_chat, chats.change),
    DeleteChat: Rule(chats.needs_chat, chats.delete),
    MarkPublished: Rule(chats.needs_nothing, chats.mark_published),
    NewMemberChange: Rule(members.needs, members.change),
    NewCustomEvents: Rule(custom_events.needs, custom_events.append),
    ChangeMember: Rule(members.needs_update, members.update),
    Ban: Rule(members.needs_ban, members.ban),
    NewInvite: Rule(invites.needs_new, invites.create),
    RevokeInvite: Rule(invites.needs_revoke, invites.revoke),
    AcceptInvite: Rule(invites.needs_accept, invites.accept),
    DeleteMessage: Rule(marks.needs, marks.delete, marks.follow),
    ExpireMessages: Rule(expiring.needs, expiring.expire, expiring.follow),
    ForgetUser: Rule(forgetting.needs, forgetting.forget, forgetting.follow),
    React: Rule(marks.needs, marks.react, marks.follow),
    Pin: Rule(marks.needs, marks.pin, marks.follow),
    Report: Rule(reports.needs, reports.report),
    ResolveReport: Rule(reports.needs_resolve, reports.resolve),
    MarkRead: Rule(reads.needs, reads.mark, reads.follow),
    SetNotifications: Rule(notifications.needs, notifications.change),
    SetNotificationDefault: Rule(chats.needs_nothing, notifications.change_default),
    ReserveFile: Rule(files.needs_reserve, files.reserve, files.follow_reserve),
    FinishFile: Rule(files.needs_finish, files.finish),
    DropFile: Rule(files.needs_removal, files.drop_one),
    ForgetFile: Rule(files.needs_removal, files.forget),
    PostponeFile: Rule(files.needs_postpone, files.postpone),
    NewVersion: Rule(turn_commands.needs_version, turn_commands.add_version, turn_commands.follow_version),
    StopTurn: Rule(turn_commands.needs_stop, turn_commands.stop),
    StartTurn: Rule(turn_commands.needs_claim, lambda work, command: work.turns.start(command)),
    CallTool: Rule(turn_commands.needs_claim, lambda work, command: work.turns.call_tool(command)),
    EndTurn: Rule(turn_commands.needs_claim, turn_commands.end, turn_commands.follow_end),
}
