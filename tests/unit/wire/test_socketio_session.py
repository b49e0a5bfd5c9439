from itertools import product

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from roomcast.wire.errors import EncodeError, Fault, IllegalTransition, LocalError, RemoteError
from roomcast.wire.limits import Limits
from roomcast.wire.socketio_session import (
    TRANSITIONS,
    AckReceived,
    ConnectRequested,
    Disconnected,
    EventReceived,
    NamespaceState,
    NamespaceTrigger,
    SocketEvent,
    SocketSession,
)


def new(**limits: int) -> SocketSession:
    return SocketSession(Limits(**limits))


def in_state(state: NamespaceState, namespace: str = "/") -> SocketSession:
    """A session whose namespace was brought to a state by packets and calls; ``/other`` is connected too."""
    session = new()
    session.receive("0/other,")
    session.accept("/other", "other-sid")
    name = "" if namespace == "/" else f"{namespace},"
    if state is not NamespaceState.ABSENT:
        session.receive(f"0{name}")
    if state in {NamespaceState.CONNECTED, NamespaceState.LEFT}:
        session.accept(namespace, "sid")
    if state is NamespaceState.LEFT:
        session.disconnect(namespace)
    assert session.state_of(namespace) is state
    return session


def fault_of(session: SocketSession, message: str | bytes) -> Fault:
    with pytest.raises(RemoteError) as caught:
        session.receive(message)
    return caught.value.fault


# -- state machine ----------------------------------------------------------------------------------------------------

FROM_CLIENT = {NamespaceTrigger.CONNECT: "0", NamespaceTrigger.CLIENT_DISCONNECT: "1"}
FROM_SERVER = {
    NamespaceTrigger.ACCEPT: lambda session: session.accept("/", "sid"),
    NamespaceTrigger.REFUSE: lambda session: session.refuse("/", "no"),
    NamespaceTrigger.SERVER_DISCONNECT: lambda session: session.disconnect("/"),
}


@pytest.mark.parametrize(("state", "trigger"), list(product(NamespaceState, NamespaceTrigger)))
def test_only_listed_transitions_are_legal(state: NamespaceState, trigger: NamespaceTrigger) -> None:
    session = in_state(state)
    legal = (state, trigger) in TRANSITIONS
    if trigger in FROM_CLIENT:
        if legal:
            session.receive(FROM_CLIENT[trigger])
        else:
            assert fault_of(session, FROM_CLIENT[trigger]) is Fault.UNEXPECTED_PACKET
    elif legal:
        FROM_SERVER[trigger](session)
    else:
        with pytest.raises(IllegalTransition):
            FROM_SERVER[trigger](session)
    assert session.state_of("/") is (TRANSITIONS[state, trigger] if legal else state)
    assert session.state_of("/other") is NamespaceState.CONNECTED


@pytest.mark.parametrize("state", [NamespaceState.ABSENT, NamespaceState.CONNECTING])
@pytest.mark.parametrize(
    "packet", ['2["x"]', '21["x"]', "31[]", '51-["x",{"_placeholder":true,"num":0}]', "61-1[]", "1"]
)
def test_a_packet_for_a_namespace_that_is_not_connected_ends_the_connection(state: NamespaceState, packet: str) -> None:
    assert fault_of(in_state(state), packet) is Fault.UNEXPECTED_PACKET


@pytest.mark.parametrize("state", NamespaceState)
def test_a_connect_error_from_the_client_ends_the_connection(state: NamespaceState) -> None:
    assert fault_of(in_state(state), '4{"message":"x"}') is Fault.UNEXPECTED_PACKET


@pytest.mark.parametrize("packet", ['2["x"]', '21["x"]', "31[]"])
def test_packets_in_flight_to_a_namespace_that_the_server_disconnected_are_dropped(packet: str) -> None:
    session = in_state(NamespaceState.LEFT)
    assert session.receive(packet) is None
    assert session.state_of("/") is NamespaceState.LEFT


