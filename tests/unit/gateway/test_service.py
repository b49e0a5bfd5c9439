from __future__ import annotations

import pytest

from roomcast.auth.options import AuthOptions
from roomcast.chat.ports import TurnFrame, encode_frame, encode_stop
from roomcast.eventlog.memory import MemoryEventLog
from roomcast.eventlog.memory_streams import MemoryTurnStreams
from roomcast.gateway.api.open_admission import OpenAdmission
from roomcast.gateway.delivery.joins import JoinOptions
from roomcast.gateway.service import Gateway, GatewayOptions
from roomcast.wire.errors import RemoteError
from roomcast.wire.socketio_session import SocketSession

AUTH = AuthOptions("a secret of more than thirty-two bytes")


@pytest.mark.parametrize(("auth", "leeway_s"), [(None, 0.0), (AUTH, AUTH.leeway_s)])
async def test_sockets_outlive_their_tokens_by_the_leeway_of_the_verifier(auth, leeway_s) -> None:
    log = MemoryEventLog()
    gateway = Gateway(log, OpenAdmission(log), MemoryTurnStreams(log), GatewayOptions(auth=auth))
    assert gateway._handlers._expiry_leeway_s == leeway_s
    await gateway.close()


async def test_a_gateway_accepts_no_binary_packet_since_no_event_takes_one() -> None:
    log = MemoryEventLog()
    gateway = Gateway(log, OpenAdmission(log), MemoryTurnStreams(log))
    session = SocketSession(gateway.server.engine.limits)
    session.receive("0")
    session.accept("/", "sid")
    with pytest.raises(RemoteError, match="too-many-attachments"):
        session.receive('51-["join-chat",{"_placeholder":true,"num":0}]')
    await gateway.close()


async def test_a_signal_on_a_chats_channel_is_read_by_its_kind() -> None:
    log = MemoryEventLog()
    gateway = Gateway(log, OpenAdmission(log), MemoryTurnStreams(log))
    feed = await gateway.feeds.acquire("c1")
    heard = []
    gateway.signals.on_typing = lambda chat_id, signal: heard.append((chat_id, signal.user))
    for payload in (
        encode_frame(TurnFrame("t1", 1, 0, 0, b"[{}]")),
        encode_stop("t1"),
        b'{"v":1,"type":"wrote","node":"node-002","user":"ada","typing":true}',
        b"T malformed",
    ):
        await log.signal("c1", payload)
    assert gateway.answers.frames == {"emitted": 1, "malformed": 1}
    assert heard == [("c1", "ada")]
    assert gateway.signals.counters == {"heard": 1}
    gateway.feeds.release(feed)
    await gateway.close()


async def test_a_socket_has_room_for_the_streams_of_every_chat_that_it_may_follow() -> None:
    log = MemoryEventLog()
    gateway = Gateway(
        log, OpenAdmission(log), MemoryTurnStreams(log), GatewayOptions(joins=JoinOptions(max_chats_per_socket=10))
    )
    assert gateway.server.engine.options.max_rooms_per_socket == 21
    await gateway.close()
