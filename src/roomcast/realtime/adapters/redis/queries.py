"""Sends this server's queries to the other servers, and passes their responses on.

Node's adapters wait for as many responses as the request channel has subscribers, so that a monitor, or a server that
dies meanwhile, makes the query time out. Here the servers are listed by their own channels, again and again while
responses are missing. A server that joins before the first listing, but after the query, is not waited for: it is not
among the subscribers that Redis has counted.

Layer: realtime. Source: @socket.io/redis-adapter 8.3, ``onresponse``; socket.io-adapter 2.5, ``ClusterAdapter``.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass, field
from typing import Final, Protocol

from roomcast.realtime.adapters.redis.messages import cluster_messages
from roomcast.realtime.adapters.redis.messages.cluster_messages import ClusterMessage, query_message
from roomcast.realtime.adapters.redis.messages.protocol import RequestType, encode_query, server_pattern, servers_of
from roomcast.realtime.adapters.redis.messages.responses import Response, new_request_id
from roomcast.realtime.adapters.redis.options import RedisAdapterOptions
from roomcast.realtime.cluster.commands import BroadcastWithAck, FetchSockets, Gatherer, Offset, Query, ServerEvent
from roomcast.redis_client import RedisUnavailable

#: Part of a response that contains the request's id, in this package's and in Node's servers.
_HEAD_BYTES: Final = 256


class QueryProtocol(Protocol):
    """The form of queries, and the channels that name the servers."""

    def encode(self, request_id: str, query: Query) -> tuple[str, bytes] | None:
        """The channel and the bytes of a query; None if it selects no socket.

        Raises:
            EncodeError: an argument cannot be encoded.
        """

    def pattern(self, namespace: str) -> str:
        """A pattern for the channels of the servers."""

    def servers(self, namespace: str, channels: Collection[str]) -> frozenset[str]:
        """Uids of the servers with these channels."""


@dataclass(frozen=True, slots=True)
class ClassicProtocol:
    """`QueryProtocol` of the classic adapter.

    Attributes:
        key: Prefix of every channel name.
        uid: Uid of this server.
    """

    key: str
    uid: str

    def encode(self, request_id: str, query: Query) -> tuple[str, bytes] | None:
        """See `QueryProtocol`."""
        return encode_query(self.key, self.uid, request_id, query)

    def pattern(self, namespace: str) -> str:
        """See `QueryProtocol`."""
        return server_pattern(self.key, namespace)

    def servers(self, namespace: str, channels: Collection[str]) -> frozenset[str]:
        """See `QueryProtocol`."""
        return servers_of(self.key, namespace, channels)


@dataclass(frozen=True, slots=True)
class ClusterProtocol:
    """`QueryProtocol` of the adapters that exchange `ClusterMessage`.

    Attributes:
        key: Prefix of every channel name.
        uid: Uid of this server.
        encode_message: Encodes a message.
        after: Offset of the entry of a stream that servers read before they answer; None: any.
    """

    key: str
    uid: str
    encode_message: Callable[[ClusterMessage], bytes]
    after: Callable[[], Offset | None] = lambda: None

    def encode(self, request_id: str, query: Query) -> tuple[str, bytes] | None:
        """See `QueryProtocol`."""
        message = query_message(self.uid, request_id, query, self.after())
        if message is None:
            return None
        return cluster_messages.shared_channel(self.key, query.namespace), self.encode_message(message)

    def pattern(self, namespace: str) -> str:
        """See `QueryProtocol`."""
        return cluster_messages.own_channels(self.key, namespace)

    def servers(self, namespace: str, channels: Collection[str]) -> frozenset[str]:
        """See `QueryProtocol`."""
        return cluster_messages.servers_of(self.key, namespace, channels)


@dataclass(frozen=True, slots=True, eq=False)
class _Pending:
    query: Query
    gatherer: Gatherer
    #: The next part of an answer, by server.
    parts: dict[str, int] = field(default_factory=dict)

    def take(self, response: Response, size_bytes: int) -> bool:
        """Pass a response on; False if it does not belong to the query.

        Raises:
            MalformedMessage: it is not a response to such a query.
        """
        gatherer, server = self.gatherer, response.server
        match self.query:
            case FetchSockets():
                sockets = response.sockets
                if server is not None:
                    if response.part != self.parts.get(server, 0):
                        return False  # a part is lost, so the answer cannot become complete
                    self.parts[server] = response.part + 1
                gatherer.answer(server, sockets, size_bytes, last=not response.more)
            case ServerEvent():
                gatherer.answer(server, [response.fields.get("data")], size_bytes)
            case BroadcastWithAck():
                if response.kind is RequestType.CLIENT_COUNT:
                    gatherer.answer(server, (), size_bytes, asked=response.count)
                elif response.kind is RequestType.ACK:
                    gatherer.acknowledge(server, response.args, size_bytes)
                elif response.gone:
                    gatherer.withdraw(server, 1)
        return True


class QuerySender:
    """The queries that wait for responses.

    Args:
        uid: Uid of this server.
        protocol: The form of queries.
        send: Called with the channel and the bytes of each request, and what receives its answers; returns False if it
            is not sent.
        list_channels: Lists the subscribed channels that match a pattern; raises `RedisUnavailable`.
        options: The interval at which servers are listed.
    """

    def __init__(
        self,
        uid: str,
        protocol: QueryProtocol,
        send: Callable[[str, bytes, Gatherer], bool],
        list_channels: Callable[[str], Awaitable[frozenset[str]]],
        options: RedisAdapterOptions,
    ) -> None:
        self._uid = uid
        self._mark = uid.encode()
        self._protocol = protocol
        self._send = send
        self._list_channels = list_channels
        self._options = options
        self._pending: dict[str, _Pending] = {}
        # Those whose servers have not been listed since.
        self._new: set[_Pending] = set()
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self, query: Query, gatherer: Gatherer) -> None:
        """Send a query.

        Raises:
            EncodeError: an argument cannot be encoded.
        """
        request_id = new_request_id(self._uid)
        encoded = self._protocol.encode(request_id, query)
        if encoded is None:
            gatherer.expect(())
        elif not self._send(*encoded, gatherer):
            gatherer.unsent(f"the query is larger than {self._options.max_message_bytes} bytes (max_message_bytes)")
        else:
            pending = self._pending[request_id] = _Pending(query, gatherer)
            self._new.add(pending)
            self._wake.set()
            if self._task is None:
                self._task = asyncio.create_task(self._watch(), name="redis-adapter-queries")

    def forget(self, gatherer: Gatherer) -> None:
        """Drop later responses to a query."""
        for request_id, pending in list(self._pending.items()):
            if pending.gatherer is gatherer:
                del self._pending[request_id]
        if not self._pending:
            self._wake.set()

    def fail(self, problem: str) -> None:
        """End every query: responses may have been lost."""
        for pending in list(self._pending.values()):
            pending.gatherer.fail(problem)

    async def stop(self) -> None:
        """End every query, and list no servers any more."""
        self.fail("the adapter has stopped")
        self._pending.clear()
        self._new.clear()
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait({task})

    def receive(self, data: bytes) -> bool:
        """Handle a response; False if it is for another server, or late.

        Raises:
            MalformedMessage: it is not a response.
        """
        # Every server receives the responses to all of them: do not decode those of the others.
        if not self._pending or self._mark not in data[:_HEAD_BYTES]:
            return False
        return self.take(Response.decode(data), len(data))

    def take(self, response: Response | None, size_bytes: int) -> bool:
        """Handle a decoded response; see `receive`."""
        pending = None if response is None else self._pending.get(response.request_id)
        if pending is None or response is None:
            return False
        return pending.take(response, size_bytes)

    async def _watch(self) -> None:
        """List the servers directly after each query, and at intervals while responses are missing."""
        try:
            while self._pending:
                self._wake.clear()
                new, self._new = self._new, set()
                for namespace in {pending.query.namespace for pending in self._pending.values()}:
                    await self._update(namespace, new)
                if not self._new:
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(self._options.list_interval_s):
                            await self._wake.wait()
        finally:
            self._task = None

    async def _update(self, namespace: str, new: set[_Pending]) -> None:
        try:
            channels = await self._list_channels(self._protocol.pattern(namespace))
        except RedisUnavailable as error:
            for pending in new:
                if pending.query.namespace == namespace:
                    pending.gatherer.fail(f"the servers cannot be listed: {error}")
            return
        servers = self._protocol.servers(namespace, channels) - {self._uid}
        for pending in list(self._pending.values()):
            if pending.query.namespace == namespace and pending not in self._new:
                (pending.gatherer.expect if pending in new else pending.gatherer.update)(servers)
