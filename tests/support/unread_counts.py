"""Random use of chats by several devices of each user through several processes, and a recount of what is unread.

The recount reads nothing but the events of a chat. Its rules are those of docs/reference/read-state.md.
"""

from __future__ import annotations

import asyncio
import random
import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx

from roomcast.auth.options import AuthOptions
from roomcast.auth.tokens import TokenIssuer

SECRET = "a secret of more than thirty-two bytes"
_LIMITS = ("MESSAGES", "BYTES", "CHAT_MESSAGES", "REQUESTS", "ADDRESS_REQUESTS")
ENV = {
    "ROOMCAST_SECRET": SECRET,
    "ROOMCAST_RESPONDER": "none",
    **{
        f"ROOMCAST_LIMIT_{name}": "0" for name in ("MESSAGES", "BYTES", "CHAT_MESSAGES", "REQUESTS", "ADDRESS_REQUESTS")
    },
    "ROOMCAST_ADD_LIMIT_SAME_USER": "0",
    "ROOMCAST_ADD_LIMIT_ALL_USERS": "0",
}
USERS = ("ann", "bob", "cid", "dan")
#: The owner of every chat, which never leaves.
OWNER = "own"
CHATS = ("c1", "c2", "c3")
DEVICES = 3
#: Operations at the same time.
ROUND = 24
MAX_UNREAD = 999


@dataclass
class Counts:
    """What is unread of one chat for one user."""

    unread: int = 0
    mentions: int = 0


@dataclass
class Message:
    """A message as its author knows it."""

    id: str
    author: str


@dataclass
class _State:
    heads: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    messages: dict[str, list[Message]] = field(default_factory=lambda: defaultdict(list))
    # The cursor of each user and chat: the greatest mark that was confirmed since the user became a member.
    cursors: dict[tuple[str, str], int] = field(default_factory=dict)
    archived: set[str] = field(default_factory=set)


