"""The names and signatures of python-socketio's asyncio server, compared with the installed python-socketio."""

from __future__ import annotations

import builtins
import inspect
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import engineio
import pytest
import socketio as peer

from roomcast.realtime import ConnectionRefusedError as NativeRefusal
from roomcast.realtime.adapters.memory import MemoryAdapter, MemoryBus
from roomcast.realtime.compat import socketio as ours
from roomcast.realtime.compat.socketio.packet import Packet
from roomcast.realtime.compat.static_files import find_static_file

CLASSES = ["AsyncServer", "AsyncNamespace", "AsyncManager", "AsyncRedisManager", "ASGIApp"]


def public_methods(cls: type) -> dict[str, Any]:
    return {name: item for name, item in inspect.getmembers(cls, inspect.isfunction) if not name.startswith("_")}


def parameters(function: Any) -> list[tuple[str, Any]]:
    return [(name, item.default) for name, item in inspect.signature(function).parameters.items()]


@pytest.mark.parametrize("name", ["AsyncServer", "AsyncNamespace", "ASGIApp"])
def test_each_public_method_is_there(name: str) -> None:
    missing = public_methods(getattr(peer, name)).keys() - public_methods(getattr(ours, name)).keys()
    assert missing == set()


SIGNATURES = [
    (cls, name)
    for cls in ("AsyncServer", "AsyncNamespace")
    for name in public_methods(getattr(peer, cls))
    if name not in {"handle_request", "event", "on"}
]


@pytest.mark.parametrize(("cls", "method"), SIGNATURES)
def test_each_method_takes_the_same_arguments(cls: str, method: str) -> None:
    theirs = parameters(getattr(getattr(peer, cls), method))
    mine = parameters(getattr(getattr(ours, cls), method))
    assert mine == theirs


def test_the_server_takes_every_argument_of_the_peer() -> None:
    mine = set(inspect.signature(ours.AsyncServer.__init__).parameters)
    for base in (peer.AsyncServer, peer.base_server.BaseServer, engineio.base_server.BaseServer):
        theirs = inspect.signature(base.__init__).parameters
        assert {name for name in theirs if theirs[name].kind is not inspect.Parameter.VAR_KEYWORD} <= mine


@pytest.mark.parametrize("name", ["AsyncManager", "AsyncRedisManager", "RedisManager", "ASGIApp"])
def test_each_constructor_takes_the_same_arguments(name: str) -> None:
    theirs = parameters(getattr(peer, name).__init__)
    assert parameters(getattr(ours, name).__init__)[: len(theirs)] == theirs


def test_each_exception_is_there_with_the_same_bases() -> None:
    for name, cls in inspect.getmembers(peer.exceptions, inspect.isclass):
        mine = getattr(ours.exceptions, name)
        assert {base.__name__ for base in cls.__mro__} <= {base.__name__ for base in mine.__mro__}
    assert issubclass(ours.exceptions.TimeoutError, builtins.TimeoutError)


@pytest.mark.parametrize("args", [(), ("no",), (5,), ("no", {"why": 1}), ("no", 1, 2)])
def test_a_refusal_has_the_same_arguments_and_a_text_as_its_message(args: tuple[Any, ...]) -> None:
    refusal = ours.exceptions.ConnectionRefusedError(*args)
    theirs = peer.exceptions.ConnectionRefusedError(*args).error_args
    assert json.loads(json.dumps(refusal.error_args)) == json.loads(json.dumps(theirs))
    assert isinstance(refusal, NativeRefusal)
    assert refusal.message == theirs["message"]
    assert refusal.data == json.loads(json.dumps(theirs)).get("data")


@pytest.mark.parametrize("name", ["Server", "KombuManager", "WSGIApp", "get_tornado_handler"])
def test_a_name_without_counterpart_says_what_to_use(name: str) -> None:
    with pytest.raises(AttributeError, match="use A"):
        getattr(ours, name)


def test_another_name_is_an_ordinary_attribute_error() -> None:
    with pytest.raises(AttributeError, match=r"no attribute 'nothing'$"):
        _ = ours.nothing


ALIAS = """
import sys
import roomcast.realtime.compat.socketio as socketio
{replace}
import socketio.exceptions
from socketio.packet import Packet
from socketio.async_server import AsyncServer
from socketio.exceptions import ConnectionRefusedError
from socketio.async_redis_manager import AsyncRedisManager
import roomcast.realtime.compat.socketio as direct
import socketio
assert socketio is direct
assert AsyncServer is direct.AsyncServer
assert ConnectionRefusedError is direct.exceptions.ConnectionRefusedError
assert AsyncRedisManager is direct.AsyncRedisManager
client = socketio.AsyncClient()
assert client.packet_class is Packet
from socketio.async_client import AsyncClient
assert isinstance(client, AsyncClient)
import socketio.async_client
from socketio import AsyncSimpleClient
assert sys.modules["socketio"] is direct
print(type(client).__mro__[-2].__module__)
"""


