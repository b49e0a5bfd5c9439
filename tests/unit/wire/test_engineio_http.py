import json

import pytest

from roomcast.wire.engineio_http import EngineQuery, TransportName, check_request, error_body, parse_query
from roomcast.wire.engineio_refusals import HttpError, RequestRefused
from roomcast.wire.limits import Limits

POLLING = TransportName.POLLING
WEBSOCKET = TransportName.WEBSOCKET


def refused(
    method: str,
    query: str,
    *,
    websocket: bool = False,
    session: TransportName | None = None,
    transports: tuple[TransportName, ...] = (POLLING, WEBSOCKET),
) -> HttpError:
    with pytest.raises(RequestRefused) as caught:
        check_request(method, parse_query(query), websocket=websocket, session_transport=session, transports=transports)
    return caught.value.http_error


def test_a_query_is_parsed() -> None:
    query = parse_query(b"EIO=4&transport=polling&sid=%C3%A9%20c&t=N8hyd6&empty=")
    assert query == EngineQuery("4", "polling", "é c")


def test_an_empty_query_has_empty_fields() -> None:
    assert parse_query("") == EngineQuery("", "", "")


def test_a_repeated_field_has_its_last_value() -> None:
    assert parse_query("sid=a&sid=b").sid == "b"


def test_invalid_utf8_is_replaced() -> None:
    assert parse_query("sid=%FF").sid == "\ufffd"
    assert parse_query(b"sid=\xff").sid == "ÿ"


def test_the_number_of_fields_is_limited() -> None:
    limits = Limits(max_query_fields=3)
    assert parse_query("a=1&b=2&sid=3", limits).sid == "3"
    with pytest.raises(RequestRefused):
        parse_query("a=1&b=2&c=3&d=4", limits)


@pytest.mark.parametrize(
    ("method", "query", "websocket", "session", "expected"),
    [
        ("GET", "EIO=4&transport=polling", False, None, POLLING),
        ("GET", "EIO=4&transport=polling&sid=", False, None, POLLING),
        ("GET", "EIO=4&transport=websocket", True, None, WEBSOCKET),
        ("GET", "EIO=4&transport=polling&sid=a", False, POLLING, POLLING),
        ("POST", "EIO=4&transport=polling&sid=a", False, POLLING, POLLING),
        ("GET", "EIO=4&transport=websocket&sid=a", True, POLLING, WEBSOCKET),
        ("GET", "EIO=4&transport=websocket&sid=a", True, WEBSOCKET, WEBSOCKET),
    ],
)
def test_a_valid_request_is_accepted(
    method: str, query: str, websocket: bool, session: TransportName | None, expected: TransportName
) -> None:
    assert check_request(method, parse_query(query), websocket=websocket, session_transport=session) is expected


@pytest.mark.parametrize("query", ["EIO=4", "EIO=4&transport=abc", "EIO=4&transport=webtransport", "EIO=4&transport="])
@pytest.mark.parametrize("websocket", [False, True])
def test_an_unknown_transport_is_refused(query: str, websocket: bool) -> None:
    assert refused("GET", query, websocket=websocket) is HttpError.UNKNOWN_TRANSPORT


def test_a_transport_that_is_not_offered_is_unknown() -> None:
    assert refused("GET", "EIO=4&transport=polling", transports=(WEBSOCKET,)) is HttpError.UNKNOWN_TRANSPORT


@pytest.mark.parametrize("query", ["transport=polling", "EIO=abc&transport=polling", "EIO=3&transport=polling"])
def test_another_protocol_version_is_refused(query: str) -> None:
    assert refused("GET", query) is HttpError.UNSUPPORTED_PROTOCOL_VERSION


def test_the_version_is_required_in_every_request() -> None:
    assert refused("GET", "transport=polling&sid=a", session=POLLING) is HttpError.UNSUPPORTED_PROTOCOL_VERSION


def test_an_unknown_session_is_refused() -> None:
    assert refused("GET", "EIO=4&transport=polling&sid=gone") is HttpError.UNKNOWN_SID
    assert refused("GET", "EIO=4&transport=websocket&sid=gone", websocket=True) is HttpError.UNKNOWN_SID


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "HEAD"])
def test_only_get_starts_a_handshake(method: str) -> None:
    assert refused(method, "EIO=4&transport=polling") is HttpError.BAD_HANDSHAKE_METHOD


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH"])
def test_a_session_accepts_only_get_and_post(method: str) -> None:
    assert refused(method, "EIO=4&transport=polling&sid=a", session=POLLING) is HttpError.BAD_HANDSHAKE_METHOD


def test_a_poll_of_an_upgraded_session_is_refused() -> None:
    assert refused("GET", "EIO=4&transport=polling&sid=a", session=WEBSOCKET) is HttpError.BAD_REQUEST


def test_request_and_transport_must_match() -> None:
    assert refused("GET", "EIO=4&transport=websocket") is HttpError.BAD_REQUEST
    assert refused("GET", "EIO=4&transport=polling", websocket=True) is HttpError.BAD_REQUEST


def test_of_two_faults_the_one_that_node_checks_first_is_reported() -> None:
    assert refused("POST", "EIO=3&transport=abc&sid=gone") is HttpError.UNKNOWN_TRANSPORT
    assert refused("PUT", "EIO=3&transport=polling&sid=gone") is HttpError.UNKNOWN_SID
    assert refused("POST", "EIO=3&transport=polling") is HttpError.BAD_HANDSHAKE_METHOD


def test_the_error_body_is_that_of_node() -> None:
    assert error_body(RequestRefused(HttpError.UNKNOWN_SID, "x")) == b'{"code":1,"message":"Session ID unknown"}'
    body = json.loads(error_body(RequestRefused(HttpError.FORBIDDEN, "x", message='no "way"')))
    assert body == {"code": 4, "message": 'no "way"'}
