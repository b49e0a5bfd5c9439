import pytest

from roomcast.wire.engineio_refusals import HTTP_ERROR_MESSAGES, HttpError, RequestRefused, UpgradeRefused
from roomcast.wire.errors import EncodeError, Fault, IllegalTransition, LocalError, RemoteError, WireError, quote


def test_errors_of_this_side_and_of_the_peer_have_different_types() -> None:
    assert issubclass(EncodeError, LocalError)
    assert issubclass(IllegalTransition, LocalError)
    assert issubclass(RequestRefused, RemoteError)
    assert issubclass(UpgradeRefused, RequestRefused)
    assert not issubclass(RemoteError, LocalError)
    assert issubclass(LocalError, WireError)
    assert issubclass(RemoteError, WireError)


def test_a_remote_error_carries_its_fault() -> None:
    error = RemoteError(Fault.BAD_JSON, "no JSON")
    assert (error.fault, error.detail) == (Fault.BAD_JSON, "no JSON")
    assert str(error) == "bad-json: no JSON"


def test_an_illegal_transition_names_state_and_trigger() -> None:
    error = IllegalTransition("OPEN", "PROBE")
    assert (error.state, error.trigger) == ("OPEN", "PROBE")
    assert str(error) == "PROBE is illegal in state OPEN"


@pytest.mark.parametrize(
    ("http_error", "number", "message", "status"),
    [
        (HttpError.UNKNOWN_TRANSPORT, 0, "Transport unknown", 400),
        (HttpError.UNKNOWN_SID, 1, "Session ID unknown", 400),
        (HttpError.BAD_HANDSHAKE_METHOD, 2, "Bad handshake method", 400),
        (HttpError.BAD_REQUEST, 3, "Bad request", 400),
        (HttpError.FORBIDDEN, 4, "Forbidden", 403),
        (HttpError.UNSUPPORTED_PROTOCOL_VERSION, 5, "Unsupported protocol version", 400),
    ],
)
def test_each_http_error_has_the_code_message_and_status_of_node(
    http_error: HttpError, number: int, message: str, status: int
) -> None:
    error = RequestRefused(http_error, "why")
    assert (int(http_error), error.message, error.status, error.effects) == (number, message, status, ())


def test_every_http_error_has_a_message() -> None:
    assert set(HTTP_ERROR_MESSAGES) == set(HttpError)


def test_a_refusal_may_have_a_message_of_its_own() -> None:
    assert RequestRefused(HttpError.FORBIDDEN, "origin").cause == "origin"
    assert RequestRefused(HttpError.UNKNOWN_SID, "sid 'abc'").cause == "unknown_sid"  # never what the peer sent
    assert RequestRefused(HttpError.FORBIDDEN, "origin", message="Origin not allowed").message == "Origin not allowed"


def test_a_quote_is_one_escaped_line_of_bounded_length() -> None:
    assert quote("a\r\n\x1b[31m\ud800") == r"'a\r\n\x1b[31m\ud800'"
    assert len(quote("\x00" * 1_000_000)) < 200
    assert quote(b"\xff" * 41).endswith("(41 in all)")
    assert quote(12) == "12"
