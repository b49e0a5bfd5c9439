import json
import math
from contextlib import suppress
from itertools import product

import pytest

from roomcast.wire.engineio_effects import (
    CloseCandidate,
    Closed,
    ClosePoll,
    CloseReason,
    Effect,
    MessageReceived,
    ReleasePoll,
    Send,
    SendOnCandidate,
    Upgraded,
)
from roomcast.wire.engineio_http import TransportName
from roomcast.wire.engineio_refusals import HttpError, RequestRefused, UpgradeRefused
from roomcast.wire.engineio_session import TRANSITIONS, EngineSession, State, Trigger
from roomcast.wire.errors import Fault, IllegalTransition, RemoteError
from roomcast.wire.limits import Limits, Timeouts

POLLING, WEBSOCKET = TransportName.POLLING, TransportName.WEBSOCKET
TIMES = Timeouts(ping_interval_s=25, ping_timeout_s=20, upgrade_timeout_s=10, close_timeout_s=30)


def session_of(transport: TransportName) -> EngineSession:
    session = EngineSession("sid", transport, timeouts=TIMES)
    session.open(0.0)
    return session


def polling() -> EngineSession:
    return session_of(POLLING)


def websocket() -> EngineSession:
    return session_of(WEBSOCKET)


def posted(session: EngineSession, body: bytes, now: float) -> list[Effect]:
    """The effects of all packets of a POST."""
    return [effect for effects in session.post_received(body, now) for effect in effects]


def in_state(state: State) -> EngineSession:
    """A polling session that was brought to a state by its input."""
    if state is State.OPENING:
        return EngineSession("sid", POLLING, timeouts=TIMES)
    session = polling()
    if state in {State.UPGRADING, State.PROBED}:
        session.candidate_attached(0.0)
    if state is State.PROBED:
        session.receive_candidate("2probe", 0.0)
    if state is State.CLOSING:
        session.close(0.0)
    if state is State.CLOSED:
        session.transport_closed()
    assert session.state is state
    return session


# -- state machine ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("state", "trigger"), list(product(State, Trigger)))
def test_only_listed_transitions_are_legal(state: State, trigger: Trigger) -> None:
    session = in_state(state)
    if (state, trigger) in TRANSITIONS:
        session._move(trigger)
        assert session.state is TRANSITIONS[state, trigger]
    else:
        with pytest.raises(IllegalTransition) as caught:
            session._move(trigger)
        assert (caught.value.state, caught.value.trigger) == (state.name, trigger.name)
        assert session.state is state


def test_every_state_but_the_first_is_reached_and_every_state_can_end() -> None:
    assert set(TRANSITIONS.values()) == set(State) - {State.OPENING}
    assert {state for (state, trigger) in TRANSITIONS if trigger is Trigger.END} == set(State) - {State.CLOSED}


def test_nothing_follows_closed() -> None:
    assert not [state for (state, _) in TRANSITIONS if state is State.CLOSED]


@pytest.mark.parametrize("state", State)
def test_every_pair_of_inputs_is_handled_in_every_state(state: State) -> None:
    inputs = [
        lambda session: session.receive("3", 1.0),
        lambda session: session.receive(b"x", 1.0),
        lambda session: session.receive("junk", 1.0),
        lambda session: session.check_deadlines(1.0),
        lambda session: session.check_deadlines(1e9),
        lambda session: session.poll_started(1.0),
        lambda session: session.poll_answered(),
        lambda session: session.poll_aborted(),
        lambda session: session.post_started(1.0),
        lambda session: posted(session, b"4x", 1.0),
        lambda session: posted(session, b"1", 1.0),
        lambda session: posted(session, b"junk", 1.0),
        lambda session: session.post_dropped(),
        lambda session: session.post_aborted(),
        lambda session: session.candidate_attached(1.0),
        lambda session: session.receive_candidate("2probe", 1.0),
        lambda session: session.receive_candidate("5", 1.0),
        lambda session: session.receive_candidate("junk", 1.0),
        lambda session: session.candidate_lost(),
        lambda session: session.transport_closed(),
        lambda session: session.transport_failed(),
        lambda session: session.close(1.0),
    ]
    for first, second in product(inputs, inputs):
        session = in_state(state)
        for act in (first, second):
            with suppress(RequestRefused):
                act(session)
            assert session.next_deadline() == math.inf or session.state is not State.CLOSED