def test_a_binary_packet_in_flight_to_a_disconnected_namespace_is_dropped_with_its_attachments() -> None:
    session = in_state(NamespaceState.LEFT)
    assert session.receive('51-["x",{"_placeholder":true,"num":0}]') is None
    assert session.receive(b"attachment") is None
    assert session.receive('2/other,["y"]') == EventReceived("/other", "y", [], None)


def test_attachments_are_held_for_events_with_a_handler_and_for_expected_acks_only() -> None:
    session = SocketSession(handles=lambda name, namespace: (name, namespace) == ("7", "/"))
    session.receive("0")
    session.accept("/", "sid")
    ack_id = session.expect_ack("/", "context")
    args = '{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}'
    for header, held in [(f"52-[7,{args}]", True), (f'52-["x",{args}]', False), (f"62-99[{args}]", False)]:
        assert session.receive(header) is None
        assert session.receive(b"x" * 1000) is None
        assert (session.held_bytes > 1000) is held
        assert (session.receive(b"y") is not None) is held
    session.receive(f"62-{ack_id}[{args}]")
    assert session.held_bytes > 0
    session.close()
    assert session.held_bytes == 0


def test_a_namespace_that_ends_between_header_and_attachment_receives_no_event() -> None:
    session = in_state(NamespaceState.CONNECTED)
    session.receive('51-["x",{"_placeholder":true,"num":0}]')
    session.disconnect("/")
    assert session.receive(b"attachment") is None


# -- connecting -------------------------------------------------------------------------------------------------------


def test_a_connection_to_the_main_namespace() -> None:
    session = new()
    assert session.receive("0") == ConnectRequested("/", {})
    assert session.state_of("/") is NamespaceState.CONNECTING
    assert session.connected() == []
    assert session.accept("/", "wZX3oN0bSVIhsaknAAAI") == '40{"sid":"wZX3oN0bSVIhsaknAAAI"}'
    assert session.connected() == ["/"]


def test_auth_is_passed_on() -> None:
    assert new().receive('0/admin,{"token":"123"}') == ConnectRequested("/admin", {"token": "123"})


def test_a_refusal_has_a_message_and_keeps_the_connection() -> None:
    session = new()
    session.receive("0/random")
    assert session.refuse("/random", "Invalid namespace") == '44/random,{"message":"Invalid namespace"}'
    assert session.receive("0/random") == ConnectRequested("/random", {})
    assert session.refuse("/random", "no", {"code": 7}) == '44/random,{"message":"no","data":{"code":7}}'


def test_a_refusal_that_cannot_be_encoded_changes_nothing() -> None:
    session = new()
    session.receive("0")
    with pytest.raises(EncodeError):
        session.refuse("/", "no", object())
    assert session.state_of("/") is NamespaceState.CONNECTING


def test_the_number_of_namespaces_is_limited() -> None:
    session = new(max_namespaces=2)
    session.receive("0/a")
    session.receive("0/b")
    assert fault_of(session, "0/c") is Fault.TOO_MANY_NAMESPACES
    session.refuse("/a", "no")
    assert session.receive("0/c") == ConnectRequested("/c", {})


def test_a_namespace_that_the_server_disconnected_can_reconnect_at_the_limit() -> None:
    session = new(max_namespaces=1)
    session.receive("0/a")
    session.accept("/a", "sid")
    session.disconnect("/a")
    assert session.receive("0/a") == ConnectRequested("/a", {})


@pytest.mark.parametrize("namespace", ["/" + "a" * 256, "/a\nb", "/\x1b[31m", "/\x1e", "/\ud800", "/\u2028"])
def test_a_namespace_name_that_is_not_printable_or_too_long_is_rejected(namespace: str) -> None:
    assert fault_of(new(), f"0{namespace},") is Fault.BAD_NAMESPACE


def test_a_namespace_name_of_exactly_the_maximum_length_is_accepted() -> None:
    name = "/" + "a" * 255
    assert new().receive(f"0{name}") == ConnectRequested(name, {})


