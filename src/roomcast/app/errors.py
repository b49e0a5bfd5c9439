"""Failures of a process that are reported as one line, without a traceback.

Layer: app.
"""

from __future__ import annotations


class AppError(Exception):
    """The process cannot start or must end; the text says why and what to do next."""


class TaskFailed(AppError):
    """A background task ended without being stopped."""

    def __init__(self, name: str, error: BaseException | None) -> None:
        cause = "ended without an error" if error is None else f"failed ({type(error).__name__}: {error}; see the log)"
        super().__init__(f"the {name} {cause}, so the process ended")
