from __future__ import annotations

import logging
from types import SimpleNamespace

import pytest

from roomcast.observability.connections import ConnectionLog
from roomcast.realtime import Reason
from roomcast.realtime.requests.handshake import Handshake, Headers
from roomcast.wire.engineio_http import TransportName


def socket() -> SimpleNamespace:
    handshake = Handshake(
        headers=Headers([(b"user-agent", b"Firefox")]),
        address="192.0.2.1",
        query_string="EIO=4",
        time=0.0,
        transport=TransportName.WEBSOCKET,
        path="/socket.io/",
    )
    return SimpleNamespace(sid="s1", namespace="/", handshake=handshake)


def test_a_connection_is_logged_as_the_guide_logs_it(caplog) -> None:
    with caplog.at_level(logging.INFO):
        ConnectionLog().socket_connected(socket())
    (record,) = caplog.records
    assert record.message == "New connection"
    assert (record.socket_id, record.user_agent, record.ip) == ("s1", "Firefox", "192.0.2.1")
    assert record.transport == "websocket"


def test_the_user_of_an_authenticated_socket_is_logged(caplog) -> None:
    log = ConnectionLog()
    log.user_of = {"s1": "ada"}.get
    with caplog.at_level(logging.INFO):
        log.socket_connected(socket())
    assert caplog.records[0].user_id == "ada"


def test_a_disconnection_is_logged_with_the_client_and_the_reason(caplog) -> None:
    with caplog.at_level(logging.DEBUG):
        ConnectionLog().socket_disconnected(socket(), Reason.TRANSPORT_CLOSE)
    (record,) = caplog.records
    assert record.message == "Socket disconnected"
    assert (record.socket_id, record.user_agent, record.ip) == ("s1", "Firefox", "192.0.2.1")
    assert (record.transport, record.reason) == ("websocket", "transport close")


def test_events_are_counted_by_reason() -> None:
    log = ConnectionLog()
    connection = SimpleNamespace(handshake=socket().handshake)
    log.connection_opened(connection)
    log.connection_upgraded(connection)
    log.connection_closed(connection, Reason.PING_TIMEOUT)
    log.handshake_refused("192.0.2.1", None, "polling", "forbidden")
    log.peer_malformed(connection, "packet", "…")
    log.peer_slow(connection, 1_048_577)
    log.socket_connected(socket())
    log.socket_refused(connection, "/x")
    log.socket_disconnected(socket(), Reason.TRANSPORT_CLOSE)
    log.event_received(socket(), "join-chat", handled=True)
    log.handler_failed(socket(), "join-chat", ValueError())
    assert set(log.counts.values()) == {1}
    assert "closed:ping timeout" in log.counts


@pytest.mark.parametrize(("cause", "setting"), [("origin", "ALLOWED_ORIGINS"), ("host", "ALLOWED_HOSTS")])
def test_a_refused_header_is_logged_with_the_setting_that_accepts_it(caplog, cause, setting) -> None:
    with caplog.at_level(logging.INFO):
        ConnectionLog().handshake_refused("192.0.2.1", "Firefox", "polling", cause, "https://other.example")
    (record,) = caplog.records
    assert (getattr(record, cause), record.setting) == ("https://other.example", setting)
    assert (record.ip, record.user_agent) == ("192.0.2.1", "Firefox")


def test_event_names_chosen_by_clients_are_not_counted_by_name() -> None:
    log = ConnectionLog()
    for number in range(100):
        log.event_received(socket(), f"event-{number}", handled=False)
    assert log.counts == {"events:unknown": 100}