# -- open -------------------------------------------------------------------------------------------------------------


def test_the_open_packet_has_exactly_the_keys_of_the_document() -> None:
    session = EngineSession("lv_VI97HAXpY6yYWAAAC", POLLING)
    packet = session.open(100.0)
    assert packet == (
        '0{"sid":"lv_VI97HAXpY6yYWAAAC","upgrades":["websocket"],'
        '"pingInterval":25000,"pingTimeout":20000,"maxPayload":1000000}'
    )
    assert session.state is State.OPEN
    assert session.sid == "lv_VI97HAXpY6yYWAAAC"


def test_websocket_offers_no_upgrade() -> None:
    assert json.loads(EngineSession("s", WEBSOCKET).open(0.0)[1:])["upgrades"] == []


def test_upgrades_may_be_forbidden() -> None:
    session = EngineSession("s", POLLING, upgrades=())
    assert json.loads(session.open(0.0)[1:])["upgrades"] == []
    with pytest.raises(RequestRefused):
        session.candidate_attached(0.0)


def test_the_open_packet_has_whole_milliseconds() -> None:
    opened = json.loads(
        EngineSession(
            "s",
            POLLING,
            limits=Limits(max_payload_bytes=77),
            timeouts=Timeouts(ping_interval_s=0.3, ping_timeout_s=0.2),
        ).open(0.0)[1:]
    )
    assert (opened["pingInterval"], opened["pingTimeout"], opened["maxPayload"]) == (300, 200, 77)
    assert isinstance(opened["pingInterval"], int)


def test_a_session_can_be_opened_once() -> None:
    with pytest.raises(IllegalTransition):
        polling().open(1.0)


# -- heartbeat --------------------------------------------------------------------------------------------------------


def test_the_ping_is_sent_exactly_at_the_interval() -> None:
    session = websocket()
    assert session.next_deadline() == 25.0
    assert list(session.check_deadlines(24.999)) == []
    assert list(session.check_deadlines(25.0)) == [Send("2")]
    assert session.next_deadline() == 45.0


def test_a_pong_restarts_the_interval() -> None:
    session = websocket()
    session.check_deadlines(25.0)
    assert list(session.receive("3", 30.0)) == []
    assert session.next_deadline() == 55.0
    assert list(session.check_deadlines(55.0)) == [Send("2")]


def test_pong_exactly_at_the_deadline_is_accepted() -> None:
    session = websocket()
    session.check_deadlines(25.0)
    assert list(session.receive("3", 45.0)) == []
    assert session.state is State.OPEN


def test_a_pong_after_the_deadline_is_accepted_until_the_timer_fires() -> None:
    session = websocket()
    session.check_deadlines(25.0)
    assert list(session.receive("3", 45.001)) == []
    assert session.next_deadline() == 70.001


def test_a_missing_pong_closes_exactly_at_the_deadline() -> None:
    session = websocket()
    session.check_deadlines(25.0)
    assert list(session.check_deadlines(44.999)) == []
    assert list(session.check_deadlines(45.0)) == [Closed(CloseReason.PING_TIMEOUT)]
    assert session.next_deadline() == math.inf


def test_a_client_whose_pong_may_wait_to_be_read_is_pinged_again() -> None:
    session = websocket()
    session.check_deadlines(25.0)
    assert list(session.check_deadlines(45.0, input_waits=True)) == [Send("2")]
    assert session.next_deadline() == 65.0
    assert list(session.receive("3", 50.0)) == []
    assert session.next_deadline() == 75.0
    session.check_deadlines(75.0)
    assert list(session.check_deadlines(95.0)) == [Closed(CloseReason.PING_TIMEOUT)]


def test_a_coarse_timer_does_not_extend_interval_plus_timeout() -> None:
    session = websocket()
    assert list(session.check_deadlines(27.0)) == [Send("2")]
    assert session.next_deadline() == 45.0


