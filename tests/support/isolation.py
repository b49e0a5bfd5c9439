"""Random use of one installation by several tenants, and a model of what each user may see.

Every text has a marker with its tenant, its chat and the number of its operation. All tenants have the same ids of
chats, and half of their users. Whatever a user receives, by REST, on a socket or as a push, may only have markers of
chats of its own tenant of which it is a member (REST) or was one at that time or later (sockets, pushes); what an
application receives by a webhook is of its tenant. After the event of its own removal a socket receives nothing of the
chat until it joins again. The routes to read come from the OpenAPI document, so a new route is covered without a change
here. AI answers repeat the context of the model.

`isolation_model` says who may see what, `isolation_receivers` has the devices and the webhooks.
"""

from __future__ import annotations

import io
import os
import random
import re
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Final

import httpx
from PIL import Image, PngImagePlugin

from roomcast.auth.options import AuthOptions
from roomcast.auth.tokens import TokenIssuer
from roomcast.contract.tenants import qualify
from support.clients import ChatClient
from support.isolation_model import NEVER, Chat, Leak, Model, Place
from support.isolation_receivers import running_receivers

SECRET: Final = "a secret of more than thirty-two bytes"
TENANTS: Final = ("", "acme", "umbrella")
#: Of a server whose limits no test reaches.
ENV: Final[Mapping[str, str]] = {
    "PYTHONPATH": os.pathsep.join(filter(None, (str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH")))),
    "ROOMCAST_SECRET": SECRET,
    "ROOMCAST_RESPONDER": "support.context_responder:answer",
    "ROOMCAST_ADD_LIMIT_SAME_USER": "100000",
    "ROOMCAST_ADD_LIMIT_ALL_USERS": "100000",
    "ROOMCAST_VAPID_SUBJECT": "mailto:ops@example.com",
    "ROOMCAST_PUSH_NETWORKS": "127.0.0.0/8",
    "ROOMCAST_PUSH_DELAY_S": "0.1",
    "ROOMCAST_WEBHOOK_NETWORKS": "127.0.0.0/8",
} | {
    f"ROOMCAST_LIMIT_{name}": "0"
    for name in (
        "MESSAGES", "BYTES", "CHAT_MESSAGES", "REQUESTS", "ADDRESS_REQUESTS", "JOINS", "TYPING", "EVENTS",
        "CONNECTIONS", "ADDRESS_CONNECTIONS", "UPLOADS",
    )
}  # fmt: skip
#: Chats of all tenants that are used most.
_BUSY: Final = 12


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
        self._model = Model()
        self._chats = self._model.chats
        self._size = chats
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
        # Place, and the token.
        self._invites: list[tuple[Place, str]] = []
        # The chats that each connected user has asked to join, in order.
        self._joins: dict[Place, list[str]] = defaultdict(list)
        self.done: Counter[str] = Counter()

    async def run(self, operations: int, wanted: Sequence[str] = ()) -> None:
        """Run random operations, and check all that was received.

        Args:
            operations: Their number; up to as many again follow until all outcomes of ``wanted`` have occurred.
            wanted: Names of `done`.

        Raises:
            Leak: a user received what it must not see.
        """
        kinds: list[tuple[int, Callable[[], Awaitable[None]]]] = [
            (6, self._send), (2, self._edit), (2, self._delete), (3, self._react), (1, self._pin),
            (4, self._add), (3, self._remove), (4, self._join), (1, self._leave), (2, self._type),
            (12, self._read), (9, self._intrude), (2, self._change_member), (1, self._ban), (2, self._mark_read),
            (3, self._search), (3, self._upload), (6, self._link), (6, self._download), (1, self._rename),
            (1, self._open_direct), (2, self._invite), (4, self._use_invite), (2, self._report), (2, self._forge),
            (2, self._export), (1, self._delete_chat),
        ]  # fmt: skip
        weights, steps = zip(*kinds, strict=True)
        async with AsyncExitStack() as stack:
            limits = httpx.Limits(max_connections=8)
            self._http = await stack.enter_async_context(
                httpx.AsyncClient(base_url=self._api, timeout=60, limits=limits)
            )
            receivers = await stack.enter_async_context(running_receivers(len(TENANTS), "c0", self._send_as))
            await self._read_routes()
            await receivers.begin([(tenant, user) for tenant, users in self._users.items() for user in users])
            for tenant in range(len(TENANTS)):
                for number in range(self._size):
                    await self._create((tenant, f"c{number}"))
            await self._connect(stack)
            for number in range(2 * operations):
                if number >= operations and all(self.done[name] for name in wanted):
                    break
                await self._chance.choices(steps, weights)[0]()
            for place in self._busy():
                await self._remove_one(place)
            for tenant, user in list(self._sockets):
                await self._sockets[tenant, user].call("ping")  # what was sent before has arrived
            await receivers.end()
            periods = {place: await self._periods_by_seq(place) for place in self._chats}
            self._check_sockets(periods)
            receivers.check(self._model, periods, self.done)

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
        self._model.create(place, *members)
        settings = {"answers": "mention", "systemPrompt": self._model.mark(place, "backend")}
        answer = await self._request(tenant, "backend", "PUT", f"/api/chats/{name}/ai", json=settings, service=True)
        assert answer.status_code == 200, answer.text

    async def _connect(self, stack: AsyncExitStack) -> None:
        for tenant, users in self._users.items():
            for user in users[: self._connected]:
                client = ChatClient(self._chance.choice(self._gateways), auth={"token": self._token(tenant, user)})
                self._sockets[tenant, user] = await stack.enter_async_context(client)
                assert (await client.call("join-user", user))["ok"]
                for (of, name), chat in self._chats.items():
                    if of == tenant and chat.has(user):
                        self._joins[tenant, user].append(name)
                        assert (await client.join(name))["ok"]

    def _token(self, tenant: int, user: str, *, service: bool = False) -> str:
        key = (tenant, f"service {user}" if service else user)
        if key not in self._tokens:
            qualified = qualify(TENANTS[tenant], user)
            self._tokens[key] = self._issuer.issue(qualified, ttl_s=86_400, service=service)
        return self._tokens[key]

    async def _request(
        self,
        tenant: int,
        user: str,
        method: str,
        path: str,
        *,
        service: bool = False,
        checked: bool = True,
        **options: Any,
    ) -> httpx.Response:
        """Send a request, and check its response, unless the caller does."""
        headers = {
            "Authorization": f"Bearer {self._token(tenant, user, service=service)}",
            **options.pop("headers", {}),
        }
        answer = await self._http.request(method, path, headers=headers, **options)
        if answer.status_code >= 500:
            raise AssertionError(f"{method} {path}: {answer.status_code} {answer.text}")
        said = f"{method} {path}: {user}"
        if path.startswith("/api/users/") and path.endswith("/export") and answer.is_success:
            owner = path.split("/")[3]
            if not service and owner != user:
                raise Leak(f"{said} of {tenant} exported the data of {owner}")
            self._model.check_export(answer.text, tenant, owner, said)
        elif checked:
            self._model.check_response(answer.text, tenant, None if service else user, said)
        return answer

    async def _send_as(
        self, tenant: int, user: str | None, method: str, path: str, body: dict[str, object]
    ) -> httpx.Response:
        return await self._request(tenant, user or "backend", method, path, service=user is None, json=body)

    # -- operations

    def _busy(self) -> list[Place]:
        return list(self._chats)[:: len(self._chats) // _BUSY + 1]

    def _pick(self) -> tuple[Place, Chat, str, bool]:
        """A chat, any user of its tenant, and whether it is a member; members are as likely as others.

        Of many chats, a few are used most, so that they have members that come and go, messages and files.
        """
        place = self._chance.choice(self._busy() if self._chance.random() < 0.7 else list(self._chats))
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
        content = self._model.mark((tenant, name), user) + self._chance.choice(["", " @ai", " what is new?"])
        body = {"chatId": name, "role": "USER", "content": content}
        if chat.messages and self._chance.random() < 0.3:
            body["replyTo"] = self._message((tenant, name))
        answer = await self._request(tenant, user, "POST", "/api/chat/messages", json=body)
        if self._count("send", answer, member=member):
            if "replyTo" in body and body["replyTo"] not in {message for message, _ in chat.messages}:
                raise Leak(f"{user} of {(tenant, name)} replied to a message of another chat: {answer.text}")
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
        body = {"content": self._model.mark((tenant, name), user)}
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
        (tenant, name), _, user, member = self._pick()
        other = self._chance.choice(self._users[tenant])
        service = self._chance.random() < 0.5
        caller = "backend" if service else user
        path = f"/api/chats/{name}/members/{other}"
        answer = await self._request(tenant, caller, "PUT", path, service=service)
        if self._count("add", answer, member=member or service):
            self._model.join((tenant, name), other)

    async def _remove(self) -> None:
        (tenant, name), chat, user, member = self._pick()
        other = self._chance.choice([user, *chat.members])
        link = await self._newest_link((tenant, name), other)
        path = f"/api/chats/{name}/members/{other}"
        answer = await self._request(tenant, user, "DELETE", path)
        if self._count("remove", answer, member=member):
            await self._end((tenant, name), other, link)

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
        link = await self._newest_link((tenant, name), other)
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
        await self._end((tenant, name), other, link)

    async def _mark_read(self) -> None:
        (tenant, name), _, user, member = self._pick()
        answer = await self._request(
            tenant, user, "PUT", f"/api/chats/{name}/read", json={"seq": self._chance.randrange(1, 100)}
        )
        self._count("mark read", answer, member=member)

    async def _search(self) -> None:
        """Search for the texts of any chat of any tenant: markers of others are found by `_request`."""
        (tenant, name), _, user, member = self._pick()
        searched = self._model.prefix(self._chance.randrange(len(TENANTS)), (tenant, name))
        query: dict[str, str | int] = {"q": searched, "limit": 100}
        if within := self._chance.random() < 0.5:
            query["chatId"] = name
        answer = await self._request(tenant, user, "GET", "/api/search", params=query)
        self._count("search", answer, member=member or not within)
        if answer.is_success and answer.json()["hits"]:
            self.done["search with hits"] += 1

    async def _upload(self) -> None:
        (tenant, name), chat, user, member = self._pick()
        mark = self._model.mark((tenant, name), user)
        picture = self._chance.random() < 0.5
        answer = await self._request(
            tenant,
            user,
            "POST",
            f"/api/chats/{name}/files",
            params={"name": f"{mark}.{'png' if picture else 'txt'}"},
            content=_picture(mark) if picture else mark.encode(),
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
            await self._open(place, user, url)

    async def _open(self, place: Place, user: str, url: str, *, small: bool | None = None) -> None:
        small = self._chance.random() < 0.5 if small is None else small
        answer = await self._http.get(url + ("&thumbnail=true" if small else ""))
        small = answer.headers.get("content-type") == "image/webp"
        if answer.is_success and not small and [mark.place for mark in self._model.marks(answer.text)] != [place]:
            raise Leak(f"{url} of {place} leads to {answer.text}")
        self._count("thumbnail" if small else "download", answer, member=self._chats[place].has(user))

    async def _newest_link(self, place: Place, user: str) -> str | None:
        """A link to a file that a member may read."""
        sent = [file_id for of, file_id, _, is_sent in self._files if of == place and is_sent]
        if not sent or not self._chats[place].has(user):
            return None
        path = f"/api/chats/{place[1]}/files"
        answer = await self._request(place[0], user, "GET", path, params={"id": sent[-3:]})
        return next((link["url"] for link in answer.json()["links"]), None)

    async def _end(self, place: Place, user: str, link: str | None) -> None:
        """A user is no member any more: its link leads nowhere."""
        self._model.leave(place, user)
        if link is not None:
            await self._open(place, user, link)
            self.done["link after removal refused"] += 1

    async def _remove_one(self, place: Place) -> None:
        """Whatever the random choices were: remove a member that has a link to a file, and then send a message."""
        (tenant, name), chat = place, self._chats[place]
        if chat.deleted or chat.fixed or not chat.members:
            return
        user, mark = self._chance.choice(chat.members), self._model.mark(place, "backend")
        answer = await self._request(
            tenant,
            "backend",
            "POST",
            f"/api/chats/{name}/files",
            service=True,
            params={"name": f"{mark}.png"},
            content=_picture(mark),
            headers={"Content-Type": "application/octet-stream"},
        )
        assert answer.status_code == 201, answer.text
        self._files.append((place, answer.json()["id"], "backend", True))
        say = {"chatId": name, "role": "USER", "content": mark}
        await self._send_as(tenant, None, "POST", "/api/chat/messages", {**say, "files": [answer.json()["id"]]})
        link = await self._newest_link(place, user)
        for small in (False, True):
            await self._open(place, user, str(link), small=small)
        answer = await self._send_as(tenant, None, "DELETE", f"/api/chats/{name}/members/{user}", {})
        if self._count("remove", answer, member=True):
            await self._end(place, user, link)
        await self._send_as(tenant, None, "POST", "/api/chat/messages", {**say, "content": self._model.mark(place, "")})

    async def _forge(self) -> None:
        """Use a link as another user, or for another file."""
        if self._links:
            place, user, url = self._chance.choice(self._links)
            other = self._chance.choice([one for one in self._users[place[0]] if one != user])
            file_id = self._chance.choice(self._files)[1]
            forged = self._chance.choice(
                [url.replace(f"user={user}&", f"user={other}&"), re.sub("files/[^?]*", f"files/{file_id}", url)]
            )
            if forged != url:
                self._count("forged link", await self._http.get(forged), member=False)

    async def _rename(self) -> None:
        (tenant, name), _, user, member = self._pick()
        title = self._model.mark((tenant, name), user)
        answer = await self._request(tenant, user, "PUT", f"/api/chats/{name}/title", json={"title": title})
        self._count("rename", answer, member=member)

    async def _open_direct(self) -> None:
        tenant = self._chance.randrange(len(TENANTS))
        # The other user may be one of another tenant: then it is one of this tenant with the same id.
        user, other = self._chance.choice(self._users[tenant]), self._chance.choice(self._users[tenant])
        answer = await self._request(tenant, user, "POST", "/api/chats/direct", json={"userId": other}, checked=False)
        if self._count("direct", answer, member=True):
            place = (tenant, answer.json()["id"])
            if place not in self._chats:
                self._model.create(place, user, other, fixed=True)
            self._model.check_response(answer.text, tenant, user, "direct")
            if set(self._chats[place].members) != {user, other}:
                raise Leak(f"{user} and {other} of {tenant} got {answer.text}")

    async def _invite(self) -> None:
        (tenant, name), _, user, member = self._pick()
        answer = await self._request(tenant, user, "POST", f"/api/chats/{name}/invites", json={})
        if self._count("invite", answer, member=member):
            self._invites.append(((tenant, name), answer.json()["token"]))

    async def _use_invite(self) -> None:
        """Preview a link, or join through it, as a user of any tenant."""
        if not self._invites:
            return
        place, token = self._chance.choice(self._invites)
        tenant = place[0] if self._chance.random() < 0.8 else self._chance.randrange(len(TENANTS))
        banned = sorted(self._chats[place].banned & {*self._users[tenant]})
        user = self._chance.choice(banned if banned and self._chance.random() < 0.3 else self._users[tenant])
        method = self._chance.choice(["GET", "GET", "POST"])
        answer = await self._request(tenant, user, method, f"/api/invites/{token}", checked=False)
        # A link shows title and size of its chat: to users of its tenant that are not banned.
        may = tenant == place[0] and user not in self._chats[place].banned
        if self._count("preview" if method == "GET" else "accept", answer, member=may) and method == "POST":
            self._model.join(place, user)
        if {mark.place for mark in self._model.marks(answer.text)} - ({place} if may else set()):
            raise Leak(f"{method} invite of {place}: {user} of {tenant} got {answer.text}")

    async def _report(self) -> None:
        (tenant, name), _, user, member = self._pick()
        path = f"/api/chats/{name}/messages/{self._message((tenant, name))}/report"
        body = {"reason": "spam", "note": self._model.mark((tenant, name), user)}
        self._count("report", await self._request(tenant, user, "PUT", path, json=body), member=member)

    async def _export(self) -> None:
        tenant = self._chance.randrange(len(TENANTS))
        user, owner = (self._chance.choice(self._users[tenant]) for _ in range(2))
        if self._chance.random() < 0.5:
            owner = user
        answer = await self._request(tenant, user, "GET", f"/api/users/{owner}/export")
        self._count("export", answer, member=user == owner)

    async def _delete_chat(self) -> None:
        """Delete one of many chats."""
        place, chat, user, member = self._pick()
        alive = sum(not one.deleted for of, one in self._chats.items() if of[0] == place[0])
        if alive > 20:
            answer = await self._request(place[0], user, "DELETE", f"/api/chats/{place[1]}")
            if self._count("delete chat", answer, member=member and not chat.deleted):
                self._model.delete(place)

    async def _on_socket(self, event: str, payload: dict[str, Any] | None = None) -> None:
        (tenant, user), client = self._chance.choice(list(self._sockets.items()))
        names = [name for of, name in self._chats if of == tenant]
        own = [name for name in names if self._chats[tenant, name].has(user)]
        name = self._chance.choice(own if own and self._chance.random() < 0.6 else names)
        if event == "join-chat":
            self._joins[tenant, user].append(name)
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
                    kind, self._model.prefix(self._chance.randrange(len(TENANTS)), place)
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

    def _check_sockets(self, periods: Mapping[Place, Mapping[str, list[list[int]]]]) -> None:
        for (tenant, user), client in self._sockets.items():
            # The acks of a socket arrive in the order of its joins.
            joins, removed = iter(self._joins[tenant, user]), dict[str, int]()
            for event, data in client.received:
                if event == "ack:join-chat":
                    joined = next(joins)
                    if data.get("ok"):
                        removed.pop(joined, None)
                elif not event.startswith("ack:") and isinstance(data, dict) and "chatId" in data:
                    place = (tenant, data["chatId"])
                    of_user = periods.get(place, {}).get(user, ())
                    if self._is_leaked(place, user, data, of_user, removed.get(place[1])):
                        raise Leak(f"{user} of {tenant} received {event} {data}")
                    if event == "member-removed" and data["userId"] == user:
                        removed[place[1]] = data["seq"]
                        self.done["received own removal"] += 1
                    self.done[f"received {event}"] += 1

    def _is_leaked(
        self, place: Place, user: str, data: dict[str, Any], periods: Sequence[list[int]], removed_at: int | None
    ) -> bool:
        """Whether an event shows what its receiver must not see.

        Args:
            place: The chat of the event.
            user: The receiver.
            data: The event.
            periods: Its memberships by the seqs of the events of their begin and end.
            removed_at: The seq of its removal, unless it has joined the chat since; None: not removed.
        """
        chat = self._chats.get(place)
        if chat is None or not chat.periods.get(user):
            return True
        seq, people = data.get("seq"), {data.get("userId"), *data.get("online", ()), *data.get("offline", ())}
        # `chat-activity` follows no room: it may tell of the removal, and of a membership after it.
        again = seq is not None and any((removed_at or 0) < begin <= seq for begin, _ in periods)
        return (
            any(one.place != place or not chat.may_see(user, one.number) for one in self._model.marks(str(data)))
            or (removed_at is not None and not again and (seq is None or seq > removed_at))
            or (seq is not None and not chat.deleted and all(end < seq for _, end in periods))
            or not people - {None} <= {*self._users[place[0]]}
        )

    async def _periods_by_seq(self, place: Place) -> dict[str, list[list[int]]]:
        """The memberships by the log of a chat, the events of their begin and end included."""
        found: dict[str, list[list[int]]] = defaultdict(list)
        after, more = 0, not self._chats[place].deleted
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
                    found[item["data"]["userId"]].append([after, NEVER])
                elif item["type"] == "member-removed":
                    found[item["data"]["userId"]][-1][1] = after
        members = {user for user, periods in found.items() if periods[-1][1] == NEVER}
        assert members == set(self._chats[place].members)
        return found


def _picture(mark: str) -> bytes:
    """A picture that has a thumbnail; the marker is in its metadata."""
    file, info = io.BytesIO(), PngImagePlugin.PngInfo()
    info.add_text("mark", mark)
    Image.new("RGB", (8, 8), "red").save(file, "png", pnginfo=info)
    return file.getvalue()
