"""What Exact means, as functions of what was seen: every acknowledged message once, in one order, for every client.

Two questions, since a client that drops what it has and fetches what it misses hides what a gateway did wrong:
`judge` asks what the clients ended up with, `judge_connection` what each connection brought, in the order it came.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Self


class Told(NamedTuple):
    """A message, as a frame or the database has it: all that makes it the same one."""

    seq: int
    id: str
    epoch: str
    client_id: str | None
    chat: str
    content: str

    @classmethod
    def of(cls, data: Mapping[str, Any]) -> Self:
        """Of a message object."""
        return cls(data["seq"], data["id"], data["epoch"], data["clientMsgId"], data["chatId"], data["content"])


class Joined(NamedTuple):
    """The ack of a join."""

    epoch: str
    seq: int
    recovered: bool
    reset: bool


class Resynced(NamedTuple):
    """The gateway said that there is something to fetch."""

    epoch: str
    seq: int
    reset: bool


@dataclass(slots=True)
class Connection:
    """What one connection brought of one chat.

    Attributes:
        member: The client's number.
        epoch: What it joined with; likewise ``after``.
        after: The seq up to which it had everything.
        seen: In the order in which it came.
        ended: It was lost before the end of the run, and need not have brought everything.
    """

    member: int
    epoch: str
    after: int
    seen: list[Told | Joined | Resynced] = field(default_factory=list)
    ended: bool = False

    @property
    def position(self) -> int:
        """Up to where its client was told, one way or the other."""
        return self.seen[-1].seq if self.seen else self.after


def judge(
    truth: Sequence[Told],
    acknowledged: Mapping[str, tuple[int, str]],
    applied: Mapping[int, Sequence[Told]],
    connections: Sequence[Connection] = (),
) -> None:
    """Fail unless one chat was Exact.

    Args:
        truth: What the database has, by seq.
        acknowledged: Client id to the seq and id that the send was answered with. Client ids are
            ``<sender>-<number>``, and a sender's numbers ascend.
        applied: What each client has, in its order, by the client's number.
        connections: All that there were.
    """
    seqs = [message.seq for message in truth]
    assert seqs == list(range(1, len(truth) + 1)), "the truth has gaps"
    stored = Counter(message.client_id for message in truth)
    missing = [client_id for client_id in acknowledged if stored[client_id] != 1]
    assert not missing, f"acknowledged, but not stored once: {missing[:10]}"
    wrong = [
        client_id
        for client_id, (seq, id_) in acknowledged.items()
        if not 1 <= seq <= len(truth) or (truth[seq - 1].id, truth[seq - 1].client_id) != (id_, client_id)
    ]
    assert not wrong, f"acknowledged under another seq: {wrong[:10]}"
    latest: dict[str, int] = {}
    for message in truth:
        sender, _, number = str(message.client_id).partition("-")
        assert latest.get(sender, -1) < int(number), f"sender {sender} is out of order at {number}"
        latest[sender] = int(number)
    expected = list(truth)
    different = [number for number, messages in applied.items() if list(messages) != expected]
    assert not different, f"{len(different)} clients differ from the truth: {different[:10]}"
    for connection in connections:
        judge_connection(connection, truth)


def judge_connection(connection: Connection, truth: Sequence[Told]) -> None:
    """Fail unless one connection kept the promise to clients.

    A join's ack means that everything up to its seq came before it on this connection; a replay is whole or none; what
    follows is the next, again and again, until the connection ends or a ``resync`` says how far the client has to
    fetch. So nothing comes twice, late or out of order, and nothing is left out in silence, the last one no more than
    any other.
    """
    client = f"client {connection.member}"
    epoch, here, joined = connection.epoch, connection.after, False
    for thing in connection.seen:
        if isinstance(thing, Told):
            assert thing.seq > here, f"{client} was at {here} and got {thing.seq}: stale, or twice"
            assert thing.seq == here + 1, f"{client} was at {here} and got {thing.seq}: a hole, and nothing said so"
            assert thing.epoch == epoch, f"{client} was in epoch {epoch} and got {thing}"
            assert thing.seq <= len(truth), f"{client} got {thing}, which is not stored"
            assert thing == truth[thing.seq - 1], f"{client} got {thing}, but stored is {truth[thing.seq - 1]}"
            here = thing.seq
        elif isinstance(thing, Joined):
            whole = f"{client} joined with {connection.after}, was replayed up to {here}, and then told {thing}"
            assert not joined, f"{client} was told twice that it had joined"
            assert here == (thing.seq if thing.recovered else connection.after), whole
            assert thing.reset or thing.epoch == epoch, whole
            assert not (thing.reset and thing.recovered), whole
            joined, epoch, here = True, thing.epoch, thing.seq
            assert here <= len(truth), f"{client} was told {thing}, and stored are {len(truth)}"
        else:
            said = f"{client} was at {here} and told {thing}"
            assert joined, f"{said} before it had joined"
            assert thing.reset or (thing.epoch == epoch and thing.seq >= here), said
            epoch, here = thing.epoch, thing.seq
            assert here <= len(truth), f"{client} was told {thing}, and stored are {len(truth)}"
    assert connection.ended or joined, f"{client} was never told that it had joined"
    assert connection.ended or here == len(truth), f"{client} was brought {here} of {len(truth)}, and then nothing more"