@pytest.mark.parametrize("replace", ["sys.modules['socketio'] = socketio", "import socketio; direct.install()"])
def test_an_alias_serves_the_submodules_and_the_clients(replace: str) -> None:
    program = ALIAS.format(replace=replace.replace("direct.", "sys.modules['roomcast.realtime.compat.socketio']."))
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.strip() == "socketio.base_client"


def test_the_clients_raise_our_exceptions() -> None:
    module: ModuleType = sys.modules["socketio"]
    client = ours.AsyncClient()
    errors = type(client).connect.__globals__["exceptions"]
    assert errors.ConnectionError is ours.exceptions.ConnectionError
    assert sys.modules["socketio"] is module


REFUSED = {
    "async_mode": "aiohttp",
    "serializer": "pickle",
    "cookie": {"name": "io", "Expires": "never"},
    "transports": ["carrier-pigeon"],
    "ping_interval": 0,
}


@pytest.mark.parametrize(("argument", "value"), REFUSED.items())
def test_an_argument_that_cannot_be_honoured_raises(argument: str, value: Any) -> None:
    with pytest.raises(ValueError, match=argument if value else "must be positive"):
        ours.AsyncServer(**{argument: value})


@pytest.mark.parametrize(("argument", "value"), [("monitor_clients", False)])
def test_an_argument_without_effect_warns_at_the_line_of_the_caller(argument: str, value: Any) -> None:
    with pytest.warns(UserWarning, match=argument) as warned:
        ours.AsyncServer(**{argument: value})
    assert warned[0].filename == __file__


class _Encoding(Packet):  # type: ignore[misc]
    def encode(self) -> Any:
        raise AssertionError("never called")


@pytest.mark.parametrize(("serializer", "text"), [(_Encoding, "encode would not be called"), (dict, "not a subclass")])
def test_a_packet_class_that_cannot_be_honoured_raises(serializer: type, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        ours.AsyncServer(serializer=serializer)


def test_a_packet_class_without_overrides_changes_nothing() -> None:
    server = ours.AsyncServer(serializer=Packet)
    assert (server.packets.binary, server.packets.reads, server.writer.custom) == (True, False, False)


def test_an_unknown_argument_raises() -> None:
    with pytest.raises(TypeError, match="ping_intervall"):
        ours.AsyncServer(ping_intervall=5)  # type: ignore[call-arg]


def test_the_arguments_become_options() -> None:
    server = ours.AsyncServer(
        ping_interval=(7, 2),
        ping_timeout=5,
        max_http_buffer_size=5_000,
        async_handlers=False,
        namespaces=["/a"],
        transports="websocket",
        cors_allowed_origins=["https://a.example", "https://b.example"],
        cors_credentials=False,
    )
    options = server.native.options
    assert (options.ping_interval_s, options.ping_timeout_s, options.max_payload_bytes) == (7, 7, 5_000)
    assert (options.handler_concurrency, options.namespaces) == (1, ("/a",))
    assert [name.value for name in options.transports] == ["websocket"]
    assert not options.cors_credentials


def test_the_intervals_can_be_changed_before_the_first_client() -> None:
    server = ours.AsyncServer()
    server.eio.ping_interval = 4
    server.eio.ping_timeout = 2
    assert (server.native.engine.timeouts.ping_interval_s, server.native.engine.timeouts.ping_timeout_s) == (4, 2)
    with pytest.raises(AttributeError):
        server.eio.ping_intervall = 4  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("origins", "allowed", "refused", "cors"),
    [
        (None, ["http://own.example"], ["http://a.example"], True),
        ("*", ["http://own.example", "http://a.example"], [], True),
        (["*"], ["http://a.example"], [], True),
        ([], ["http://own.example", "http://a.example"], [], False),
        ("http://a.example", ["http://a.example"], ["http://b.example", "http://own.example"], True),
        (
            ["http://a.example", "http://b.example"],
            ["http://a.example", "http://b.example"],
            ["http://c.example"],
            True,
        ),
        (lambda origin: origin.endswith("a.example"), ["http://a.example"], ["http://own.example"], True),
        (
            lambda origin, environ: environ["HTTP_HOST"] == "own.example" and origin == environ["HTTP_ORIGIN"],
            ["http://a.example"],
            [],
            True,
        ),
    ],
)
def test_origins_in_each_form(origins: Any, allowed: list[str], refused: list[str], cors: bool) -> None:
    policy = ours.AsyncServer(cors_allowed_origins=origins).native.engine.origins
    host = "own.example"
    assert policy.allows_origin(None, host, secure=False)
    for origin in allowed:
        assert policy.allows_origin(origin, host, secure=False)
        names = [name for name, _ in policy.cors_headers(origin, host, secure=False)]
        assert (b"access-control-allow-origin" in names) == cors
    for origin in refused:
        assert not policy.allows_origin(origin, host, secure=False)
        names = [name for name, _ in policy.cors_headers(origin, host, secure=False)]
        assert b"access-control-allow-origin" not in names


