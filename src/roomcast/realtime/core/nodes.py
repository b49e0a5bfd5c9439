"""The port to the directory of a cluster's nodes: which server has a session, and how it is reached.

A session id ends with the id of the node that made it. The id tells nobody where that node is: addresses come from the
directory, which only the nodes write.

Layer: realtime.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from typing import Final, Protocol

#: 48 bits, as 8 characters: unique among the nodes that are up at one time. No secret.
_NODE_ID_BYTES: Final = 6
NODE_ID_CHARS: Final = 8


def new_node_id() -> str:
    """An id for a node, from its start to its end."""
    return secrets.token_urlsafe(_NODE_ID_BYTES)


@dataclass(frozen=True, slots=True)
class NodeAddress:
    """Where a node takes what others forward to it.

    Attributes:
        host: Address or name.
        port: TCP port.
        secret: Shows the node that a request comes from its like.
    """

    host: str
    port: int
    secret: str = field(repr=False)


class DirectoryUnavailable(Exception):
    """Nobody can be asked: answer 503."""


class Directory(Protocol):
    """The nodes of the cluster, as one of them sees them."""

    @property
    def node_id(self) -> str:
        """Of this node: ``NODE_ID_CHARS`` characters of base64url."""

    async def look_up(self, node_id: str) -> NodeAddress | None:
        """Where a node is; None if there is none of that id. May wait, within a second, for a node that just started.

        Clients may invent ids: how many wait at one time is bounded here.

        Raises:
            DirectoryUnavailable: the node is not known here, and nobody can be asked, or too many ask.
        """