def test_after_a_delayed_ping_the_client_gets_the_full_timeout() -> None:
    session = websocket()
    assert list(session.check_deadlines(27.25)) == [Send("2")]
    assert session.next_deadline() == 47.25


def test_an_unsolicited_pong_counts_and_restarts_the_interval() -> None:
    session = websocket()
    for number in range(1000):
        assert list(session.receive("3", number / 100)) == []
    assert session.next_deadline() == 9.99 + 25.0


def test_a_message_does_not_replace_a_pong() -> None:
    session = websocket()
    session.check_deadlines(25.0)
    session.receive("4hello", 30.0)
    assert session.next_deadline() == 45.0


def test_a_request_after_the_ping_timeout_finds_no_session() -> None:
    session = polling()
    session.check_deadlines(25.0)
    with pytest.raises(RequestRefused) as caught:
        session.poll_started(45.001)
    assert caught.value.http_error is HttpError.UNKNOWN_SID
    assert list(caught.value.effects) == [Closed(CloseReason.PING_TIMEOUT)]


def test_a_pong_by_post_exactly_at_the_deadline_is_accepted() -> None:
    session = polling()
    session.check_deadlines(25.0)
    session.post_started(45.0)
    assert posted(session, b"3", 45.0) == []
    assert session.state is State.OPEN


def test_a_ping_timeout_ends_the_pending_poll() -> None:
    session = polling()
    session.check_deadlines(25.0)
    session.poll_started(26.0)
    assert list(session.check_deadlines(45.0)) == [ClosePoll(), Closed(CloseReason.PING_TIMEOUT)]


# -- websocket --------------------------------------------------------------------------------------------------------


def test_messages_are_passed_on_unchanged() -> None:
    session = websocket()
    assert list(session.receive("4hello", 0.0)) == [MessageReceived("hello")]
    assert list(session.receive("4", 0.0)) == [MessageReceived("")]
    assert list(session.receive(b"\x01", 0.0)) == [MessageReceived(b"\x01")]
    assert list(session.receive("bAQ==", 0.0)) == [MessageReceived(b"\x01")]


@pytest.mark.parametrize("data", ["", "abc", "7", "b*"])
def test_a_malformed_packet_is_a_parse_error_with_its_cause(data: str) -> None:
    session = websocket()
    (closed,) = session.receive(data, 0.0)
    assert isinstance(closed, Closed)
    assert closed.reason is CloseReason.PARSE_ERROR
    assert closed.error is not None
    assert session.state is State.CLOSED


@pytest.mark.parametrize("data", ["2", "2probe"])
def test_a_ping_from_the_client_closes(data: str) -> None:
    assert list(websocket().receive(data, 0.0)) == [Closed(CloseReason.TRANSPORT_ERROR)]


@pytest.mark.parametrize("data", ["0", "0{}", "5", "6"])
def test_open_upgrade_and_noop_are_ignored_as_in_node(data: str) -> None:
    session = websocket()
    assert list(session.receive(data, 0.0)) == []
    assert session.state is State.OPEN


def test_the_close_packet_closes() -> None:
    assert list(websocket().receive("1", 0.0)) == [Closed(CloseReason.TRANSPORT_CLOSE)]


def test_a_closed_websocket_ends_the_session_once() -> None:
    session = websocket()
    assert list(session.transport_closed()) == [Closed(CloseReason.TRANSPORT_CLOSE)]
    assert list(session.transport_closed()) == []
    assert list(session.transport_failed()) == []
    assert list(session.receive("4late", 0.0)) == []


def test_a_failed_websocket_keeps_its_error() -> None:
    error = RemoteError(Fault.BAD_UTF8, "frame")
    assert list(websocket().transport_failed(error)) == [Closed(CloseReason.TRANSPORT_ERROR, error)]


def test_close_over_websocket_ends_at_once() -> None:
    session = websocket()
    assert list(session.close(0.0)) == [Closed(CloseReason.FORCED_CLOSE)]
    assert list(session.close(0.0)) == []


# -- polling ----------------------------------------------------------------------------------------------------------


def test_a_poll_waits_until_it_is_answered() -> None:
    session = polling()
    assert list(session.poll_started(1.0)) == []
    session.poll_answered()
    assert list(session.poll_started(2.0)) == []


