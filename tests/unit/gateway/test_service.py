from __future__ import annotations

import pytest

from roomcast.auth.tokens import AuthOptions
from roomcast.eventlog.memory import MemoryEventLog
from roomcast.gateway.api.open_admission import OpenAdmission
from roomcast.gateway.service import Gateway, GatewayOptions
from roomcast.wire.errors import RemoteError
from roomcast.wire.socketio_session import SocketSession

AUTH = AuthOptions("a secret of more than thirty-two bytes")


@pytest.mark.parametrize(("auth", "leeway_s"), [(None, 0.0), (AUTH, AUTH.leeway_s)])
async def test_sockets_outlive_their_tokens_by_the_leeway_of_the_verifier(auth, leeway_s) -> None:
    log = MemoryEventLog()
    gateway = Gateway(log, OpenAdmission(log), GatewayOptions(auth=auth))
    assert gateway._handlers._expiry_leeway_s == leeway_s
    await gateway.close()


async def test_a_gateway_accepts_no_binary_packet_since_no_event_takes_one() -> None:
    log = MemoryEventLog()
    gateway = Gateway(log, OpenAdmission(log))
    session = SocketSession(gateway.server.engine.limits)
    session.receive("0")
    session.accept("/", "sid")
    with pytest.raises(RemoteError, match="too-many-attachments"):
        session.receive('51-["join-chat",{"_placeholder":true,"num":0}]')
    await gateway.close()
