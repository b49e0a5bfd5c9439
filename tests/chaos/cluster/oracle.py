"""Pure checks of a recorded run: every acknowledged message exactly once, in one order, at every client.

A client that drops repeats and fetches what it misses hides a gateway's mistakes. So there are two checks:
`check_chat` for what the clients ended up with, `check_connection` for what each connection received, in its order.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Self


class ChatMessage(NamedTuple):
    """The fields that identify a message, in a frame and in the database."""

    seq: int
    id: str
    epoch: str
    client_id: str | None
    chat: str
    content: str

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """From a message object of the API or of ``new-msg``."""
        return cls(data["seq"], data["id"], data["epoch"], data["clientMsgId"], data["chatId"], data["content"])


class JoinAck(NamedTuple):
    """The ack of ``join-chat``."""

    epoch: str
    seq: int
    recovered: bool
    reset: bool


class ResyncNotice(NamedTuple):
    """The ``resync`` event: the client has to fetch up to ``seq``."""

    epoch: str
    seq: int
    reset: bool


@dataclass(slots=True)
class ConnectionRecord:
    """What one connection received for one chat.

    Attributes:
        client: The client's number.
        epoch: Epoch of the cursor that it joined with.
        after: Seq of that cursor.
        received: In order of arrival.
        ended: Lost before the end of the run, so it need not have received everything.
    """

    client: int
    epoch: str
    after: int
    received: list[ChatMessage | JoinAck | ResyncNotice] = field(default_factory=list)
    ended: bool = False

    @property
    def position(self) -> int:
        """The last seq that it was sent, in an event, an ack or a notice."""
        return self.received[-1].seq if self.received else self.after


def check_chat(
    stored: Sequence[ChatMessage],
    acknowledged: Mapping[str, tuple[int, str]],
    applied: Mapping[int, Sequence[ChatMessage]],
    connections: Sequence[ConnectionRecord] = (),
) -> None:
    """Fail unless every client of one chat has every acknowledged message exactly once, in the order of the database.

    Args:
        stored: The chat in the database, by seq.
        acknowledged: Client id of each acknowledged message → seq and id in the answer. Client ids are
            ``<sender>-<number>``, and a sender's numbers ascend.
        applied: A client's number → its messages in its order.
        connections: Every connection of every client.
    """
    seqs = [message.seq for message in stored]
    assert seqs == list(range(1, len(stored) + 1)), "the database has gaps"
    copies = Counter(message.client_id for message in stored)
    missing = [client_id for client_id in acknowledged if copies[client_id] != 1]
    assert not missing, f"acknowledged, but not stored once: {missing[:10]}"
    wrong = [
        client_id
        for client_id, (seq, id_) in acknowledged.items()
        if not 1 <= seq <= len(stored) or (stored[seq - 1].id, stored[seq - 1].client_id) != (id_, client_id)
    ]
    assert not wrong, f"acknowledged under another seq: {wrong[:10]}"
    latest: dict[str, int] = {}
    for message in stored:
        sender, _, number = str(message.client_id).partition("-")
        assert latest.get(sender, -1) < int(number), f"sender {sender} is out of order at {number}"
        latest[sender] = int(number)
    expected = list(stored)
    different = [number for number, messages in applied.items() if list(messages) != expected]
    assert not different, f"{len(different)} clients differ from the database: {different[:10]}"
    for connection in connections:
        check_connection(connection, stored)


def check_connection(connection: ConnectionRecord, stored: Sequence[ChatMessage]) -> None:
    """Fail unless one connection received what the protocol guarantees.

    - Before the ack of a join come all events of the replay, or none of them.
    - After the ack comes every next event, until the connection ends or a ``resync`` moves the position.
    - So no event comes twice, late or out of order, and none is left out without a ``resync``, the last one included.
    """
    client = f"client {connection.client}"
    epoch, position, joined = connection.epoch, connection.after, False
    for item in connection.received:
        if isinstance(item, ChatMessage):
            assert item.seq > position, f"{client} was at {position} and got {item.seq}: stale or repeated"
            assert item.seq == position + 1, f"{client} was at {position} and got {item.seq}: a gap without a resync"
            assert item.epoch == epoch, f"{client} was in epoch {epoch} and got {item}"
            assert item.seq <= len(stored), f"{client} got {item}, which is not stored"
            assert item == stored[item.seq - 1], f"{client} got {item}, but stored is {stored[item.seq - 1]}"
            position = item.seq
        elif isinstance(item, JoinAck):
            context = f"{client} joined with {connection.after}, was replayed up to {position} and got {item}"
            assert not joined, f"{client} got two acks"
            assert position == (item.seq if item.recovered else connection.after), context
            assert item.reset or item.epoch == epoch, context
            assert not (item.reset and item.recovered), context
            joined, epoch, position = True, item.epoch, item.seq
            assert position <= len(stored), f"{client} got {item}, and stored are {len(stored)}"
        else:
            context = f"{client} was at {position} and got {item}"
            assert joined, f"{context} before the ack"
            assert item.reset or (item.epoch == epoch and item.seq >= position), context
            epoch, position = item.epoch, item.seq
            assert position <= len(stored), f"{client} got {item}, and stored are {len(stored)}"
    assert connection.ended or joined, f"{client} never got the ack of its join"
    assert connection.ended or position == len(stored), f"{client} got {position} of {len(stored)} and then nothing"
