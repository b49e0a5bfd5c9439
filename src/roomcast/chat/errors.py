"""Errors of the domain.

The hierarchy::

    ChatError
    ├── ChatNotFound          the chat does not exist or is hidden from the caller
    ├── NotAMember            the user is not a member; raised only where the chat's existence may be disclosed
    ├── NotAllowed            the caller may not do this in any chat
    ├── RightMissing          the caller's role in the chat does not permit this
    ├── Muted                 the caller may not write in the chat until a time
    ├── Banned                the user may not become a member
    ├── LastOwner             the chat would have members, but no owner
    ├── MemberNotFound        the chat has no such member
    ├── InviteNotFound        there is no such link, or it is no longer valid
    ├── TooManyEntries        the chat has too many bans or links
    ├── UnknownResponder      the server has no such responder
    ├── ChatExists            the id is taken
    ├── ChatArchived          the chat is read-only
    ├── AdditionLimitReached  the caller added users too often; retry later
    ├── RateLimitReached      the caller does something too often; retry later
    ├── MessageNotFound       the chat has no such message
    ├── FileNotFound          the chat has no such file, or it may not be sent
    ├── FileTooLarge          the file is larger than the server accepts
    ├── FileTypeRefused       the server does not accept files of this type
    ├── FileLimitReached      the user has uploaded too much that is not sent
    ├── TurnNotFound          the chat has no such turn
    ├── TooManyMarks          the message has too many reactions, or the chat too many pins
    ├── MessageRefused        the moderation refuses the text
    ├── ModerationUnavailable the moderation gave no verdict; retry later
    ├── QuotaReached          the quota of AI answers is used up until a time
    ├── ErasureNotFound       there is no such erasure
    ├── ExportBusy            too many exports are running; retry later
    ├── AnswerActive          the chat is being answered, and may not be asked meanwhile
    ├── WebhookNotFound       the tenant has no such webhook
    ├── DeliveryNotFound      the webhook has no such dead event
    ├── TooManyWebhooks       the tenant has as many webhooks as it may have
    ├── WebhookLost           the webhook was claimed again, changed or deleted
    ├── TurnLost              the turn was claimed again, or has ended
    ├── FilesUnavailable      the contents of files are unreachable, or there is no place for them; retry
    └── StoreUnavailable      the database is unreachable or full; retry the write
        └── StoreBusy         the write was not attempted; retry it

Layer: chat.
"""

from __future__ import annotations


class ChatError(Exception):
    """Base of this package."""


class ChatNotFound(ChatError):
    """The chat does not exist, or the caller is not a member and must not learn that the chat exists."""

    def __init__(self, chat_id: str) -> None:
        super().__init__(f"chat {chat_id!r} does not exist, or you are not a member of it")
        self.chat_id = chat_id


class PushRefused(ChatError):
    """The server sends no pushes, or not to this endpoint; the text says why."""


class NotAMember(ChatError):
    """The user is not a member of the chat."""

    def __init__(self, chat_id: str, user_id: str | None) -> None:
        super().__init__(f"{user_id!r} is not a member of chat {chat_id!r}")
        self.chat_id = chat_id
        self.user_id = user_id


class NotAllowed(ChatError):
    """The caller may not do this in any chat; the text says why."""


class RightMissing(ChatError):
    """The caller's role in the chat does not permit this."""

    def __init__(self, role: str, right: str) -> None:
        super().__init__(f"as {role} of this chat you may not {right}")


class ErasureNotFound(ChatError):
    """There is no such erasure."""

    def __init__(self) -> None:
        super().__init__("there is no erasure with this id")


class ExportBusy(ChatError):
    """Too many exports are running."""

    def __init__(self) -> None:
        super().__init__("other exports are running; repeat the request")


class Muted(ChatError):
    """The caller may not write in the chat until a time."""

    def __init__(self, until: str) -> None:
        super().__init__(f"you are muted in this chat until {until}")


class Banned(ChatError):
    """The user may not become a member of the chat."""

    def __init__(self, user_id: str) -> None:
        super().__init__(f"user {user_id!r} is banned from this chat; a moderator can end the ban")


class LastOwner(ChatError):
    """The chat would have members, but no owner."""

    def __init__(self) -> None:
        super().__init__("the chat needs an owner while it has other members; make one of them an owner first")


class MemberNotFound(ChatError):
    """The chat has no such member."""

    def __init__(self, user_id: str) -> None:
        super().__init__(f"user {user_id!r} is not a member of this chat")


class InviteNotFound(ChatError):
    """There is no such link, or it has expired or is used up."""

    def __init__(self) -> None:
        super().__init__("this invite link is not valid: it was revoked, has expired or is used up; ask for a new one")


class TooManyEntries(ChatError):
    """The chat has as many bans, or links, as it may have."""


class UnknownResponder(ChatError):
    """The server has no responder of that name."""

    def __init__(self, name: str, known: tuple[str, ...]) -> None:
        super().__init__(f"there is no responder {name!r}; this server has: {', '.join(known) or 'none'}")


class ChatExists(ChatError):
    """The id is taken."""

    def __init__(self, chat_id: str) -> None:
        super().__init__(f"chat {chat_id!r} already exists; choose another id, or leave the id out")
        self.chat_id = chat_id


class ChatArchived(ChatError):
    """The chat is archived."""

    def __init__(self, chat_id: str) -> None:
        super().__init__(f"chat {chat_id!r} is archived and read-only; take it back from the archive first")


