"""The 25 behaviours of the official Engine.IO suite, without I/O. The Socket.IO suite repeats most of them."""

import json
from typing import Any

import pytest

from unit.wire.loopback import Loopback, echo_server, open_packet, socketio_server

POLLING = "EIO=4&transport=polling"
WEBSOCKET = "EIO=4&transport=websocket"
PING_INTERVAL, PING_TIMEOUT = 0.3, 0.2


@pytest.fixture(params=[echo_server, socketio_server], ids=["engine.io", "socket.io"])
def server(request: pytest.FixtureRequest) -> Loopback:
    """Both servers: the Socket.IO suite repeats the tests that do not concern messages."""
    return request.param()


@pytest.fixture
def echo() -> Loopback:
    return echo_server()


def polling_session(server: Loopback) -> str:
    answer = server.get(POLLING)
    assert answer.status == 200
    sid: str = json.loads(open_packet(answer.text))["sid"]
    return f"{POLLING}&sid={sid}"


def websocket_of(session: str) -> str:
    return session.replace("polling", "websocket")


def assert_handshake(value: dict[str, Any], upgrades: list[str]) -> None:
    assert set(value) == {"sid", "upgrades", "pingInterval", "pingTimeout", "maxPayload"}
    assert isinstance(value["sid"], str)
    assert value["upgrades"] == upgrades
    assert (value["pingInterval"], value["pingTimeout"], value["maxPayload"]) == (300, 200, 1_000_000)


class TestHandshake:
    def test_polling_opens_a_session(self, server: Loopback) -> None:
        answer = server.get(POLLING)
        assert answer.status == 200
        assert_handshake(json.loads(open_packet(answer.text)), ["websocket"])

    @pytest.mark.parametrize("query", ["transport=polling", "EIO=abc&transport=polling"])
    def test_polling_fails_with_an_invalid_version(self, server: Loopback, query: str) -> None:
        answer = server.get(query)
        assert (answer.status, json.loads(answer.body)["code"]) == (400, 5)

    @pytest.mark.parametrize("query", ["EIO=4", "EIO=4&transport=abc"])
    def test_polling_fails_with_an_invalid_transport(self, server: Loopback, query: str) -> None:
        answer = server.get(query)
        assert (answer.status, json.loads(answer.body)["code"]) == (400, 0)

    @pytest.mark.parametrize("method", ["POST", "PUT"])
    def test_polling_fails_with_an_invalid_method(self, server: Loopback, method: str) -> None:
        answer = server.request(method, POLLING)
        assert (answer.status, json.loads(answer.body)["code"]) == (400, 2)

    def test_websocket_opens_a_session(self, server: Loopback) -> None:
        (packet,) = server.websocket(WEBSOCKET).take()
        assert_handshake(json.loads(open_packet(packet)), [])

    @pytest.mark.parametrize("query", ["transport=websocket", "EIO=abc&transport=websocket"])
    def test_websocket_fails_with_an_invalid_version(self, server: Loopback, query: str) -> None:
        assert server.websocket(query).closed

    @pytest.mark.parametrize("query", ["EIO=4", "EIO=4&transport=abc"])
    def test_websocket_fails_with_an_invalid_transport(self, server: Loopback, query: str) -> None:
        assert server.websocket(query).closed


class TestPollingMessages:
    @pytest.mark.parametrize("payload", ["4hello", "4test1\x1e4test2\x1e4test3", "4hello\x1ebAQIDBA=="])
    def test_a_payload_is_sent_and_received(self, echo: Loopback, payload: str) -> None:
        session = polling_session(echo)
        pushed = echo.post(session, payload)
        assert (pushed.status, pushed.text) == (200, "ok")
        polled = echo.get(session)
        assert (polled.status, polled.text) == (200, payload)

    def test_an_invalid_packet_closes_the_session(self, echo: Loopback) -> None:
        session = polling_session(echo)
        assert echo.post(session, "abc").status == 400
        assert echo.get(session).status == 400

    def test_a_second_poll_closes_the_session(self, echo: Loopback) -> None:
        session = polling_session(echo)
        first = echo.get(session)
        second = echo.get(f"{session}&t=burst")
        assert (first.status, first.text) == (200, "1")
        assert second.status == 400
        assert echo.get(session).status == 400

    def test_a_cancelled_poll_closes_the_session(self, echo: Loopback) -> None:
        session = polling_session(echo)
        echo.abort(echo.get(session))
        assert echo.get(session).status == 400


class TestWebsocketMessages:
    @pytest.mark.parametrize("data", ["4hello", b"\x01\x02\x03\x04"])
    def test_a_packet_is_sent_and_received(self, echo: Loopback, data: str | bytes) -> None:
        websocket = echo.websocket(WEBSOCKET)
        websocket.take()
        websocket.send(data)
        assert websocket.take() == [data]

    def test_an_invalid_packet_closes_the_session(self, echo: Loopback) -> None:
        websocket = echo.websocket(WEBSOCKET)
        websocket.send("abc")
        assert websocket.closed


