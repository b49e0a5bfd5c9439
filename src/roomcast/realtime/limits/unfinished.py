"""The memory of what clients have begun to send and not finished: attachments, websocket messages, bodies of posts.

All connections of a server share one budget. Beyond it, the input that was begun first is given up, since it belongs
to a client that sends slowly or not at all. Input that is not finished in time is given up too.

Layer: realtime.limits.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from roomcast.realtime.limits.timers import TimerWheel
from roomcast.wire.errors import Fault, RemoteError


class Sender(Protocol):
    """What receives the input: a connection, a websocket, a post. One input at a time."""

    @property
    def input_waits(self) -> bool:
        """Whether the server reads no more for now: then the client cannot finish its input."""

    def give_up_input(self, error: RemoteError) -> None:
        """Drop what was received, and close the connection."""


@dataclass(slots=True)
class _Input:
    size_bytes: int
    due: float


class UnfinishedInput:
    """The unfinished input of one server.

    Args:
        wheel: Runs the deadline.
        limit_bytes: Maximum total size.
        timeout_s: Time limit from the first `hold` to `release`; it begins again if the server did not read at its end.
    """

    def __init__(self, wheel: TimerWheel, limit_bytes: int, timeout_s: float) -> None:
        self._wheel = wheel
        self._limit_bytes = limit_bytes
        self._timeout_s = timeout_s
        self._inputs: dict[Sender, _Input] = {}  # the first was begun first
        self._deadline = wheel.deadline(self._give_up_late)
        self.size_bytes = 0

    def hold(self, sender: Sender, size_bytes: int) -> None:
        """Set the size of a sender's unfinished input; gives up the oldest input if all together exceed the limit."""
        held = self._inputs.get(sender)
        if held is None:
            held = self._inputs[sender] = _Input(0, self._wheel.now() + self._timeout_s)
            if not self._deadline.armed:
                self._deadline.arm(self._timeout_s)
        self.size_bytes += size_bytes - held.size_bytes
        held.size_bytes = size_bytes
        while self.size_bytes > self._limit_bytes:
            self._give_up_first(f"the unfinished input of all clients exceeds {self._limit_bytes} bytes")

    def release(self, sender: Sender) -> int:
        """The input is complete, or its connection has closed. Harmless if there is none. Returns its last size."""
        held = self._inputs.pop(sender, None)
        if held is None:
            return 0
        self.size_bytes -= held.size_bytes
        return held.size_bytes

    def _give_up_first(self, cause: str) -> None:
        sender = next(iter(self._inputs))
        self.release(sender)
        sender.give_up_input(RemoteError(Fault.UNFINISHED, cause))

    def _give_up_late(self) -> None:
        while self._inputs:
            sender, held = next(iter(self._inputs.items()))
            wait_s = held.due - self._wheel.now()
            if wait_s > 0:
                self._deadline.arm(wait_s)
                return
            if sender.input_waits:
                self._inputs[sender] = self._inputs.pop(sender)  # the last one
                held.due = self._wheel.now() + self._timeout_s
                continue
            self._give_up_first(f"a message or packet is incomplete after {self._timeout_s} s")