def test_a_second_poll_ends_the_session() -> None:
    session = polling()
    session.poll_started(1.0)
    with pytest.raises(RequestRefused) as caught:
        session.poll_started(1.0)
    assert caught.value.status == 400
    assert list(caught.value.effects) == [ClosePoll(), Closed(CloseReason.TRANSPORT_ERROR)]
    with pytest.raises(RequestRefused) as again:
        session.poll_started(2.0)
    assert again.value.http_error is HttpError.UNKNOWN_SID


def test_an_aborted_poll_ends_the_session() -> None:
    session = polling()
    session.poll_started(1.0)
    assert list(session.poll_aborted()) == [Closed(CloseReason.TRANSPORT_ERROR)]


def test_an_answered_poll_cannot_be_aborted() -> None:
    session = polling()
    session.poll_started(1.0)
    session.poll_answered()
    assert list(session.poll_aborted()) == []
    assert session.state is State.OPEN


def test_the_messages_of_a_post_keep_their_order() -> None:
    session = polling()
    session.post_started(1.0, "text/plain;charset=UTF-8")
    assert posted(session, "4test1\x1e4測試\x1ebAQIDBA==".encode(), 1.0) == [
        MessageReceived("test1"),
        MessageReceived("測試"),
        MessageReceived(b"\x01\x02\x03\x04"),
    ]


def test_a_second_post_ends_the_session() -> None:
    session = polling()
    session.post_started(1.0)
    with pytest.raises(RequestRefused) as caught:
        session.post_started(1.0)
    assert list(caught.value.effects) == [Closed(CloseReason.TRANSPORT_ERROR)]
    assert posted(session, b"4late", 1.0) == []


@pytest.mark.parametrize("content_type", ["application/octet-stream", " Application/Octet-Stream ; x=y"])
def test_a_binary_post_ends_the_session(content_type: str) -> None:
    session = polling()
    with pytest.raises(RequestRefused) as caught:
        session.post_started(1.0, content_type)
    assert list(caught.value.effects) == [Closed(CloseReason.TRANSPORT_ERROR)]


def test_a_malformed_post_ends_the_session_after_its_valid_messages() -> None:
    session = polling()
    session.poll_started(1.0)
    session.post_started(1.0)
    packets = session.post_received(b"4hello\x1eabc\x1e4never", 1.0)
    assert list(next(packets)) == [MessageReceived("hello")]
    with pytest.raises(RequestRefused) as caught:
        next(packets)
    close_poll, closed = caught.value.effects
    assert close_poll == ClosePoll()
    assert isinstance(closed, Closed)
    assert closed.reason is CloseReason.PARSE_ERROR
    assert closed.error is not None
    assert closed.error.fault is Fault.BAD_PACKET_TYPE


def test_a_close_packet_by_post_releases_the_poll_with_a_noop() -> None:
    session = polling()
    session.poll_started(1.0)
    session.post_started(1.0)
    assert posted(session, b"4bye\x1e1\x1e4never", 1.0) == [
        MessageReceived("bye"),
        ReleasePoll(),
        Closed(CloseReason.TRANSPORT_CLOSE),
    ]


def test_an_aborted_post_ends_the_session() -> None:
    session = polling()
    session.post_started(1.0)
    assert list(session.post_aborted()) == [Closed(CloseReason.TRANSPORT_ERROR)]
    assert list(session.post_aborted()) == []


def test_an_oversize_post_that_was_answered_unread_keeps_the_session() -> None:
    session = polling()
    session.post_started(1.0)
    session.post_dropped()
    assert list(session.post_aborted()) == []
    session.post_started(2.0)
    assert session.state is State.OPEN


def test_a_post_while_the_session_closes_is_not_read() -> None:
    session = polling()
    session.close(1.0)
    session.post_started(2.0)
    assert posted(session, b"4hello\x1e1", 2.0) == []
    assert session.state is State.CLOSING


def test_close_with_a_pending_poll_ends_at_once() -> None:
    session = polling()
    session.poll_started(1.0)
    assert list(session.close(1.0)) == [ClosePoll(), Closed(CloseReason.FORCED_CLOSE)]


