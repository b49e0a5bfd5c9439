"""A client's view of one answer, by the rules of `roomcast.gateway.delivery.resumes`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def text_of(chunks: Sequence[Mapping[str, Any]]) -> str:
    """The text in the deltas of a stream with one text part."""
    return "".join(chunk["delta"] for chunk in chunks if chunk["type"] == "text-delta")


class AnswerView:
    """The answer so far.

    Attributes:
        last: Number of the last chunk; -1 before the first.
        text: Its text.
    """

    def __init__(self) -> None:
        self.generation = 0
        self.last = -1
        self.text = ""

    def accept(self, event: Mapping[str, Any]) -> bool:
        """Apply an ``ai-chunk``, or ignore a repeat; False: chunks before it are missing, resume."""
        generation = event.get("generation", 1)
        if generation < self.generation or (generation == self.generation and event["last"] <= self.last):
            return True
        # Before the first chunk every generation is new.
        known = generation == self.generation or self.last < 0
        if not known or event["first"] != self.last + 1 or not event["chunks"]:
            return False
        self.generation, self.last = generation, event["last"]
        self.text += text_of(event["chunks"])
        return True

    def replace(self, snapshot: Mapping[str, Any]) -> None:
        """Apply the ack of ``ai-resume``."""
        if (snapshot["generation"], snapshot["last"]) > (self.generation, self.last):
            self.generation, self.last = snapshot["generation"], snapshot["last"]
            self.text = text_of(snapshot["chunks"])
