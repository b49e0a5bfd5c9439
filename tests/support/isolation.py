"""Random use of one installation by several tenants, and a model of what each user may see.

Every text has a marker with its tenant, its chat and the number of its operation. All tenants have the same ids of
chats, and half of their users. Whatever a user receives, by REST or on a socket, may only have markers of chats of its
own tenant of which it is a member (REST) or was one at that time or later (sockets). The routes to read come from the
OpenAPI document, so a new route is covered without a change here. AI answers repeat the context of the model.
"""

from __future__ import annotations

import itertools
import os
import random
import re
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import httpx

from roomcast.auth.options import AuthOptions
from roomcast.auth.tokens import TokenIssuer
from roomcast.contract.tenants import qualify
from support.clients import ChatClient

SECRET: Final = "a secret of more than thirty-two bytes"
TENANTS: Final = ("", "acme", "umbrella")
#: Of a server whose limits no test reaches.
ENV: Final[Mapping[str, str]] = {
    "PYTHONPATH": os.pathsep.join(filter(None, (str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH")))),
    "ROOMCAST_SECRET": SECRET,
    "ROOMCAST_RESPONDER": "support.context_responder:answer",
    "ROOMCAST_ADD_LIMIT_SAME_USER": "100000",
    "ROOMCAST_ADD_LIMIT_ALL_USERS": "100000",
} | {
    f"ROOMCAST_LIMIT_{name}": "0"
    for name in (
        "MESSAGES", "BYTES", "CHAT_MESSAGES", "REQUESTS", "ADDRESS_REQUESTS", "JOINS", "TYPING", "EVENTS",
        "CONNECTIONS", "ADDRESS_CONNECTIONS", "UPLOADS",
    )
}  # fmt: skip
_MARKER: Final = re.compile(r"mk(\d+)x(\w+?)x(\d+)x")
_NEVER: Final = 2**60

Place = tuple[int, str]


class Leak(AssertionError):
    """A user received what it must not see."""


@dataclass
class Chat:
    """What the model knows of a chat.

    Attributes:
        periods: For each user the operations at which it became a member and, exclusive, ceased to be one.
        messages: Id and author of each message.
        banned: The users that may not become members.
    """

    periods: dict[str, list[list[int]]] = field(default_factory=lambda: defaultdict(list))
    messages: list[tuple[str, str]] = field(default_factory=list)
    banned: set[str] = field(default_factory=set)

    def has(self, user: str) -> bool:
        """Whether a user is a member."""
        return bool(self.periods.get(user)) and self.periods[user][-1][1] == _NEVER

    def may_see(self, user: str, operation: int) -> bool:
        """Whether a user is a member at an operation, or becomes one later."""
        return any(end > operation for _, end in self.periods.get(user, ()))

    @property
    def members(self) -> list[str]:
        """The members."""
        return [user for user in self.periods if self.has(user)]


class Isolation:
    """One run.

    Args:
        api: URL of the API.
        gateways: URLs of the gateways.
        seed: Of every random choice.
        users: Number of users per tenant.
        chats: Number of chats per tenant.
        sockets: Number of users per tenant that are connected.

    Attributes:
        done: The number of operations by name and outcome.
    """

    def __init__(self, api: str, gateways: Sequence[str], seed: int, *, users: int, chats: int, sockets: int) -> None:
        self._api = api
        self._gateways = gateways
        self._chance = random.Random(seed)
        self._numbers = itertools.count(1)
        self._chats: dict[Place, Chat] = {
            (tenant, f"c{number}"): Chat() for tenant in range(len(TENANTS)) for number in range(chats)
        }
        # Every second user exists in one tenant only, so that ids tell tenants apart.
        self._users = {
            tenant: [f"u{number}" if number % 2 else f"u{number}-of-{tenant}" for number in range(users)]
            for tenant in range(len(TENANTS))
        }
        self._connected = sockets
        self._sockets: dict[tuple[int, str], ChatClient] = {}
        self._issuer = TokenIssuer(AuthOptions(SECRET))
        self._tokens: dict[tuple[int, str], str] = {}
        self._reads: list[tuple[str, list[dict[str, Any]]]] = []
        self._writes: list[tuple[str, str]] = []
        # Place, id, uploader, and whether a message has it.
        self._files: list[tuple[Place, str, str, bool]] = []
        # Place, the user that it was given to, and the URL.
        self._links: list[tuple[Place, str, str]] = []
        self.done: Counter[str] = Counter()

    async def run(self, operations: int) -> None:
        """Run random operations, and check all that was received.

        Raises:
            Leak: a user received what it must not see.
        """
        kinds: list[tuple[int, Callable[[], Awaitable[None]]]] = [
            (6, self._send), (2, self._edit), (2, self._delete), (3, self._react), (1, self._pin),
            (4, self._add), (3, self._remove), (4, self._join), (1, self._leave), (2, self._type),
            (12, self._read), (6, self._intrude), (2, self._change_member), (1, self._ban), (2, self._mark_read),
            (3, self._search), (3, self._upload), (6, self._link), (6, self._download),
        ]  # fmt: skip
        weights, steps = zip(*kinds, strict=True)
        async with AsyncExitStack() as stack:
            limits = httpx.Limits(max_connections=8)
            self._http = await stack.enter_async_context(
                httpx.AsyncClient(base_url=self._api, timeout=60, limits=limits)
            )
            await self._read_routes()
            for place in self._chats:
                await self._create(place)
            await self._connect(stack)
            for _ in range(operations):
                await self._chance.choices(steps, weights)[0]()
            for tenant, user in list(self._sockets):
                await self._sockets[tenant, user].call("ping")  # what was sent before has arrived
            await self._check_sockets()

    # -- set-up

    async def _read_routes(self) -> None:
        document = (await self._http.get("/openapi.json")).json()
        for path, methods in document["paths"].items():
            for method, operation in methods.items():
                if method == "get":
                    self._reads.append((path, operation.get("parameters", [])))
                elif "{chat_id}" in path:
                    self._writes.append((method, path))

    async def _create(self, place: Place) -> None:
        tenant, name = place
        members = self._chance.sample(self._users[tenant], k=2)
        answer = await self._request(
            tenant, "backend", "POST", "/api/chats", json={"id": name, "members": members}, service=True
        )
        assert answer.status_code == 201, answer.text
        settings = {"answers": "mention", "systemPrompt": self._mark((tenant, name))}
        answer = await self._request(tenant, "backend", "PUT", f"/api/chats/{name}/ai", json=settings, service=True)
        assert answer.status_code == 200, answer.text
        for user in members:
            self._chats[place].periods[user].append([0, _NEVER])

    async def _connect(self, stack: AsyncExitStack) -> None:
        for tenant, users in self._users.items():
            for user in users[: self._connected]:
                client = ChatClient(self._chance.choice(self._gateways), auth={"token": self._token(tenant, user)})
                self._sockets[tenant, user] = await stack.enter_async_context(client)
                assert (await client.call("join-user", user))["ok"]
                for (of, name), chat in self._chats.items():
                    if of == tenant and chat.has(user):
                        assert (await client.join(name))["ok"]

    def _token(self, tenant: int, user: str, *, service: bool = False) -> str:
        key = (tenant, f"service {user}" if service else user)
        if key not in self._tokens:
            qualified = qualify(TENANTS[tenant], user)
            self._tokens[key] = self._issuer.issue(qualified, ttl_s=86_400, service=service)
        return self._tokens[key]

    async def _request(
        self, tenant: int, user: str, method: str, path: str, *, service: bool = False, **options: Any
    ) -> httpx.Response:
        """Send a request, and check its response."""
        headers = {
            "Authorization": f"Bearer {self._token(tenant, user, service=service)}",
            **options.pop("headers", {}),
        }
        answer = await self._http.request(method, path, headers=headers, **options)
        if answer.status_code >= 500:
            raise AssertionError(f"{method} {path}: {answer.status_code} {answer.text}")
        for place, _ in self._marks(answer.text):
            # An export has the user's own messages, also of chats that it has left.
            visible = service or self._chats[place].has(user) or path.endswith(f"/users/{user}/export")
            if place[0] != tenant or not visible:
                raise Leak(f"{method} {path}: {user} of {tenant} got {answer.text}")
        if "\\u001f" in answer.text:
            raise Leak(f"{method} {path}: a qualified id in {answer.text}")
        return answer

    def _marks(self, text: str) -> Iterator[tuple[Place, int]]:
        for tenant, chat, number in _MARKER.findall(text):
            yield (int(tenant), chat), int(number)

    def _mark(self, place: Place) -> str:
        return f"mk{place[0]}x{place[1]}x{next(self._numbers)}x"

    # -- operations

    def _pick(self) -> tuple[Place, Chat, str, bool]:
        """A chat, any user of its tenant, and whether it is a member; members are as likely as others."""
        place = self._chance.choice(list(self._chats))
        chat = self._chats[place]
        users = chat.members if chat.members and self._chance.random() < 0.5 else self._users[place[0]]
        user = self._chance.choice(users)
        return place, chat, user, chat.has(user)

    def _count(self, name: str, answer: httpx.Response, *, member: bool) -> bool:
        """Count an operation; fail if a user that is no member succeeded. Returns whether it succeeded."""
        succeeded = answer.status_code < 300
        if succeeded and not member:
            raise Leak(
                f"{name} of a user that is no member: {answer.request.method} {answer.request.url} {answer.text}"
            )
        self.done[f"{name} {'done' if succeeded else 'refused'}"] += 1
        return succeeded

    async def _send(self) -> None:
        (tenant, name), chat, user, member = self._pick()
        content = self._mark((tenant, name)) + self._chance.choice(["", " @ai", " what is new?"])
        body = {"chatId": name, "role": "USER", "content": content}
        if chat.messages and self._chance.random() < 0.3:
            body["replyTo"] = self._chance.choice(chat.messages)[0]
        answer = await self._request(tenant, user, "POST", "/api/chat/messages", json=body)
        if self._count("send", answer, member=member):
            chat.messages.append((answer.json()["id"], user))

    def _message(self, place: Place, author: str | None = None) -> str:
        """Id of a message: of this chat, rather of this author; or of any other."""
        own = self._chats[place].messages
        own = [message for message in own if message[1] == author] or own
        every = own if own and self._chance.random() < 0.8 else [m for c in self._chats.values() for m in c.messages]
        return self._chance.choice(every)[0] if every else "none"

    async def _edit(self) -> None:
        (tenant, name), chat, user, member = self._pick()
        path = f"/api/chats/{name}/messages/{self._message((tenant, name), user)}"
        body = {"content": self._mark((tenant, name))}
        answer = await self._request(tenant, user, "PUT", path, json=body)
        if self._count("edit", answer, member=member):
            chat.messages.append((answer.json()["id"], user))

    async def _delete(self) -> None:
        (tenant, name), _, user, member = self._pick()
        path = f"/api/chats/{name}/messages/{self._message((tenant, name), user)}"
        self._count("delete", await self._request(tenant, user, "DELETE", path), member=member)

    async def _react(self) -> None:
        (tenant, name), _, user, member = self._pick()
        path = f"/api/chats/{name}/messages/{self._message((tenant, name))}/reactions/👍"
        method = self._chance.choice(["PUT", "DELETE"])
        self._count("react", await self._request(tenant, user, method, path), member=member)

    async def _pin(self) -> None:
        (tenant, name), _, user, member = self._pick()
        path = f"/api/chats/{name}/messages/{self._message((tenant, name))}/pin"
        method = self._chance.choice(["PUT", "DELETE"])
        self._count("pin", await self._request(tenant, user, method, path), member=member)

    async def _add(self) -> None:
        (tenant, name), chat, user, member = self._pick()
        other = self._chance.choice(self._users[tenant])
        service = self._chance.random() < 0.5
        caller = "backend" if service else user
        path = f"/api/chats/{name}/members/{other}"
        answer = await self._request(tenant, caller, "PUT", path, service=service)
        if self._count("add", answer, member=member or service) and not chat.has(other):
            if other in chat.banned:
                raise Leak(f"{other} is banned and was added: {answer.request.url}")
            chat.periods[other].append([next(self._numbers), _NEVER])

    async def _remove(self) -> None:
        (tenant, name), chat, user, member = self._pick()
        other = self._chance.choice([user, *chat.members])
        path = f"/api/chats/{name}/members/{other}"
        answer = await self._request(tenant, user, "DELETE", path)
        if self._count("remove", answer, member=member) and chat.has(other):
            chat.periods[other][-1][1] = next(self._numbers)

    async def _change_member(self) -> None:
        """Change a role, or mute: which of both may do it is the subject of other tests."""
        (tenant, name), chat, user, member = self._pick()
        other = self._chance.choice(chat.members or [user])
        service = self._chance.random() < 0.5
        roles = [{"role": role} for role in ("owner", "moderator", "member", "reader")]
        change = self._chance.choice([*roles, {"mutedFor": 1}, {"mutedFor": None}])
        answer = await self._request(
            tenant,
            "backend" if service else user,
            "PATCH",
            f"/api/chats/{name}/members/{other}",
            json=change,
            service=service,
        )
        self._count("change member", answer, member=member or service)

    async def _ban(self) -> None:
        (tenant, name), chat, user, member = self._pick()
        service = self._chance.random() < 0.5
        ends = bool(chat.banned) and self._chance.random() < 0.7
        other = self._chance.choice(sorted(chat.banned) if ends else [user, *chat.members])
        answer = await self._request(
            tenant,
            "backend" if service else user,
            "DELETE" if ends else "PUT",
            f"/api/chats/{name}/bans/{other}",
            service=service,
        )
        if not self._count("end ban" if ends else "ban", answer, member=member or service):
            return
        if ends:
            chat.banned.discard(other)
            return
        chat.banned.add(other)
        if chat.has(other):
            chat.periods[other][-1][1] = next(self._numbers)

    async def _mark_read(self) -> None:
        (tenant, name), _, user, member = self._pick()
        answer = await self._request(
            tenant, user, "PUT", f"/api/chats/{name}/read", json={"seq": self._chance.randrange(1, 100)}
        )
        self._count("mark read", answer, member=member)

    async def _search(self) -> None:
        """Search for the texts of any chat of any tenant: markers of others are found by `_request`."""
        (tenant, name), _, user, member = self._pick()
        query = {"q": f"mk{self._chance.randrange(len(TENANTS))}x{name}x", "limit": 100}
        if within := self._chance.random() < 0.5:
            query["chatId"] = name
        answer = await self._request(tenant, user, "GET", "/api/search", params=query)
        self._count("search", answer, member=member or not within)
        if answer.is_success and answer.json()["hits"]:
            self.done["search with hits"] += 1

    async def _upload(self) -> None:
        (tenant, name), chat, user, member = self._pick()
        mark = self._mark((tenant, name))
        answer = await self._request(
            tenant,
            user,
            "POST",
            f"/api/chats/{name}/files",
            params={"name": f"{mark}.txt"},
            content=mark.encode(),
            headers={"Content-Type": "application/octet-stream"},
        )
        if not self._count("upload", answer, member=member):
            return
        file_id, sends = answer.json()["id"], self._chance.random() < 0.7
        self._files.append(((tenant, name), file_id, user, sends))
        if sends:
            body = {"chatId": name, "role": "USER", "content": "@ai", "files": [file_id]}
            sent = await self._request(tenant, user, "POST", "/api/chat/messages", json=body)
            assert sent.status_code == 201, sent.text
            chat.messages.append((sent.json()["id"], user))

    def _file(self, place: Place) -> str:
        """Id of a file: rather of this chat."""
        own = [one for one in self._files if one[0] == place]
        files = own if own and self._chance.random() < 0.7 else self._files
        return self._chance.choice(files)[1] if files else "none"

    async def _link(self) -> None:
        place, _, user, member = self._pick()
        path = f"/api/chats/{place[1]}/files"
        asked = {"id": [self._file(place) for _ in range(3)]}
        answer = await self._request(place[0], user, "GET", path, params=asked)
        if self._count("link", answer, member=member):
            visible = {file for of, file, owner, sent in self._files if of == place and (sent or owner == user)}
            for link in answer.json()["links"]:
                if link["id"] not in visible:
                    raise Leak(f"{user} of {place} got a link to {link}")
                self._links.append((place, user, link["url"]))

    async def _download(self) -> None:
        """Use a link that some user was given, perhaps while it was a member."""
        if self._links:
            ended = [link for link in self._links if not self._chats[link[0]].has(link[1])]
            place, user, url = self._chance.choice(ended if ended and self._chance.random() < 0.5 else self._links)
            answer = await self._http.get(url + self._chance.choice(["", "&thumbnail=true"]))
            if answer.status_code < 300 and [of for of, _ in self._marks(answer.text)] != [place]:
                raise Leak(f"{url} of {place} leads to {answer.text}")
            self._count("download", answer, member=self._chats[place].has(user))

    async def _on_socket(self, event: str, payload: dict[str, Any] | None = None) -> None:
        (tenant, user), client = self._chance.choice(list(self._sockets.items()))
        names = [name for of, name in self._chats if of == tenant]
        own = [name for name in names if self._chats[tenant, name].has(user)]
        name = self._chance.choice(own if own and self._chance.random() < 0.6 else names)
        ack = await client.call(event, {"chatId": name, **(payload or {})})
        if ack.get("ok") and event == "join-chat" and not self._chats[tenant, name].has(user):
            raise Leak(f"{user} of {tenant} follows {name}: {ack}")
        self.done[f"{event} {'done' if ack.get('ok') else 'refused'}"] += 1

    async def _join(self) -> None:
        await self._on_socket("join-chat", {"stream": self._chance.random() < 0.5})

    async def _leave(self) -> None:
        await self._on_socket("leave-chat")

    async def _type(self) -> None:
        await self._on_socket("typing", {"typing": True})

    def _fill(self, path: str, place: Place) -> str:
        values = {
            "chat_id": place[1],
            "message_id": self._message(place),
            "user_id": self._chance.choice(self._users[place[0]]),
            "emoji": "👍",
            "file_id": self._file(place),
        }
        return re.sub(r"{(\w+)[^}]*}", lambda match: values.get(match[1], "none"), path)

    async def _read(self) -> None:
        place, _, user, member = self._pick()
        path, parameters = self._chance.choice(self._reads)
        query: dict[str, Any] = {}
        for parameter in parameters:
            if parameter["in"] == "query" and parameter.get("required"):
                kind = parameter["schema"].get("type")
                query[parameter["name"]] = {"integer": 1, "array": [self._message(place)]}.get(
                    kind, f"mk{self._chance.randrange(len(TENANTS))}"
                )
        service = self._chance.random() < 0.2
        answer = await self._request(
            place[0], "backend" if service else user, "GET", self._fill(path, place), params=query, service=service
        )
        self._count(f"GET {path}", answer, member=member or service or "{chat_id}" not in path)

    async def _intrude(self) -> None:
        """Any route that changes a chat, by a user that is no member of it."""
        place, _, user, member = self._pick()
        if member:
            return
        method, path = self._chance.choice(self._writes)
        target = self._fill(path, place)
        answer = await self._request(place[0], user, method.upper(), target, json={})
        self._count("intrusion", answer, member=False)

    # -- sockets

    async def _check_sockets(self) -> None:
        periods = {place: await self._periods_by_seq(place) for place in self._chats}
        for (tenant, user), client in self._sockets.items():
            for event, data in client.received:
                if event.startswith("ack:") or not isinstance(data, dict) or "chatId" not in data:
                    continue
                place = (tenant, data["chatId"])
                chat, seen = self._chats.get(place), f"{user} of {tenant} received {event} {data}"
                if chat is None:
                    raise Leak(seen)
                for other, number in self._marks(str(data)):
                    if other != place or not chat.may_see(user, number):
                        raise Leak(seen)
                if "seq" in data and all(end < data["seq"] for _, end in periods[place].get(user, ())):
                    raise Leak(seen)
                people = {data.get("userId"), *data.get("online", ()), *data.get("offline", ())} - {None}
                if not people <= {*self._users[tenant]} or not chat.periods.get(user):
                    raise Leak(seen)
                self.done[f"received {event}"] += 1

    async def _periods_by_seq(self, place: Place) -> dict[str, list[list[int]]]:
        """The memberships by the log of a chat, the events of their begin and end included."""
        found: dict[str, list[list[int]]] = defaultdict(list)
        after, more = 0, True
        while more:
            path = f"/api/chats/{place[1]}/events"
            answer = await self._request(
                place[0], "backend", "GET", path, service=True, params={"after": after, "limit": 2_000}
            )
            page = answer.json()
            more = page["more"]
            for item in page["events"]:
                after = item["seq"]
                if item["type"] == "member-added":
                    found[item["data"]["userId"]].append([after, _NEVER])
                elif item["type"] == "member-removed":
                    found[item["data"]["userId"]][-1][1] = after
        members = {user for user, periods in found.items() if periods[-1][1] == _NEVER}
        assert members == set(self._chats[place].members)
        return found