class UnreadCounts:
    """The users and their devices.

    Args:
        urls: The API of each process.
        seed: Of the random operations.
        check_every: Rounds of operations between two comparisons.

    Attributes:
        done: Operations so far.
        checked: Comparisons of the counts of one user and chat; ``unread``, ``mentions``: those that were not 0.
    """

    def __init__(self, urls: Sequence[str], seed: int, check_every: int = 4) -> None:
        self._random = random.Random(seed)
        self._clients = [httpx.AsyncClient(base_url=url, timeout=60) for url in urls]
        issuer = TokenIssuer(AuthOptions(SECRET))
        names = (*USERS, OWNER)
        self._headers = {
            (user, device): {"Authorization": f"Bearer {issuer.issue(user, ttl_s=86_400)}"}
            for user in names
            for device in range(DEVICES)
        }
        service = issuer.issue("crm", ttl_s=86_400, service=True)
        self._service = {"Authorization": f"Bearer {service}"}
        self._state = _State()
        self.check_every = check_every
        self.done = self.checked = self.unread = self.mentions = 0

    async def create(self) -> None:
        """Create the chats."""
        for chat_id in CHATS:
            body = {"id": chat_id, "members": [OWNER, *USERS[:2]]}
            await self._send("POST", "/api/chats", self._service, body)
            await self._member(chat_id, OWNER, adds=None)
            for user_id in USERS[:2]:
                await self._member(chat_id, user_id, adds=None)

    async def run(self, operations: int) -> None:
        """Use the chats."""
        while self.done < operations:
            # Memberships change alone, so that the order of a change and of the marks around it is known.
            if self._random.random() < 0.4:
                await self._change()
            await asyncio.gather(*(self._operation() for _ in range(ROUND)))
            if self.done % (self.check_every * ROUND) < ROUND:
                await self.check()
        await self.check()

    async def check(self) -> None:
        """Compare the counts of each user, chat, device and process with a recount, also after a page of the list."""
        for chat_id in CHATS:
            events = await self._events(chat_id)
            members = {user_id for user_id in USERS if (user_id, chat_id) in self._state.cursors}
            reads = await self._get(f"/api/chats/{chat_id}/reads", self._service)
            stored = {item["userId"]: item["seq"] for item in reads["reads"] if item["userId"] != OWNER}
            assert stored == {user_id: self._state.cursors[user_id, chat_id] for user_id in members}
            for user_id in members:
                expected = recount(events, user_id, self._state.cursors[user_id, chat_id])
                for number, client in enumerate(self._clients):
                    headers = self._headers[user_id, number % DEVICES]
                    query = {"archived": "true" if chat_id in self._state.archived else "false"}
                    listed = (await client.get("/api/chats", headers=headers, params=query)).json()["chats"]
                    one = (await client.get(f"/api/chats/{chat_id}", headers=headers)).json()
                    for chat in (one, next(chat for chat in listed if chat["id"] == chat_id)):
                        found = Counts(chat["unread"], chat["mentions"])
                        assert found == expected, (chat_id, user_id, found, expected)
                        self.checked += 1
                        self.unread += expected.unread > 0
                        self.mentions += expected.mentions > 0

    async def close(self) -> None:
        """Close the connections."""
        for client in self._clients:
            await client.aclose()

    async def _change(self) -> None:
        """A user joins or leaves a chat, or a chat is archived or taken back."""
        chat_id = self._random.choice(CHATS)
        if self._random.random() < 0.2:
            archives = chat_id not in self._state.archived
            await self._send("PUT" if archives else "DELETE", f"/api/chats/{chat_id}/archive", self._as(OWNER))
            (self._state.archived.add if archives else self._state.archived.discard)(chat_id)
        elif chat_id not in self._state.archived:
            user_id = self._random.choice(USERS)
            await self._member(chat_id, user_id, adds=(user_id, chat_id) not in self._state.cursors)
        self.done += 1

    async def _member(self, chat_id: str, user_id: str, *, adds: bool | None) -> None:
        path = f"/api/chats/{chat_id}/members/{user_id}"
        if adds is not None:
            await self._send("PUT" if adds else "DELETE", path, self._as(OWNER) if adds else self._as(user_id))
        if adds is False:
            del self._state.cursors[user_id, chat_id]
            return
        # Its cursor begins at its addition.
        events = await self._events(chat_id)
        added = (event for event in events if event["event"] == "member-added")
        seqs = [event["seq"] for event in added if event["data"]["userId"] == user_id]
        if user_id != OWNER:
            self._state.cursors[user_id, chat_id] = seqs[-1]

    async def _operation(self) -> None:
        state, choice = self._state, self._random.random()
        chat_id, user_id = self._random.choice(CHATS), self._random.choice((*USERS, OWNER))
        headers = self._as(user_id)
        self.done += 1
        if choice < 0.4:
            body = {"chatId": chat_id, "role": "USER", "content": self._text()}
            sent = await self._send("POST", "/api/chat/messages", headers, body)
            if sent is not None:
                state.messages[chat_id].append(Message(sent["id"], user_id))
                state.heads[chat_id] = max(state.heads[chat_id], sent["seq"])
        elif choice < 0.6:
            own = [message for message in state.messages[chat_id][-30:] if message.author == user_id]
            if not own:
                return
            path = f"/api/chats/{chat_id}/messages/{self._random.choice(own).id}"
            if choice < 0.5:
                edited = await self._send("PUT", path, headers, {"content": self._text()})
                if edited is not None:
                    state.heads[chat_id] = max(state.heads[chat_id], edited["seq"])
                    state.messages[chat_id].append(Message(edited["id"], user_id))
            else:
                await self._send("DELETE", path, headers)
        elif user_id != OWNER:
            # Devices mark in any order, also far behind; some users read rarely.
            head = state.heads[chat_id]
            if user_id == "dan" and self._random.random() < 0.9:
                return
            seq = max(0, head - self._random.choice((0, 0, 0, 1, 2, 5, 20)))
            marked = await self._send("PUT", f"/api/chats/{chat_id}/read", headers, {"seq": seq})
            if marked is not None:
                before = state.cursors[user_id, chat_id]
                state.cursors[user_id, chat_id] = max(before, seq)

    def _text(self) -> str:
        names = self._random.sample((*USERS, OWNER, "stranger"), self._random.choice((0, 0, 1, 2)))
        return " ".join(("hello", *(f"@{name}" for name in names)))

    def _as(self, user_id: str) -> dict[str, str]:
        return self._headers[user_id, self._random.randrange(DEVICES)]

    async def _send(self, method: str, path: str, headers: dict[str, str], body: Any = None) -> Any:
        """The response; None if the server refuses the request, as for users that are no members."""
        client = self._random.choice(self._clients)
        answer = await client.request(method, path, headers=headers, json=body)
        if answer.status_code in {403, 404, 409}:
            return None
        answer.raise_for_status()
        return answer.json() if answer.content else {}

    async def _get(self, path: str, headers: dict[str, str], **query: Any) -> Any:
        client = self._random.choice(self._clients)
        return (await client.get(path, headers=headers, params=query)).raise_for_status().json()

    async def _events(self, chat_id: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        while True:
            after = found[-1]["seq"] if found else 0
            page = await self._get(f"/api/chats/{chat_id}/events", self._service, after=after, limit=2000)
            found += page["events"]
            if not page["events"]:
                return found


def recount(events: Sequence[dict[str, Any]], user_id: str, cursor: int) -> Counts:
    """Count the messages after a cursor from the events of a chat."""
    members: set[str] = set()
    unread: set[int] = set()
    mentions: set[int] = set()
    for event in events:
        data, name = event["data"], event["event"]
        if name == "member-added":
            members.add(data["userId"])
        elif name == "member-removed":
            members.discard(data["userId"])
        elif name == "msg-deleted":
            unread.discard(data["place"])
            mentions.discard(data["place"])
        elif name == "new-msg" and data["userId"] != user_id and data["place"] > cursor:
            if data.get("version", 1) == 1:
                unread.add(data["place"])
            if user_id in members and user_id in re.findall(r"@(\w+)", data["content"]):
                mentions.add(data["place"])
    return Counts(min(len(unread), MAX_UNREAD), min(len(mentions), MAX_UNREAD))