def test_close_without_a_poll_waits_for_the_next_one() -> None:
    session = polling()
    assert list(session.close(1.0)) == []
    assert session.state is State.CLOSING
    assert session.next_deadline() == 31.0
    assert list(session.poll_started(2.0)) == [ClosePoll(), Closed(CloseReason.FORCED_CLOSE)]
    assert session.state is State.CLOSED


def test_close_waits_at_most_the_close_timeout() -> None:
    session = polling()
    session.close(1.0)
    assert list(session.check_deadlines(30.999)) == []
    assert list(session.check_deadlines(31.0)) == [Closed(CloseReason.FORCED_CLOSE)]


def test_a_request_after_the_close_timeout_finds_no_session() -> None:
    session = polling()
    session.close(1.0)
    with pytest.raises(RequestRefused) as caught:
        session.poll_started(31.001)
    assert list(caught.value.effects) == [Closed(CloseReason.FORCED_CLOSE)]


def test_a_session_that_never_opened_closes_at_once() -> None:
    session = EngineSession("s", POLLING)
    assert list(session.close(0.0)) == [Closed(CloseReason.FORCED_CLOSE)]


def test_a_request_before_the_handshake_is_refused() -> None:
    with pytest.raises(RequestRefused):
        EngineSession("s", POLLING).poll_started(0.0)


# -- upgrade ----------------------------------------------------------------------------------------------------------


def upgraded() -> EngineSession:
    session = polling()
    session.candidate_attached(1.0)
    session.receive_candidate("2probe", 1.0)
    assert list(session.receive_candidate("5", 2.0)) == [Upgraded()]
    return session


def test_the_probe_is_answered_at_once_and_the_pending_poll_after_a_moment() -> None:
    session = polling()
    session.poll_started(0.0)
    session.candidate_attached(1.0)
    assert list(session.receive_candidate("2probe", 1.0)) == [SendOnCandidate("3probe")]
    assert session.next_deadline() == 1.05
    assert list(session.check_deadlines(1.04)) == []
    assert list(session.check_deadlines(1.05)) == [ReleasePoll()]
    assert session.transport is POLLING
    assert session.next_deadline() == 11.0


def test_a_poll_that_was_answered_with_events_needs_no_noop_for_the_upgrade() -> None:
    session = polling()
    session.poll_started(0.0)
    session.candidate_attached(1.0)
    session.receive_candidate("2probe", 1.0)
    session.poll_answered()
    assert list(session.check_deadlines(1.05)) == []
    assert list(session.receive_candidate("5", 1.2)) == [Upgraded()]


def test_without_a_pending_poll_the_probe_sets_no_timer() -> None:
    assert in_state(State.PROBED).next_deadline() == 10.0


def test_a_poll_after_the_probe_is_released_after_a_moment() -> None:
    session = in_state(State.PROBED)
    for now in (1.0, 2.0):
        assert list(session.poll_started(now)) == []
        assert list(session.check_deadlines(now + 0.05)) == [ReleasePoll()]


@pytest.mark.parametrize("state", [State.UPGRADING, State.PROBED])
def test_a_poll_of_an_upgrade_is_left_to_be_refused_at_its_end(state: State) -> None:
    session = in_state(state)
    assert list(session.poll_started(1.0)) == []
    assert list(session.receive_candidate("5", 1.0)) == [Upgraded()]
    assert list(session.poll_aborted()) == []
    assert session.next_deadline() == 25.0


def test_a_poll_of_an_abandoned_upgrade_is_answered_at_the_end_of_the_next_one() -> None:
    session = in_state(State.PROBED)
    session.poll_started(1.0)
    session.candidate_lost()
    assert session.next_deadline() == 25.0
    session.candidate_attached(2.0)
    assert list(session.receive_candidate("5", 2.0)) == [ReleasePoll(), Upgraded()]


def test_a_second_probe_is_answered_too() -> None:
    assert list(in_state(State.PROBED).receive_candidate("2probe", 1.0)) == [SendOnCandidate("3probe")]


