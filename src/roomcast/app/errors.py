"""Why a process could not start or go on: one line for a person, no traceback.

Layer: app.
"""

from __future__ import annotations


class AppFailed(Exception):
    """The process cannot start, or had to end; the text says what happened and what to do."""


class PartDied(AppFailed):
    """A part that has to run as long as the process ended by itself.

    Attributes:
        part: Its name.
    """

    def __init__(self, part: str, error: BaseException | None) -> None:
        cause = "it ended without an error" if error is None else f"{type(error).__name__}: {error}"
        super().__init__(f"the {part} failed, so the process ended ({cause}); its traceback is in the log")
        self.part = part