def test_refused_connects_leave_no_state() -> None:
    session = new()
    for number in range(1000):
        session.receive(f"0/{number}")
        session.refuse(f"/{number}", "no")
    assert session._states == {}


# -- events and acks --------------------------------------------------------------------------------------------------


def test_events_have_their_arguments_and_ack_id() -> None:
    session = in_state(NamespaceState.CONNECTED)
    assert session.receive('2["message",1,"2",{"3":[true]}]') == EventReceived(
        "/", "message", [1, "2", {"3": [True]}], None
    )
    assert session.receive('2456["x"]') == EventReceived("/", "x", [], 456)
    assert session.receive('2/other,7["x"]') == EventReceived("/other", "x", [], 7)


def test_a_binary_event_is_returned_when_it_is_complete() -> None:
    session = in_state(NamespaceState.CONNECTED)
    assert session.receive('51-3["x",{"_placeholder":true,"num":0}]') is None
    assert session.receive(b"data") == EventReceived("/", "x", [b"data"], 3)


@pytest.mark.parametrize(
    ("literal", "name"), [("1", "1"), ("-1", "-1"), ("1.0", "1"), ("1.5", "1.5"), ("1e3", "1000"), ("1e21", "1e+21")]
)
def test_a_number_as_event_name_is_converted_as_in_javascript(literal: str, name: str) -> None:
    assert in_state(NamespaceState.CONNECTED).receive(f"2[{literal}]") == EventReceived("/", name, [], None)


def test_an_ack_returns_its_context_once() -> None:
    session = in_state(NamespaceState.CONNECTED)
    assert session.expect_ack("/", "first") == 0
    assert session.expect_ack("/", "second") == 1
    assert session.receive('31["yes"]') == AckReceived("/", "second", ["yes"])
    assert session.receive('31["again"]') is None
    assert session.receive("30[]") == AckReceived("/", "first", [])


def test_an_ack_from_another_namespace_is_ignored() -> None:
    session = in_state(NamespaceState.CONNECTED)
    ack_id = session.expect_ack("/", "mine")
    assert session.receive(f"3/other,{ack_id}[]") is None
    assert session.receive(f"3{ack_id}[]") == AckReceived("/", "mine", [])


def test_a_binary_ack_is_returned_when_it_is_complete() -> None:
    session = in_state(NamespaceState.CONNECTED)
    ack_id = session.expect_ack("/", "mine")
    assert session.receive(f'61-{ack_id}[{{"_placeholder":true,"num":0}}]') is None
    assert session.receive(b"data") == AckReceived("/", "mine", [b"data"])


def test_an_ack_with_an_unknown_id_is_ignored() -> None:
    session = in_state(NamespaceState.CONNECTED)
    assert session.receive("39007199254740991[]") is None
    ack_id = session.expect_ack("/", "timed out")
    session.forget_ack("/", ack_id)
    session.forget_ack("/", ack_id)
    assert session.receive(f"3{ack_id}[]") is None


def test_a_context_may_be_none() -> None:
    session = in_state(NamespaceState.CONNECTED)
    ack_id = session.expect_ack("/", None)
    assert session.receive(f"3{ack_id}[1]") == AckReceived("/", None, [1])


def test_the_number_of_pending_acks_is_limited() -> None:
    session = SocketSession(Limits(max_pending_acks=2))
    session.receive("0")
    session.accept("/", "sid")
    session.expect_ack("/", 1)
    ack_id = session.expect_ack("/", 2)
    with pytest.raises(LocalError):
        session.expect_ack("/", 3)
    session.forget_ack("/", ack_id)
    session.expect_ack("/", 3)


@pytest.mark.parametrize(
    "state",
    sorted(set(NamespaceState) - {NamespaceState.CONNECTED, NamespaceState.CONNECTING}, key=lambda state: state.value),
)
def test_an_ack_can_be_requested_only_in_a_connected_or_connecting_namespace(state: NamespaceState) -> None:
    with pytest.raises(IllegalTransition):
        in_state(state).expect_ack("/", "x")


