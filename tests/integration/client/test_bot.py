"""The Python client and a bot against real servers: restarts, removals, handlers that fail."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path

import pytest

from roomcast.auth.options import AuthOptions
from roomcast.auth.tokens import TokenIssuer
from roomcast.cli.exit_codes import EXIT_REFUSED
from roomcast.client import Bot, ChatHandle, Client, Event, Message, Refused, Unreachable
from roomcast.client.bot import RESCAN_S
from roomcast.client.bot_cursors import BotCursors
from roomcast.contract.errors import ErrorCode
from support.commands import Command
from support.processes import Roomcast
from support.waiting import until

SECRET = "a secret of the tests with enough bytes"
LIMIT_S = 30.0


def token(user_id: str) -> str:
    return TokenIssuer(AuthOptions(secret=SECRET)).issue(user_id, ttl_s=600)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Roomcast]:
    with Roomcast.up(tmp_path / "data", "--responder", "none", env={"ROOMCAST_SECRET": SECRET}) as server:
        yield server


def client(server: Roomcast, user_id: str) -> Client:
    return Client(server.api_url, token(user_id))


@asynccontextmanager
async def running(bot: Bot, client: Client, cursors: BotCursors | None = None) -> AsyncIterator[asyncio.Task[None]]:
    """A bot that receives messages."""
    started = asyncio.Event()
    task = asyncio.create_task(bot.run(client, cursors=cursors, started=started.set))
    try:
        async with asyncio.timeout(LIMIT_S):
            await started.wait()
        yield task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def echo(seen: list[str] | None = None) -> Bot:
    bot = Bot()

    @bot.on_message
    async def answer(message: Message, _chat: ChatHandle) -> str | None:
        if seen is not None:
            seen.append(message.content)
        return f"re: {message.content}"

    return bot


async def contents(chat: ChatHandle, count: int) -> list[str]:
    """The contents of the chat, once it has so many messages."""

    async def complete() -> list[str] | None:
        messages = await chat.messages(limit=200)
        return [each.content for each in messages] if len(messages) >= count else None

    return await until(complete, limit_s=LIMIT_S)


async def test_the_client_creates_sends_edits_marks_and_reads(server: Roomcast) -> None:
    async with client(server, "alice") as alice, client(server, "bob") as bob:
        chat = alice.chat((await alice.create_chat("Team", ["bob"])).id)
        first = await chat.send("one")
        again = await chat.send("repeated", client_msg_id=first.client_msg_id)
        assert again == first
        second = await bob.chat(chat.id).send("two", reply_to=first.id)
        assert (second.user_id, second.reply_to) == ("bob", first.id)
        assert (await chat.edit(first.id, "one, edited")).version == 2
        await chat.react(second.id, "👍")
        await chat.pin(second.id)
        await bob.chat(chat.id).delete(second.id)
        await chat.add("carol/ä b")
        assert [member.user_id for member in await chat.members()] == ["alice", "bob", "carol/ä b"]
        assert [(m.content, m.deleted) for m in await chat.messages()] == [("one, edited", False), ("", True)]
        assert [each.title async for each in bob.chats()] == ["Team"]
        assert (await bob.me()).user_id == "bob"
        await chat.remove("bob")
        with pytest.raises(Refused) as refused:
            await bob.chat(chat.id).send("three")
        assert refused.value.code == ErrorCode.CHAT_NOT_FOUND


async def test_events_continue_after_a_cursor_through_a_restart_of_the_server(server: Roomcast) -> None:
    async with client(server, "alice") as alice:
        chat = alice.chat((await alice.create_chat()).id)
        for number in range(3):
            await chat.send(str(number))
        found: list[Event] = []
        async with asyncio.timeout(LIMIT_S), aclosing(chat.events(0)) as events:
            async for event in events:
                assert isinstance(event, Event)
                found.append(event)
                if event.seq == 4:
                    server.stop()
                    server.start()
                    await chat.send("after")
                if event.seq == 5:
                    break
        assert [event.seq for event in found] == [1, 2, 3, 4, 5]
        assert [event.message.content for event in found if event.message] == ["0", "1", "2", "after"]
        async with asyncio.timeout(LIMIT_S), aclosing(chat.events(found[2].cursor)) as events:
            assert [(await anext(events)).seq for _ in range(2)] == [4, 5]


async def test_a_bot_answers_in_old_and_new_chats_and_not_itself_nor_what_was_before_it(server: Roomcast) -> None:
    async with client(server, "alice") as alice:
        old = alice.chat((await alice.create_chat("old", ["robot"])).id)
        await old.send("before the bot")
        private = alice.chat((await alice.create_chat("private")).id)
        await private.send("secret")
        seen: list[str] = []
        async with running(echo(seen), client(server, "robot")):
            await old.send("a")
            new = alice.chat((await alice.create_chat("new", ["robot"])).id)
            await new.send("b")
            await private.add("robot")
            await private.send("c")
            assert await contents(old, 3) == ["before the bot", "a", "re: a"]
            assert await contents(new, 2) == ["b", "re: b"]
            assert await contents(private, 3) == ["secret", "c", "re: c"]
            assert sorted(seen) == ["a", "b", "c"]


async def test_a_bot_that_was_away_handles_what_it_missed_once(server: Roomcast, tmp_path: Path) -> None:
    async with client(server, "alice") as alice:
        chat = alice.chat((await alice.create_chat("t", ["robot"])).id)
        with BotCursors(tmp_path / "state.db") as cursors:
            async with running(echo(), client(server, "robot"), cursors):
                await chat.send("one")
                await contents(chat, 2)
            # Cancelled between the reply and its cursor, at worst: the reply is not sent again.
            await chat.send("two")
            server.stop()
            server.start()
            await chat.send("three")
        with BotCursors(tmp_path / "state.db") as cursors:
            async with running(echo(), client(server, "robot"), cursors):
                found = await contents(chat, 6)
                await chat.send("four")
                found = await contents(chat, 8)
    assert sorted(found) == sorted(text for word in ("one", "two", "three", "four") for text in (word, f"re: {word}"))


async def test_a_bot_that_ran_without_a_chat_handles_the_first_one_that_it_missed(
    server: Roomcast, tmp_path: Path
) -> None:
    async with client(server, "alice") as alice:
        with BotCursors(tmp_path / "state.db") as cursors:
            async with running(echo(), client(server, "newcomer"), cursors):
                pass
        chat = alice.chat((await alice.create_chat("t", ["newcomer"])).id)
        await chat.send("while it was away")
        with BotCursors(tmp_path / "state.db") as cursors:
            async with running(echo(), client(server, "newcomer"), cursors):
                assert await contents(chat, 2) == ["while it was away", "re: while it was away"]


async def test_a_message_that_is_handled_again_is_answered_once(server: Roomcast) -> None:
    attempts: list[str] = []
    bot = Bot()

    @bot.on_message
    async def answer(message: Message, chat: ChatHandle) -> None:
        attempts.append(message.content)
        await chat.send(f"re: {message.content}")
        if message.content == "one" and len(attempts) < 3:
            raise RuntimeError("a fault of the handler")

    async with client(server, "alice") as alice:
        chat = alice.chat((await alice.create_chat("t", ["robot"])).id)
        async with running(bot, client(server, "robot")):
            await chat.send("one")
            await chat.send("two")
            assert sorted(await contents(chat, 4)) == ["one", "re: one", "re: two", "two"]
    assert attempts == ["one", "one", "one", "two"]


async def test_a_refused_reply_is_skipped_and_neither_ends_nor_blocks_the_bot(
    server: Roomcast, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    seen: list[str] = []
    bot = Bot()
    async with client(server, "alice") as alice:
        chat = alice.chat((await alice.create_chat("t", ["robot"])).id)
        archived = alice.chat((await alice.create_chat("archived", ["robot"])).id)
        other = alice.chat((await alice.create_chat("other", ["robot"])).id)

        @bot.on_message
        async def answer(message: Message, handle: ChatHandle) -> str | None:
            seen.append(message.content)
            if message.content == "another chat":
                await robot.chat("no-such-chat").send("hello")
            if handle.id == archived.id:
                await alice.api.change("PUT", "chats", archived.id, "archive")
            return {"blank": "  ", "long": "x" * 40_000}.get(message.content, f"re: {message.content}")

        with BotCursors(tmp_path / "state.db") as cursors:
            async with client(server, "robot") as robot, running(bot, client(server, "robot"), cursors) as task:
                refused = [await chat.send(content) for content in ("blank", "long", "another chat")]
                await chat.send("one")
                assert (await contents(chat, 5))[3:] == ["one", "re: one"]
                refused.append(await archived.send("last"))

                async def skipped() -> bool:
                    return str(refused[-1].id) in caplog.text

                await until(skipped, limit_s=LIMIT_S)
                assert not task.done()
        for message in refused:
            assert f"message {message.id} of chat {message.chat_id} is refused" in caplog.text
        with BotCursors(tmp_path / "state.db") as cursors:
            async with running(bot, client(server, "robot"), cursors):
                await other.send("two")
                assert await contents(other, 2) == ["two", "re: two"]
    assert seen == ["blank", "long", "another chat", "one", "last", "two"]


async def test_a_removed_bot_forgets_the_chat_and_goes_on_in_others(server: Roomcast) -> None:
    async with client(server, "alice") as alice:
        left = alice.chat((await alice.create_chat("left", ["robot"])).id)
        kept = alice.chat((await alice.create_chat("kept", ["robot"])).id)
        seen: list[str] = []
        async with running(echo(seen), client(server, "robot")) as task:
            await left.remove("robot")
            await left.send("not for the bot")
            await kept.send("hello")
            await contents(kept, 2)
            assert not task.done()
        assert seen == ["hello"]


async def test_a_bot_whose_token_is_refused_ends(server: Roomcast) -> None:
    with pytest.raises(Refused) as refused:
        await echo().run(Client(server.api_url, "no token"))
    assert refused.value.code == ErrorCode.UNAUTHORIZED


async def test_a_bot_whose_token_is_refused_later_ends_with_that_error(server: Roomcast) -> None:
    given = token("robot")
    async with client(server, "alice") as alice:
        chat = alice.chat((await alice.create_chat("t", ["robot"])).id)
        async with running(echo(), Client(server.api_url, lambda: given)) as task:
            given = "no token"
            await chat.send("one")
            with pytest.raises(Refused) as refused:
                await asyncio.wait_for(task, LIMIT_S)
    assert refused.value.code == ErrorCode.UNAUTHORIZED


async def test_the_command_ends_with_the_exit_code_of_the_refusal_in_one_line(server: Roomcast, tmp_path: Path) -> None:
    (tmp_path / "robots.py").write_text("from roomcast.client import Bot\nbot = Bot()\nbot.on_message(print)\n")
    (tmp_path / "token").write_text(token("robot"))
    options = ("--url", server.api_url, "--token-file", str(tmp_path / "token"))
    async with client(server, "alice") as alice:
        chat = alice.chat((await alice.create_chat("t", ["robot"])).id)
        with Command("bot", "robots", *options, env={"PYTHONPATH": str(tmp_path)}) as command:
            await command.until_lines(1)
            (tmp_path / "token").write_text("a.b.c")
            await chat.send("one")
            assert command.wait() == EXIT_REFUSED
    (line,) = command.errors
    assert "the server refuses the token" in line


async def test_a_bot_with_a_service_token_answers_soon_and_not_itself(server: Roomcast) -> None:
    issued = TokenIssuer(AuthOptions(secret=SECRET)).issue("weather", ttl_s=600, service=True)
    service = Client(server.api_url, issued, user_id="robot", patience_s=RESCAN_S / 2)
    async with client(server, "alice") as alice, running(echo(), service):
        chat = alice.chat((await alice.create_chat()).id)
        async with asyncio.timeout(RESCAN_S / 2):
            for content in ("one", "two"):
                await chat.send(content)
                await contents(chat, 2 if content == "one" else 4)
        messages = await chat.messages()
    assert [(each.user_id, each.content) for each in messages] == [
        ("alice", "one"),
        ("robot", "re: one"),
        ("alice", "two"),
        ("robot", "re: two"),
    ]


async def test_a_service_follows_and_marks_a_chat(server: Roomcast) -> None:
    issued = TokenIssuer(AuthOptions(secret=SECRET)).issue("weather", ttl_s=600, service=True)
    service = Client(server.api_url, issued, user_id="robot")
    async with client(server, "alice") as alice, service, asyncio.timeout(LIMIT_S):
        chat = alice.chat((await alice.create_chat()).id)
        first = await chat.send("one")
        async with aclosing(service.chat(chat.id).events(1)) as events:
            assert (await anext(events)).seq == first.seq
            second = await chat.send("two")
            item = await anext(events)
            assert isinstance(item, Event)
            assert item.message == second
            await service.chat(chat.id).react(second.id, "👍")
            await service.chat(chat.id).react(second.id, "👍", adds=False)
            marks = [await anext(events) for _ in range(2)]
            assert [(each.name, each.data["userId"]) for each in marks if isinstance(each, Event)] == [
                ("reaction", "robot"),
                ("reaction", "robot"),
            ]
            await alice.api.change("DELETE", "chats", chat.id)
            with pytest.raises(Refused) as refused:
                await anext(events)
    assert refused.value.code == ErrorCode.CHAT_NOT_FOUND


async def test_a_bot_that_does_not_know_its_own_user_id_does_not_start(server: Roomcast, tmp_path: Path) -> None:
    issued = TokenIssuer(AuthOptions(secret=SECRET)).issue("weather", ttl_s=600, service=True)
    with pytest.raises(ValueError, match="a service token names no author: give the bot a user id"):
        await echo().run(Client(server.api_url, issued))
    with (
        Roomcast.up(tmp_path / "open", "--responder", "none") as no_authentication,
        pytest.raises(ValueError, match="authentication is off: give the bot a user id"),
    ):
        await echo().run(Client(no_authentication.api_url), chats=["lobby"])


async def test_a_refused_join_is_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    limits = {"ROOMCAST_SECRET": SECRET, "ROOMCAST_LIMIT_JOINS": "1"}
    with Roomcast.up(tmp_path / "limited", "--responder", "none", env=limits) as server:
        async with client(server, "alice") as alice:
            chats = [alice.chat((await alice.create_chat(title, ["robot"])).id) for title in "ab"]
            async with running(echo(), client(server, "robot")):
                for chat in chats:
                    await chat.send("one")
                    assert await contents(chat, 2) == ["one", "re: one"]
    assert any(f"join-chat {chat.id} is refused" in caplog.text for chat in chats)


async def test_an_answer_beyond_the_quota_is_refused_at_once(tmp_path: Path) -> None:
    env = {"ROOMCAST_SECRET": SECRET, "ROOMCAST_QUOTA_USER_TURNS": "1"}
    with Roomcast.up(tmp_path / "data", "--responder", "demo", env=env) as server:
        async with client(server, "alice") as alice, asyncio.timeout(LIMIT_S / 2):
            chat = alice.chat((await alice.create_chat("Questions")).id)
            await chat.send("one")
            with pytest.raises(Refused) as refused:
                await chat.send("two")
    assert refused.value.code == ErrorCode.QUOTA_REACHED


async def test_events_wait_for_a_server_that_is_away_at_the_start(server: Roomcast) -> None:
    async with client(server, "alice") as alice, asyncio.timeout(LIMIT_S):
        chat = alice.chat((await alice.create_chat("Team")).id)
        await chat.send("one")
        await alice.gateway_url()
        server.stop()
        async with aclosing(chat.events(0)) as events:
            first = asyncio.ensure_future(anext(events))
            await asyncio.wait([first], timeout=1)
            assert not first.done()
            await asyncio.to_thread(server.start)
            item = await first
    assert isinstance(item, Event)
    assert item.seq == 1


async def test_a_server_that_stays_away_is_unreachable() -> None:
    async with Client("http://127.0.0.1:1", patience_s=0.3) as away:
        with pytest.raises(Unreachable):
            await away.me()


async def test_a_slow_upload_is_not_cut_by_the_patience_for_answers() -> None:
    attempts = 0
    stored = {"id": "f", "name": "file", "type": "text/plain", "size": 200_000, "width": None, "height": None}
    body = json.dumps(stored).encode()

    async def receive(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal attempts
        attempts += 1
        await reader.readuntil(b"\r\n\r\n")
        for _ in range(10):  # a slow line: a second for the file
            await reader.readexactly(20_000)
            await asyncio.sleep(0.1)
        writer.write(b"HTTP/1.1 201 Created\r\ncontent-length: %d\r\nconnection: close\r\n\r\n%b" % (len(body), body))
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(receive, "127.0.0.1", 0) as slow:
        port = slow.sockets[0].getsockname()[1]
        async with Client(f"http://127.0.0.1:{port}", patience_s=0.3) as alice:
            assert (await alice.chat("c").upload(b"x" * 200_000)).id == "f"
    assert attempts == 1


async def test_a_message_has_files_of_this_machine(server: Roomcast, tmp_path: Path) -> None:
    notes = tmp_path / "notes.txt"
    notes.write_text("what was said")
    async with client(server, "ann") as ann:
        chat = ann.chat((await ann.create_chat("files")).id)
        named = await chat.upload(b"%PDF-1.7", "plan.pdf")
        message = await chat.send(files=[notes, named])
    assert [(file.name, file.type, file.size) for file in message.attachments] == [
        ("notes.txt", "text/plain", 13),
        ("plan.pdf", "application/pdf", 8),
    ]
