"""An observer of a server that records every call."""

from __future__ import annotations

from typing import Any

from roomcast.realtime import Observer


class RecordingObserver(Observer):
    """Records the calls of all methods."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []

    def __getattribute__(self, name: str) -> Any:
        if name in {"calls", "of"} or name.startswith("__"):
            return super().__getattribute__(name)
        return lambda *args: self.calls.append((name, *args))

    def of(self, name: str) -> list[tuple[Any, ...]]:
        """The arguments of each call of one method."""
        return [call[1:] for call in self.calls if call[0] == name]
