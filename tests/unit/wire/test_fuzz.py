"""Arbitrary input of a peer raises no error but ``RemoteError``."""

import math
from collections.abc import Callable, Sequence
from contextlib import suppress

from hypothesis import example, given, settings
from hypothesis import strategies as st

from roomcast.wire.engineio import decode_payload
from roomcast.wire.engineio_effects import Closed, Effect
from roomcast.wire.engineio_http import TransportName, parse_query
from roomcast.wire.engineio_refusals import RequestRefused
from roomcast.wire.engineio_session import EngineSession, State
from roomcast.wire.errors import RemoteError
from roomcast.wire.socketio import Decoder
from roomcast.wire.socketio_session import NamespaceState, SocketSession

# Enough examples to detect a regression in a few seconds.
FUZZ = settings(max_examples=400, deadline=None)

# Parts of packets, so that random input is often almost valid.
PIECES = st.sampled_from(
    [
        *"0123456",
        "-",
        "/",
        ",",
        "/admin,",
        "[",
        "]",
        "{",
        "}",
        '"',
        "\\",
        "\x1e",
        "b",
        "=",
        "2probe",
        "\ud800",
        "\xe9",
        '["x"]',
        '["x",{"_placeholder":true,"num":0}]',
        '{"_placeholder":true,"num":1}',
        '["connect"]',
        "1-",
        "10-",
        "99",
        "null",
        "true",
        "NaN",
        "1e400",
        '{"token":"t"}',
        "999999999999999999999",
        "40",
        "42",
        "451-",
        "41",
    ]
)
TEXTS = st.text(max_size=40) | st.lists(PIECES, max_size=8).map("".join)

VALID = st.sampled_from(
    [
        "0",
        "1",
        '2["x"]',
        '21["x",{"a":[1,2.5,null]}]',
        '52-["x",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]',
        "0/admin,{}",
        '2/admin,["y"]',
        "31[]",
        '4{"message":"x"}',
        '61-1[{"_placeholder":true,"num":0}]',
    ]
)


@st.composite
def mutated(draw: st.DrawFn) -> str:
    text = draw(VALID)
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(text)))
        text = text[:at] + draw(PIECES | st.text(max_size=2)) + text[at + draw(st.integers(0, 2)) :]
    return text


@FUZZ
@given(st.lists(mutated() | TEXTS | st.binary(max_size=20), max_size=12))
def test_a_decoder_only_ever_raises_remote_errors(messages: list[str | bytes]) -> None:
    decoder = Decoder()
    for message in messages:
        with suppress(RemoteError):
            decoder.add(message)


@FUZZ
@given(st.lists(mutated() | TEXTS | st.binary(max_size=20), max_size=12))
def test_a_socket_session_only_ever_raises_remote_errors(messages: list[str | bytes]) -> None:
    session = SocketSession()
    session.receive("0")
    session.accept("/", "sid")
    try:
        for message in messages:
            session.receive(message)
            if session.state_of("/admin") is NamespaceState.CONNECTING:
                session.accept("/admin", "sid")
    except RemoteError:
        session.close()


@FUZZ
@given(st.binary(max_size=200) | TEXTS.map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_a_payload_only_ever_raises_remote_errors(body: bytes) -> None:
    with suppress(RemoteError):
        list(decode_payload(body))


@FUZZ
@given(st.text(max_size=100) | st.binary(max_size=100))
def test_a_query_only_ever_raises_remote_errors(query: str | bytes) -> None:
    with suppress(RemoteError):
        parse_query(query)


# The calls that a session accepts, in any order. Each takes the session, data and the time.
ACTIONS: dict[str, Callable[[EngineSession, str | bytes, float], Sequence[Effect] | None]] = {
    "receive": lambda session, data, now: session.receive(data, now),
    "receive_candidate": lambda session, data, now: session.receive_candidate(data, now),
    "candidate_attached": lambda session, data, now: session.candidate_attached(now),
    "candidate_lost": lambda session, data, now: session.candidate_lost(),
    "poll_started": lambda session, data, now: session.poll_started(now),
    "poll_answered": lambda session, data, now: session.poll_answered(),
    "poll_aborted": lambda session, data, now: session.poll_aborted(),
    "post_started": lambda session, data, now: session.post_started(now),
    "post_received": lambda session, data, now: [
        effect for effects in session.post_received(as_body(data), now) for effect in effects
    ],
    "post_aborted": lambda session, data, now: session.post_aborted(),
    "post_dropped": lambda session, data, now: session.post_dropped(),
    "check_deadlines": lambda session, data, now: session.check_deadlines(now),
    "close": lambda session, data, now: session.close(now),
    "transport_closed": lambda session, data, now: session.transport_closed(),
    "transport_failed": lambda session, data, now: session.transport_failed(),
}
STEPS = st.lists(
    st.tuples(st.sampled_from(sorted(ACTIONS)), TEXTS | st.binary(max_size=20), st.floats(0, 60)), max_size=25
)


def as_body(data: str | bytes) -> bytes:
    return data if isinstance(data, bytes) else data.encode("utf-8", "surrogatepass")


@FUZZ
@given(st.sampled_from(TransportName), STEPS)
@example(TransportName.POLLING, [("post_started", "", 0.0), ("post_received", "1\x1e", 0.0)])
def test_random_calls_end_a_session_at_most_once_and_only_raise_remote_errors(
    transport: TransportName, steps: list[tuple[str, str | bytes, float]]
) -> None:
    session = EngineSession("sid", transport)
    session.open(0.0)
    now = 0.0
    ended = 0
    for action, data, delay in steps:
        now += delay
        was_closed = session.state is State.CLOSED
        try:
            effects = ACTIONS[action](session, data, now) or ()
        except RequestRefused as refused:
            effects = refused.effects
        assert not (was_closed and effects)
        ended += sum(isinstance(effect, Closed) for effect in effects)
        assert ended == (session.state is State.CLOSED)
        assert (session.next_deadline() == math.inf) == (session.state is State.CLOSED)