class TestHeartbeat:
    def test_polling_sends_pings_and_takes_pongs(self, server: Loopback) -> None:
        session = polling_session(server)
        for _ in range(3):
            polled = server.get(session)
            assert polled.status == 0
            server.advance(PING_INTERVAL)
            assert (polled.status, polled.text) == (200, "2")
            assert server.post(session, "3").status == 200

    def test_polling_closes_upon_ping_timeout(self, server: Loopback) -> None:
        session = polling_session(server)
        server.advance(PING_INTERVAL + PING_TIMEOUT)
        assert server.get(session).status == 400

    def test_websocket_sends_pings_and_takes_pongs(self, echo: Loopback) -> None:
        websocket = echo.websocket(WEBSOCKET)
        websocket.take()
        for _ in range(3):
            expected = echo.now + PING_INTERVAL
            echo.advance(PING_INTERVAL)
            assert echo.now == expected
            assert websocket.take() == ["2"]
            websocket.send("3")
        assert not websocket.closed

    def test_websocket_closes_upon_ping_timeout(self, server: Loopback) -> None:
        websocket = server.websocket(WEBSOCKET)
        server.advance(PING_INTERVAL + PING_TIMEOUT)
        assert websocket.closed


class TestClose:
    def test_polling_is_closed_by_the_client(self, server: Loopback) -> None:
        session = polling_session(server)
        polled = server.get(session)
        assert server.post(session, "1").status == 200
        assert (polled.status, polled.text) == (200, "6")
        assert server.get(session).status == 400

    def test_websocket_is_closed_by_the_client(self, server: Loopback) -> None:
        websocket = server.websocket(WEBSOCKET)
        websocket.send("1")
        assert websocket.closed


class TestUpgrade:
    def test_polling_upgrades_to_websocket(self, echo: Loopback) -> None:
        session = polling_session(echo)
        websocket = echo.websocket(websocket_of(session))
        websocket.send("2probe")
        assert websocket.take() == ["3probe"]
        polled = echo.get(session)
        echo.advance(0.05)
        assert (polled.status, polled.text) == (200, "6")
        websocket.send("5")
        websocket.send("4hello")
        assert websocket.take() == ["4hello"]

    def test_a_poll_that_was_pending_is_released(self, echo: Loopback) -> None:
        session = polling_session(echo)
        polled = echo.get(session)
        websocket = echo.websocket(websocket_of(session))
        assert polled.status == 0
        websocket.send("2probe")
        assert polled.status == 0
        echo.advance(0.05)
        assert (polled.status, polled.text) == (200, "6")

    def test_a_poll_that_overtakes_the_upgrade_packet_is_refused(self, echo: Loopback) -> None:
        session = polling_session(echo)
        websocket = echo.websocket(websocket_of(session))
        websocket.send("2probe")
        polled = echo.get(session)
        websocket.send("5")
        assert polled.status == 400
        websocket.send("4hello")
        assert websocket.take() == ["3probe", "4hello"]

    def test_requests_on_the_sid_are_refused_after_the_upgrade(self, server: Loopback) -> None:
        session = polling_session(server)
        websocket = server.websocket(websocket_of(session))
        websocket.send("2probe")
        websocket.send("5")
        polled = server.get(session)
        assert (polled.status, json.loads(polled.body)["code"]) == (400, 3)
        assert not websocket.closed

    def test_a_further_websocket_on_the_sid_is_refused_after_the_upgrade(self, echo: Loopback) -> None:
        session = polling_session(echo)
        websocket = echo.websocket(websocket_of(session))
        websocket.send("2probe")
        websocket.send("5")
        assert echo.websocket(websocket_of(session)).closed
        websocket.take()
        websocket.send("4hello")
        assert websocket.take() == ["4hello"]

    def test_a_further_websocket_is_refused_while_one_is_probing(self, echo: Loopback) -> None:
        session = polling_session(echo)
        first = echo.websocket(websocket_of(session))
        assert echo.websocket(websocket_of(session)).closed
        first.send("2probe")
        first.send("5")
        assert not first.closed

    def test_queued_packets_are_sent_over_the_new_transport_in_order(self, echo: Loopback) -> None:
        session = polling_session(echo)
        echo.post(session, "4one\x1e4two")
        websocket = echo.websocket(websocket_of(session))
        websocket.send("2probe")
        echo.post(session, "4three")
        websocket.send("5")
        assert websocket.take() == ["3probe", "4one", "4two", "4three"]

    def test_a_websocket_for_an_unknown_session_is_refused(self, server: Loopback) -> None:
        assert server.websocket(f"{WEBSOCKET}&sid=unknown").closed
