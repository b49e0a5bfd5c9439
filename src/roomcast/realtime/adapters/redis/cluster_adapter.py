"""`ClusterAdapter`: what the sharded and the streams adapter have in common: messages, queries and their answers.

Queries go to the channel of the namespace, and each answer to the own channel of the server that asks.

Layer: realtime. Source: socket.io-adapter 2.5, ``ClusterAdapter``.
"""

from __future__ import annotations

from collections.abc import Callable

from roomcast.realtime.adapters.redis.adapter import RedisAdapter
from roomcast.realtime.adapters.redis.cluster_answers import ClusterAnswers
from roomcast.realtime.adapters.redis.messages.cluster_messages import (
    ClusterMessage,
    ClusterQuery,
    new_uid,
    own_channel,
)
from roomcast.realtime.adapters.redis.options import RedisAdapterOptions
from roomcast.realtime.adapters.redis.queries import ClusterProtocol, QueryProtocol
from roomcast.realtime.cluster.commands import Node
from roomcast.redis_client import RedisOptions
from roomcast.wire.errors import EncodeError
from roomcast.wire.socketio import DEFAULT_NAMESPACE


class ClusterAdapter(RedisAdapter):
    """A `RedisAdapter` whose servers exchange `ClusterMessage`.

    Args:
        encode: Encodes a message for pub/sub.
        redis: See `RedisAdapter`.
        options: See `RedisAdapter`.
    """

    def __init__(
        self,
        encode: Callable[[ClusterMessage], bytes],
        redis: RedisOptions | None = None,
        options: RedisAdapterOptions | None = None,
    ) -> None:
        self._encode = encode
        self._answers: ClusterAnswers | None = None
        super().__init__(redis, options)
        self._rename()

    def _rename(self) -> None:
        """Take a new uid."""
        self.uid = new_uid()
        self._queries = self._new_queries()
        if self._node is not None:
            self.bind(self._node)

    def _protocol(self) -> QueryProtocol:
        return ClusterProtocol(self._options.key, self.uid, self._encode)

    def bind(self, node: Node) -> None:
        """See `cluster.commands.Adapter`."""
        super().bind(node)
        self._answers = ClusterAnswers(node, self.uid, self._respond, self._options, self.counters, self._queue.room)

    async def stop(self) -> None:
        """See `cluster.commands.Adapter`."""
        await super().stop()
        if self._answers is not None:
            self._answers.stop()

    def _respond(self, requester: str, message: ClusterMessage) -> bool:
        try:
            data = self._encode(message)
        except EncodeError as error:
            self.counters.drop("unpackable", str(error))
            return False
        self._send(own_channel(self._options.key, message.namespace, requester), data)
        return True

    def _probe_channel(self) -> str:
        return own_channel(self._options.key, DEFAULT_NAMESPACE, self.uid)

    def _take_own(self, namespace: str, name: str, data: bytes) -> None:
        # A probe consists of hexadecimal digits; JSON and msgpack begin with higher bytes.
        if data[:1] >= b"{":
            self._take_message(namespace, name, data)
        elif self._pair is not None:
            self._pair.receive_probe(data)

    def _take_message(self, namespace: str, name: str, data: bytes) -> None:
        """Handle a message on a channel of a namespace."""
        raise NotImplementedError

    def _receive_response(self, message: ClusterMessage, size_bytes: int) -> None:
        if self._queries.take(message.response(), size_bytes):
            self.counters.received += 1
        else:
            self.counters.ignored += 1

    def _answer(self, namespace: str, query: ClusterQuery) -> None:
        if self._answers is not None:
            self._answers.answer(namespace, query)
