"""The cases whose observations differ, with what differs and why: the table of docs/moving/python-socketio.md."""

from __future__ import annotations

from typing import NamedTuple


class Difference(NamedTuple):
    """One row.

    Attributes:
        there: What python-socketio does.
        here: What `roomcast.realtime.compat.socketio` does.
        reason: Why it is kept.
    """

    there: str
    here: str
    reason: str


DIFFERENCES: dict[str, Difference] = {
    "disconnects_in_the_handler": Difference(
        "`disconnect(sid)` in a `connect` handler has no effect",
        "the client is refused",
        "a ban check must not fail open",
    ),
    "raises_another_exception": Difference(
        "after an exception in a `connect` handler the client receives nothing",
        'it receives `connect_error` with "Internal server error"',
        "the client need not wait for its timeout",
    ),
    "handler_without_auth_gets_auth": Difference(
        "a `connect` handler of two parameters fails if the client sends `auth`",
        "it is called without `auth`",
        "a client cannot make a handler fail",
    ),
    "what_the_client_gets_before_the_acceptance": Difference(
        "what a `connect` handler emits arrives before the acceptance",
        "it arrives after it, in the same order, and never if the client is refused",
        "a refused client must not receive events; Socket.IO clients expect the acceptance first",
    ),
    "calls_the_client_in_the_handler_after_connect": Difference(
        "with `always_connect`, `call` for the client of the running `connect` handler waits for its timeout",
        "it returns the client's answer (without `always_connect` it waits there too)",
        "the client has its CONNECT packet and can answer",
    ),
    "unknown_namespace": Difference(
        'the error of an unknown namespace is the string "Unable to connect"',
        '`{"message": "Invalid namespace"}`',
        "the form and the text of Node, as the protocol requires",
    ),
    "catch_all_namespace_alone": Difference(
        'handlers for the namespace `*` need `namespaces="*"` as well',
        "they serve every namespace without other handlers",
        "such a handler has no other purpose",
    ),
    "unencodable_data": Difference(
        "`emit` of data that JSON lacks raises `TypeError`",
        "it raises `roomcast.wire.errors.EncodeError`, which names the type",
        "one exception for every encoder",
    ),
    "empty_list_of_rooms": Difference(
        "`emit(room=[])` raises `IndexError`, and `emit(to=[])` reaches all clients",
        "both reach no client",
        "an empty selection must not broadcast",
    ),
    "empty_room_name": Difference(
        '`emit(to="")` reaches all clients',
        '`""` is a room like others',
        "an empty id must not broadcast",
    ),
    "room_zero": Difference(
        "`emit(to=0)` reaches all clients", "`0` is a room like others", "an id must not broadcast"
    ),
    "leaving_the_own_room": Difference(
        "a client can leave the room named after its sid",
        "it stays in it",
        "a sid always reaches its client",
    ),
    "environ_address": Difference(
        "`REMOTE_ADDR`, `SERVER_NAME` and `SERVER_PORT` in `environ` are constants",
        "they are those of the connection",
        "handlers read them",
    ),
    "origins_behind_a_proxy": Difference(
        "`X-Forwarded-Host` is believed for the own origin",
        "it is not: name the public origin in `cors_allowed_origins`, or let the proxy keep `Host`",
        "every client can send that header; `serve` believes it from trusted proxies",
    ),
    "refusal_status": Difference(
        "a refused origin gets status 400",
        "403",
        "the status of Node",
    ),
    "http_errors": Difference("a method other than GET and POST gets status 405", "400", "the status of Node"),
    "a_cookie_by_name": Difference(
        '`cookie="name"` sends a cookie that scripts can read',
        "the cookie is `HttpOnly`",
        "the session id authenticates requests",
    ),
    "mounted_with_the_default_path": Difference(
        "a mounted `ASGIApp` needs `socketio_path` with the path of its mount",
        "the default path works too",
        "both forms are in use",
    ),
    "seventeen_packets_in_a_post": Difference(
        "of a POST with more than 16 packets all are lost without an error",
        "all are handled",
        "a client that polls may send many events at once",
    ),
    "garbage_in_a_post": Difference(
        "a POST that is no packet is ignored",
        "status 400, and the session ends",
        "as in Node: what was meant is lost, so the client has to know",
    ),
    "too_large_a_post": Difference(
        "a POST above `max_http_buffer_size` gets status 400, and the session ends when its CLOSE packet was polled",
        "413, and the session stays until the client closes it or sends no pong",
        "as in Node",
    ),
    "a_pending_poll_ends_when_the_client_closes": Difference(
        "the pending poll of a session that its client closes is held for `ping_interval + ping_timeout`",
        "it is answered at once",
        "it would occupy a connection for 45 s",
    ),
    "a_poll_after_the_client_has_closed": Difference(
        'the reason is "client disconnect" if the client closes the session without disconnecting from the namespace',
        '"transport close"',
        "the reason of Node, with which the client may return to its session; `disconnect()` of each client does both",
    ),
}


def table() -> str:
    """The rows as the document has them."""
    rows = [f"| {row.there} | {row.here} | {row.reason} |" for row in DIFFERENCES.values()]
    return "\n".join(["| python-socketio | here | reason |", "|---|---|---|", *rows])
