"""Sessions on other nodes: the ports to the directory of nodes and to the forwarder, and their values.

A session id ends with the id of the node that created it. The id does not contain an address: addresses come from the
directory, which only nodes write.

Layer: realtime.cluster.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from roomcast.realtime.requests.request import EngineRequest

#: 48 bits, as 8 characters: unique among the running nodes. Not a secret.
_NODE_ID_BYTES: Final = 6
NODE_ID_CHARS: Final = 8

Header = tuple[bytes, bytes]


def new_node_id() -> str:
    """An id for a node, valid until the node stops."""
    return secrets.token_urlsafe(_NODE_ID_BYTES)


@dataclass(frozen=True, slots=True)
class NodeAddress:
    """Where a node accepts forwarded requests.

    Attributes:
        host: Address or name.
        port: TCP port.
        secret: Authenticates forwarded requests to the node.
    """

    host: str
    port: int
    secret: str = field(repr=False)


class DirectoryUnavailable(Exception):
    """The directory does not answer: respond with 503."""


class Directory(Protocol):
    """The nodes of the cluster, as seen by one of them."""

    @property
    def node_id(self) -> str:
        """Id of this node: ``NODE_ID_CHARS`` characters of base64url."""

    async def look_up(self, node_id: str) -> NodeAddress | None:
        """Find a node; None if there is none with this id. May wait up to a second for a node that has just started.

        Clients can invent ids: the implementation limits how many look-ups wait at once.

        Raises:
            DirectoryUnavailable: Redis does not answer, or too many look-ups wait, and the node is not known locally.
        """


class SessionOnOtherNode(Exception):
    """The session belongs to another node.

    Attributes:
        node_id: Id of that node.
    """

    def __init__(self, node_id: str) -> None:
        super().__init__(f"the session belongs to node {node_id}")
        self.node_id = node_id


class NotForwarded(Exception):
    """The request could not be forwarded: respond with 503.

    Attributes:
        cause: A short constant, usable as a metrics label.
    """

    def __init__(self, cause: str) -> None:
        super().__init__(cause)
        self.cause = cause


@dataclass(frozen=True, slots=True)
class ForwardedAnswer:
    """The response of the owner node.

    Attributes:
        status: HTTP status.
        headers: Without hop-by-hop headers.
        body: Complete.
    """

    status: int
    headers: list[Header]
    body: bytes


class SessionForwarder(Protocol):
    """Forwards requests to the nodes that own their sessions.

    Attributes:
        max_forwards: Maximum number of polls and posts that are forwarded at once.
    """

    max_forwards: int

    @property
    def forwarded(self) -> int:
        """Polls and posts that other nodes have answered so far."""

    @property
    def pipes(self) -> Collection[object]:
        """Websockets that are piped to other nodes now."""

    @property
    def endings(self) -> Sequence[Callable[[], object]]:
        """A function for each pipe and each pending request that ends it, for a drain."""

    def request(self, node_id: str, request: EngineRequest, body: bytes) -> asyncio.Task[ForwardedAnswer]:
        """Forward a poll or a post. Cancelling the task closes the request to the owner.

        The task raises:
            RequestRefused: the node does not exist, so the session does not either.
            NotForwarded: the owner is out of reach, or did not answer in time.
        """

    def pipe(self, node_id: str, request: EngineRequest, transport: asyncio.Transport, connections: set[Any]) -> None:
        """Connect a client's transport to the owner, in the background. The forwarder owns the transport from now on.

        Args:
            node_id: The owner.
            request: The websocket handshake.
            transport: The client's transport; nothing has been written to it.
            connections: The HTTP server's open connections. The pipe stays among them until it ends.
        """

    async def close(self) -> None:
        """End all requests, pipes and connections. The forwarder can be used again."""