@pytest.mark.parametrize(
    "url",
    [
        "redis://",
        "redis://localhost:6379/0",
        "rediss://user:pw@host:1234/2",
        "redis+sentinel://user:pw@one:1,two:2/0/master",
    ],
)
def test_a_redis_manager_takes_the_urls_of_the_peer(url: str) -> None:
    manager = ours.AsyncRedisManager(url, channel="x")
    server = ours.AsyncServer(client_manager=manager)
    assert server.native.engine.adapter is manager.adapter


def test_a_redis_manager_refuses_what_it_cannot_honour() -> None:
    with pytest.raises(ValueError, match="redis_options"):
        ours.AsyncRedisManager(redis_options={"ssl_ca_certs": "ca.pem"})
    assert ours.AsyncRedisManager(redis_options={"socket_timeout": 5, "password": None, "db": 3}).adapter
    with pytest.raises(ValueError, match="URL of Redis"):
        ours.AsyncRedisManager("amqp://host")
    with pytest.raises(ValueError, match="write_only=True"):
        ours.RedisManager()
    with pytest.raises(ValueError, match="AsyncRedisManager"):
        ours.RedisManager("redis+sentinel://one:1/0/master", write_only=True)
    with pytest.raises(ValueError, match="write_only"):
        ours.AsyncServer(client_manager=ours.AsyncRedisManager(write_only=True))


def test_the_admin_ui_is_added_for_a_user_and_a_password() -> None:
    server = ours.AsyncServer()
    server.instrument(auth={"username": "a", "password": "b"}, mode="production", namespace="/ui")
    assert server.native.engine.registry.find("connect", "/ui") is not None


@pytest.mark.parametrize("arguments", [{}, {"auth": False}, {"auth": []}, {"auth": {"user": "a"}}])
def test_another_login_of_the_admin_ui_is_refused(arguments: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="auth must be"):
        ours.AsyncServer().instrument(**arguments)


def test_handlers_can_be_read_and_not_changed_past_the_server() -> None:
    server = ours.AsyncServer()

    class Chat(ours.AsyncNamespace):
        pass

    chat = Chat("/chat")
    server.register_namespace(chat)
    handler = server.on("say", lambda sid: None)
    assert server.handlers["/"]["say"] is handler
    assert server.namespace_handlers["/chat"] is chat
    assert chat.server is server
    with pytest.raises(TypeError):
        server.handlers["/"]["say"] = None  # type: ignore[index]
    with pytest.raises(ValueError, match="Not a namespace instance"):
        server.register_namespace(object())  # type: ignore[arg-type]


def test_a_manager_whose_methods_would_not_be_called_is_refused() -> None:
    class Own(ours.AsyncManager):
        async def emit(self, *args: Any, **options: Any) -> None:
            raise AssertionError

    with pytest.raises(ValueError, match="does not call emit of Own"):
        ours.AsyncServer(client_manager=Own())
    with pytest.raises(ValueError, match="AsyncManager has no counterpart"):
        ours.AsyncServer(client_manager=peer.AsyncManager())  # type: ignore[arg-type]


def test_a_manager_is_initialized_once_and_may_have_methods_of_its_own() -> None:
    class Own(ours.AsyncManager):
        def initialize(self) -> None:
            self.own = "initialized"

    server = ours.AsyncServer(client_manager=Own())
    assert server.manager.server is server


@pytest.mark.parametrize("path", ["/static/\0", "/static/" + "x" * 5_000, "/static/../secret", "/other", "/static"])
def test_a_path_that_is_no_file_of_its_directory_is_not_found(path: str, tmp_path: Path) -> None:
    (tmp_path / "public").mkdir()
    (tmp_path / "secret").write_text("secret")
    assert find_static_file(path, {"/static": str(tmp_path / "public")}) is None


def test_a_file_that_a_link_leads_out_to_is_not_found(tmp_path: Path) -> None:
    (tmp_path / "public").mkdir()
    (tmp_path / "secret").write_text("secret")
    (tmp_path / "public" / "link").symlink_to(tmp_path / "secret")
    assert find_static_file("/static/link", {"/static": str(tmp_path / "public")}) is None


def test_a_size_may_be_a_float_and_is_within_the_memory_of_unfinished_input() -> None:
    options = ours.AsyncServer(max_http_buffer_size=1e8).native.options
    assert options.max_payload_bytes == 100_000_000
    assert options.unfinished_limit_bytes >= options.max_reassembly_bytes >= 100_000_000


async def test_a_room_of_a_cluster_must_be_a_string_at_both_ends() -> None:
    sio = ours.AsyncServer(client_manager=ours.AsyncManager(MemoryAdapter(MemoryBus())))
    for use in (
        sio.enter_room("sid", 5),
        sio.leave_room("sid", 5),
        sio.emit("x", room=5),
        sio.emit("x", room=["a", 5]),
    ):
        with pytest.raises(TypeError, match="convert ids with str"):
            await use
    await ours.AsyncServer().emit("x", room=5)
