"""A bot in ten lines: greets users that say hello, in every chat of its user.

Run it beside ``roomcast up``: ``cd examples && ../.venv/bin/roomcast bot bot --user greeter --chat lobby``
"""

from roomcast.client import Bot, ChatHandle, Message

bot = Bot()


@bot.on_message
async def greet(message: Message, chat: ChatHandle) -> str | None:
    """Return the text of the reply; None: no reply."""
    return f"Hello, {message.user_id}!" if message.content.lower().startswith("hello") else None