def test_the_upgrade_packet_switches_the_transport() -> None:
    session = upgraded()
    assert session.state is State.OPEN
    assert session.transport is WEBSOCKET
    assert list(session.receive("4hello", 3.0)) == [MessageReceived("hello")]
    assert session.next_deadline() == 25.0


def test_an_upgrade_without_probe_is_accepted_as_in_node() -> None:
    session = polling()
    session.poll_started(0.0)
    session.candidate_attached(1.0)
    assert list(session.receive_candidate("5", 1.0)) == [ReleasePoll(), Upgraded()]


def test_messages_by_post_are_accepted_during_the_upgrade() -> None:
    session = in_state(State.PROBED)
    session.post_started(1.0)
    assert posted(session, b"4late", 1.0) == [MessageReceived("late")]


def test_polls_and_posts_after_the_upgrade_are_refused_and_change_nothing() -> None:
    session = upgraded()
    for request in (session.poll_started, session.post_started):
        with pytest.raises(RequestRefused) as caught:
            request(3.0)
        assert caught.value.http_error is HttpError.BAD_REQUEST
        assert caught.value.effects == ()
    assert session.state is State.OPEN


@pytest.mark.parametrize("state", sorted(set(State) - {State.OPEN}, key=lambda state: state.value))
def test_a_further_websocket_on_the_sid_is_refused_and_changes_nothing(state: State) -> None:
    session = in_state(state)
    with pytest.raises(UpgradeRefused) as caught:
        session.candidate_attached(1.0)
    assert caught.value.effects == ()
    assert session.state is state


def test_a_websocket_on_an_upgraded_or_websocket_session_is_refused() -> None:
    for session in (upgraded(), websocket()):
        with pytest.raises(UpgradeRefused):
            session.candidate_attached(3.0)
        assert session.state is State.OPEN


def test_the_upgrade_restarts_the_timeout_of_a_pending_pong() -> None:
    session = polling()
    session.check_deadlines(25.0)
    session.candidate_attached(30.0)
    session.receive_candidate("2probe", 30.0)
    session.receive_candidate("5", 44.0)
    assert session.next_deadline() == 64.0


@pytest.mark.parametrize("state", [State.UPGRADING, State.PROBED])
@pytest.mark.parametrize("data", ["2", "2prob", "4hello", "3", "1", "junk", "", b"2probe", b"5"])
def test_any_other_message_on_the_candidate_closes_it_and_keeps_the_session(state: State, data: str | bytes) -> None:
    session = in_state(state)
    assert list(session.receive_candidate(data, 1.0)) == [CloseCandidate()]
    assert session.state is State.OPEN
    assert session.transport is POLLING
    session.candidate_attached(2.0)


@pytest.mark.parametrize("state", [State.UPGRADING, State.PROBED])
def test_an_upgrade_that_takes_too_long_is_abandoned(state: State) -> None:
    session = in_state(state)
    assert session.next_deadline() == 10.0
    assert list(session.check_deadlines(9.999)) == []
    assert list(session.check_deadlines(10.0)) == [CloseCandidate()]
    assert session.state is State.OPEN
    assert session.next_deadline() == 25.0


def test_a_lost_candidate_keeps_the_session() -> None:
    session = in_state(State.PROBED)
    session.candidate_lost()
    assert session.state is State.OPEN
    assert session.next_deadline() == 25.0
    session.candidate_lost()
    assert list(session.receive_candidate("5", 1.0)) == []


def test_the_end_of_the_session_closes_the_candidate() -> None:
    session = in_state(State.PROBED)
    session.post_started(1.0)
    assert posted(session, b"1", 1.0) == [CloseCandidate(), Closed(CloseReason.TRANSPORT_CLOSE)]


def test_close_during_an_upgrade_closes_the_candidate_and_waits_for_a_poll() -> None:
    session = in_state(State.PROBED)
    assert list(session.close(1.0)) == [CloseCandidate()]
    assert session.state is State.CLOSING


def test_one_call_may_abandon_an_upgrade_and_send_a_ping() -> None:
    session = polling()
    session.candidate_attached(14.0)
    assert list(session.check_deadlines(25.0)) == [CloseCandidate(), Send("2")]
