"""The findings of `roomcast doctor`.

Layer: app.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal


class Role(StrEnum):
    """The command whose process is checked."""

    UP = "up"
    API = "api"
    GATEWAY = "gateway"
    WORKER = "worker"


Status = Literal["ok", "warning", "fault"]


@dataclass(frozen=True, slots=True)
class Finding:
    """The outcome of one check.

    Attributes:
        check: What was checked.
        status: ``fault``: the process does not start or does not work. ``warning``: it works, with a risk.
        text: What was found; no secret.
        remedy: What to change, with the name of the setting; empty if nothing.
    """

    check: str
    status: Status
    text: str
    remedy: str = ""


def ok(check: str, text: str) -> Finding:
    """A success."""
    return Finding(check, "ok", text)


def warning(check: str, text: str, remedy: str) -> Finding:
    """A risk."""
    return Finding(check, "warning", text, remedy)


def fault(check: str, text: str, remedy: str) -> Finding:
    """A fault."""
    return Finding(check, "fault", text, remedy)