class AdditionLimitReached(ChatError):
    """The caller added users to chats too often; nothing was written.

    Attributes:
        retry_after_s: Seconds until the same request can succeed.
    """

    def __init__(self, user_id: str, retry_after_s: int) -> None:
        added = f"user {user_id!r}" if user_id else "users"
        super().__init__(f"you have added {added} to chats too often; try again in {retry_after_s} s")
        self.retry_after_s = retry_after_s


class RateLimitReached(ChatError):
    """The caller does something too often; nothing was done.

    Attributes:
        limit: The limit's name.
        retry_after_s: Seconds until the same request can succeed.
        refusals: Refusals of this caller since it was last permitted something, this one included.
    """

    def __init__(self, limit: str, retry_after_s: int, refusals: int = 1) -> None:
        super().__init__(f"the limit of {limit} is reached; try again in {retry_after_s} s")
        self.limit = limit
        self.retry_after_s = retry_after_s
        self.refusals = refusals


class QuotaReached(ChatError):
    """The quota of AI answers is used up; nothing was done.

    Attributes:
        limit: The name of the quota.
        retry_after_s: Seconds until it is full again.
    """

    def __init__(self, limit: str, resets_at: str, retry_after_s: int) -> None:
        super().__init__(f"the quota of AI answers ({limit}) is used up until {resets_at}")
        self.limit = limit
        self.retry_after_s = retry_after_s


class MessageNotFound(ChatError):
    """The chat has no such message."""

    def __init__(self, chat_id: str, message_id: str) -> None:
        super().__init__(f"chat {chat_id!r} has no message {message_id!r}")


class FileNotFound(ChatError):
    """The chat has no such file, it was sent or removed already, another user uploaded it, or its link is not valid."""

    def __init__(self, file_id: str, remedy: str = "upload it again") -> None:
        super().__init__(f"there is no file {file_id!r} that you may use here; {remedy}")


class EmptyMessage(ChatError):
    """An edit would leave neither text nor files."""

    def __init__(self) -> None:
        super().__init__("the message would have neither a text nor a file; delete it instead")


class FileTooLarge(ChatError):
    """The file is larger than the server accepts."""

    def __init__(self, max_bytes: int) -> None:
        super().__init__(f"the file is larger than {max_bytes} bytes")


class FileTypeRefused(ChatError):
    """The server does not accept files of this type."""

    def __init__(self, media_type: str, accepted: tuple[str, ...]) -> None:
        super().__init__(f"files of type {media_type} are not accepted here; accepted: {', '.join(accepted)}")


class FileLimitReached(ChatError):
    """The user has uploaded as much as it may."""

    def __init__(self, max_bytes: int, which: str) -> None:
        super().__init__(f"your {which} would have more than {max_bytes} bytes; remove some of them")


class TurnNotFound(ChatError):
    """The chat has no such turn."""

    def __init__(self, chat_id: str, turn_id: str) -> None:
        super().__init__(f"chat {chat_id!r} has no turn {turn_id!r}")


class TooManyMarks(ChatError):
    """The message has as many reactions, or the chat as many pins, as it may have."""


class MessageRefused(ChatError):
    """The moderation refuses the text; nothing was written. The text of the error is for its author."""

    def __init__(self, reason: str | None) -> None:
        super().__init__(reason or "the moderation of this server refuses this text")


class ModerationUnavailable(ChatError):
    """The moderation gave no verdict; nothing was written."""

    def __init__(self) -> None:
        super().__init__("the moderation of this server is away, so the text is not stored; repeat the request")


class AnswerActive(ChatError):
    """A turn of the chat is active; nothing was written.

    Attributes:
        turn_id: The active turn.
    """

    def __init__(self, turn_id: str) -> None:
        super().__init__(f"turn {turn_id} is not finished; stop it, or wait for its end")
        self.turn_id = turn_id


class WebhookNotFound(ChatError):
    """The tenant has no such webhook."""

    def __init__(self, webhook_id: str) -> None:
        super().__init__(f"there is no webhook {webhook_id!r}")


class DeliveryNotFound(ChatError):
    """The webhook has no such dead event."""

    def __init__(self, delivery_id: int) -> None:
        super().__init__(f"no dead event of this webhook has the id {delivery_id}; list them with ?state=dead")


class TooManyWebhooks(ChatError):
    """The tenant has as many webhooks as it may have."""

    def __init__(self, limit: int) -> None:
        super().__init__(f"there are {limit} webhooks already; delete one first")


class WebhookLost(ChatError):
    """The claim is void: the webhook was claimed again, changed or deleted."""

    def __init__(self, webhook_id: str) -> None:
        super().__init__(f"the claim on webhook {webhook_id} is void")


class TurnLost(ChatError):
    """The claim is void: the turn was claimed again, or has ended."""

    def __init__(self, turn_id: str, generation: int) -> None:
        super().__init__(f"the claim on turn {turn_id} with generation {generation} is void")
        self.turn_id = turn_id
        self.generation = generation


class FilesUnavailable(ChatError):
    """The contents of files cannot be read or written now."""


class StoreUnavailable(ChatError):
    """The database did not answer or could not write. A failed write may still have been committed; retry it."""


class StoreBusy(StoreUnavailable):
    """Nothing was written, because too many writes are waiting, or the store is closed or damaged."""
