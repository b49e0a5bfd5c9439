"""The behaviours of the official Socket.IO suite, without I/O; those of Engine.IO are in test_behaviours_engineio."""

import json

import pytest

from unit.wire.loopback import Loopback, WebSocket, socketio_server

WEBSOCKET = "EIO=4&transport=websocket"
PING_INTERVAL = 0.3


@pytest.fixture
def server() -> Loopback:
    return socketio_server()


@pytest.fixture
def engine(server: Loopback) -> WebSocket:
    """A websocket after the Engine.IO handshake."""
    websocket = server.websocket(WEBSOCKET)
    websocket.take()
    return websocket


@pytest.fixture
def socket(engine: WebSocket) -> WebSocket:
    """A websocket that is connected to the main namespace."""
    engine.send("40")
    assert len(engine.take()) == 2
    return engine


class TestConnect:
    @pytest.mark.parametrize(
        ("request_packet", "reply", "auth"),
        [
            ("40", "40", '42["auth",{}]'),
            ('40{"token":"123"}', "40", '42["auth",{"token":"123"}]'),
            ("40/custom,", "40/custom,", '42/custom,["auth",{}]'),
            ("40/custom", "40/custom,", '42/custom,["auth",{}]'),
            ('40/custom,{"token":"abc"}', "40/custom,", '42/custom,["auth",{"token":"abc"}]'),
        ],
    )
    def test_a_namespace_accepts_the_client(
        self, engine: WebSocket, request_packet: str, reply: str, auth: str
    ) -> None:
        engine.send(request_packet)
        connected, event = engine.take()
        assert isinstance(connected, str)
        assert connected.startswith(f"{reply}{{")
        data = json.loads(connected.removeprefix(reply))
        assert list(data) == ["sid"]
        assert isinstance(data["sid"], str)
        assert event == auth

    def test_the_socket_id_is_not_the_session_id(self, server: Loopback) -> None:
        websocket = server.websocket(WEBSOCKET)
        websocket.send("40")
        opened, connected, _ = websocket.take()
        assert isinstance(opened, str)
        assert isinstance(connected, str)
        assert json.loads(opened[1:])["sid"] != json.loads(connected[2:])["sid"]

    def test_an_unknown_namespace_is_refused(self, engine: WebSocket) -> None:
        engine.send("40/random")
        assert engine.take() == ['44/random,{"message":"Invalid namespace"}']
        assert not engine.closed

    def test_an_invalid_connect_packet_closes_the_connection(self, engine: WebSocket) -> None:
        engine.send("4abc")
        assert engine.closed


class TestDisconnect:
    def test_leaving_the_main_namespace_keeps_the_connection_open(self, server: Loopback, socket: WebSocket) -> None:
        socket.send("41")
        assert socket.take() == []
        server.advance(PING_INTERVAL)
        assert socket.take() == ["2"]

    def test_leaving_a_custom_namespace_keeps_the_main_namespace_connected(self, socket: WebSocket) -> None:
        socket.send("40/custom")
        assert len(socket.take()) == 2
        socket.send("41/custom")
        socket.send('42["message","message to main namespace"]')
        assert socket.take() == ['42["message-back","message to main namespace"]']

    def test_an_event_after_leaving_the_namespace_closes_the_connection(self, socket: WebSocket) -> None:
        socket.send("41")
        socket.send('42["message"]')
        assert socket.closed


class TestMessage:
    def test_a_text_event_is_sent_and_received(self, socket: WebSocket) -> None:
        socket.send('42["message",1,"2",{"3":[true]}]')
        assert socket.take() == ['42["message-back",1,"2",{"3":[true]}]']

    def test_a_binary_event_is_sent_and_received(self, socket: WebSocket) -> None:
        socket.send('452-["message",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]')
        socket.send(b"\x01\x02\x03")
        socket.send(b"\x04\x05\x06")
        assert socket.take() == [
            '452-["message-back",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]',
            b"\x01\x02\x03",
            b"\x04\x05\x06",
        ]

    def test_a_text_event_is_acknowledged(self, socket: WebSocket) -> None:
        socket.send('42456["message-with-ack",1,"2",{"3":[false]}]')
        assert socket.take() == ['43456[1,"2",{"3":[false]}]']

    def test_a_binary_event_is_acknowledged(self, socket: WebSocket) -> None:
        socket.send('452-789["message-with-ack",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]')
        socket.send(b"\x01\x02\x03")
        socket.send(b"\x04\x05\x06")
        assert socket.take() == [
            '462-789[{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]',
            b"\x01\x02\x03",
            b"\x04\x05\x06",
        ]

    @pytest.mark.parametrize("packet", ["4abc", "42{}", '42abc["message-with-ack",1,"2",{"3":[false]}]'])
    def test_an_invalid_packet_closes_the_connection(self, socket: WebSocket, packet: str) -> None:
        socket.send(packet)
        assert socket.closed


class TestSampleSession:
    def test_the_sample_session_of_the_protocol_documentation(self, server: Loopback) -> None:
        opened = server.get("EIO=4&transport=polling&t=N8hyd6w")
        sid = json.loads(opened.text[1:])["sid"]
        session = f"EIO=4&transport=polling&t=N8hyd7H&sid={sid}"
        assert server.post(session, "40").text == "ok"
        connected, auth = server.get(session).packets
        assert connected.startswith('40{"sid":')
        assert auth == '42["auth",{}]'
        assert server.post(session, '42["message","a"]\x1e42["message","b"]').text == "ok"
        assert server.get(session).packets == ['42["message-back","a"]', '42["message-back","b"]']
        websocket = server.websocket(session.replace("polling", "websocket"))
        websocket.send("2probe")
        websocket.send("5")
        websocket.send("40/custom,")
        probe, custom, _ = websocket.take()
        assert probe == "3probe"
        assert isinstance(custom, str)
        assert custom.startswith('40/custom,{"sid":')
        websocket.send("1")
        assert websocket.closed
        assert server.links == {}