# -- disconnect and close ---------------------------------------------------------------------------------------------


def test_a_client_that_disconnects_from_one_namespace_stays_in_the_other() -> None:
    session = in_state(NamespaceState.CONNECTED)
    session.expect_ack("/", "lost")
    session.expect_ack("/other", "kept")
    assert session.receive("1") == Disconnected("/", ["lost"])
    assert session.connected() == ["/other"]
    assert session.receive('2/other,["x"]') == EventReceived("/other", "x", [], None)


def test_the_server_can_disconnect_the_client() -> None:
    session = in_state(NamespaceState.CONNECTED)
    session.expect_ack("/", "lost")
    assert session.disconnect("/") == ("41", Disconnected("/", ["lost"]))
    assert session.disconnect("/other") == ("41/other,", Disconnected("/other", []))


def test_a_simultaneous_disconnect_is_reported_once() -> None:
    session = in_state(NamespaceState.LEFT)
    assert session.receive("1") is None
    assert session.state_of("/") is NamespaceState.ABSENT


def test_a_namespace_can_be_connected_again() -> None:
    session = in_state(NamespaceState.CONNECTED)
    session.receive("1")
    assert session.receive("0") == ConnectRequested("/", {})
    session.accept("/", "second")
    assert session.connected() == ["/other", "/"]


def test_close_returns_the_connected_namespaces() -> None:
    session = in_state(NamespaceState.CONNECTED)
    session.receive("0/pending")
    session.expect_ack("/", "lost")
    session.receive('51-["x",{"_placeholder":true,"num":0}]')
    assert session.close() == [Disconnected("/other", []), Disconnected("/", ["lost"])]
    assert session.connected() == []


def test_input_after_close_is_ignored() -> None:
    session = in_state(NamespaceState.CONNECTED)
    session.close()
    assert session.receive('2["x"]') is None
    assert session.receive("junk") is None
    assert session.receive(b"junk") is None
    assert session.close() == []
    with pytest.raises(IllegalTransition):
        session.accept("/pending", "too late")


def test_pending_acks_belong_to_one_session() -> None:
    first, second = in_state(NamespaceState.CONNECTED), in_state(NamespaceState.CONNECTED)
    ack_id = first.expect_ack("/", "context")
    assert second.receive(f"3{ack_id}[]") is None
    second.forget_ack("/", ack_id)
    assert first.receive(f"3{ack_id}[]") == AckReceived("/", "context", [])


# -- the fast path ----------------------------------------------------------------------------------------------------


def outcome(session: SocketSession, message: str) -> SocketEvent | Fault | None:
    try:
        return session.receive(message)
    except RemoteError as error:
        return error.fault


@given(
    st.text('[]0123456789,"a٣²{}- .eN', max_size=30) | st.builds("{}{}".format, st.integers(0), st.just('["a",1]')),
    st.sampled_from(NamespaceState),
    st.booleans(),
)
@example('٣["a"]', NamespaceState.CONNECTED, False)
@example('²["a"]', NamespaceState.CONNECTED, False)
@example("0" * 17 + '["a"]', NamespaceState.CONNECTED, False)
@example("0" * 18 + '["a"]', NamespaceState.CONNECTED, False)
@example('7["connect"]', NamespaceState.CONNECTED, False)
@example("[1e400]", NamespaceState.CONNECTED, False)
def test_an_event_has_the_same_meaning_with_and_without_the_name_of_the_main_namespace(
    rest: str, state: NamespaceState, incomplete: bool
) -> None:
    found = []
    for packet in ("2", "2/,"):  # the second one is never on the fast path
        session = in_state(state)
        if incomplete:
            session.receive('51-/other,["file",{"_placeholder":true,"num":0}]')
        found.append(outcome(session, packet + rest))
    assert found[0] == found[1]
