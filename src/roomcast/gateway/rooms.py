"""Names of the gateway's Socket.IO rooms.

Layer: gateway.
"""


def chat_room(chat_id: str) -> str:
    """The room of a chat's local members."""
    return f"chat:{chat_id}"


def stream_room(chat_id: str) -> str:
    """The room of the local members that receive the chunks of answers; no id makes it the name of another room."""
    return f"chat-stream:{chat_id}"


def user_room(user_id: str) -> str:
    """The room of a user's sockets, which they enter with ``join-user``."""
    return f"user:{user_id}"
