from __future__ import annotations

import pytest

from roomcast.app.backend import LocalAdmission
from roomcast.chat.errors import ChatNotFound, Muted, RightMissing, StoreUnavailable, TurnNotFound
from roomcast.chat.model import ANYONE, Caller, ChatAccess
from roomcast.chat.use_cases.admission import Admissions
from roomcast.contract.cursor import Cursor
from roomcast.gateway.ports import Admission, AdmissionDenied, ApiUnavailable, Head, Refused, UnknownTurn


class Store:
    """Answers what `Admissions` asks of a store."""

    epoch = "e1"

    def __init__(self, access: ChatAccess | Exception) -> None:
        self._access = access

    async def access(self, *_asked: object) -> ChatAccess:
        if isinstance(self._access, Exception):
            raise self._access
        return self._access


class Logs:
    """What `Admissions` tells the relay."""

    def __init__(self) -> None:
        self.ensured: list[tuple[str, int]] = []
        self.published: list[str] = []

    async def ensure_log(self, chat_id: str, seq: int) -> None:
        self.ensured.append((chat_id, seq))

    async def publish_now(self, chat_id: str) -> bool:
        self.published.append(chat_id)
        return True


class Turns:
    """Records stops, or fails."""

    def __init__(self, error: Exception | None = None) -> None:
        self._error = error
        self.stopped: list[tuple[Caller, str, str]] = []

    async def stop(self, caller: Caller, chat_id: str, turn_id: str) -> None:
        if self._error is not None:
            raise self._error
        self.stopped.append((caller, chat_id, turn_id))


def admission(access: ChatAccess | Exception, turns: Turns | None = None) -> tuple[LocalAdmission, Logs]:
    logs = Logs()
    admissions = Admissions(Store(access), logs)  # type: ignore[arg-type]  # what is asked of it
    return LocalAdmission(admissions, turns or Turns()), logs  # type: ignore[arg-type]  # same reason


def access(*, exists: bool = True, is_member: bool = True, cursor_valid: bool = True) -> ChatAccess:
    return ChatAccess(exists=exists, last_seq=7, is_member=is_member, cursor_valid=cursor_valid)


@pytest.mark.parametrize("holds", [True, False])
async def test_the_answer_of_the_database_is_returned_and_the_log_is_prepared(holds) -> None:
    admit, logs = admission(access(cursor_valid=holds))
    assert await admit.admit("c1", "ada", Cursor(epoch="e0", seq=3)) == Admission(Head("e1", 7), reset=not holds)
    assert logs.ensured == [("c1", 7)]


@pytest.mark.parametrize("found", [access(exists=False), access(is_member=False)])
async def test_non_members_and_unknown_chats_are_denied_alike(found) -> None:
    admit, logs = admission(found)
    with pytest.raises(AdmissionDenied):
        await admit.admit("c1", "ada", None)
    assert logs.ensured == []


async def test_without_authentication_every_join_is_admitted() -> None:
    admit, _ = admission(access(exists=False, is_member=False))
    assert (await admit.admit("c1", None, None)).head == Head("e1", 7)


async def test_a_database_out_of_reach_makes_the_admission_unavailable() -> None:
    admit, _ = admission(StoreUnavailable("locked"))
    with pytest.raises(ApiUnavailable, match="locked"):
        await admit.admit("c1", "ada", None)


async def test_a_request_to_publish_is_passed_to_the_relay() -> None:
    admit, logs = admission(access())
    await admit.request_publish("c1")
    assert logs.published == ["c1"]


@pytest.mark.parametrize(("user_id", "caller"), [("ada", Caller("ada")), (None, ANYONE)])
async def test_a_stop_is_made_in_the_name_of_the_user(user_id, caller) -> None:
    turns = Turns()
    admit, _ = admission(access(), turns)
    await admit.stop_turn("c1", "t1", user_id)
    assert turns.stopped == [(caller, "c1", "t1")]


@pytest.mark.parametrize(
    ("error", "refusal"),
    [
        (ChatNotFound("c1"), AdmissionDenied),
        (TurnNotFound("c1", "t1"), UnknownTurn),
        (RightMissing("reader", "stop answers"), Refused),
        (Muted("2026-11-29T12:00Z"), Refused),
        (StoreUnavailable("locked"), ApiUnavailable),
    ],
)
async def test_the_refusal_of_a_stop_keeps_its_reason(error, refusal) -> None:
    admit, _ = admission(access(), Turns(error))
    with pytest.raises(refusal):
        await admit.stop_turn("c1", "t1", "ada")
