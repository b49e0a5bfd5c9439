"""An echo server on `roomcast.realtime`: answers every event ``echo`` with its own argument.

Run ``python examples/echo.py [PORT]``, then connect any Socket.IO client to the printed address::

    const socket = io('http://127.0.0.1:3001');
    socket.emit('echo', { hello: 'world' }, (answer) => console.log(answer));
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from typing import Any

from roomcast.realtime import ServeOptions, Server, Site, serve

server = Server()


@server.event
def echo(sid: str, data: Any) -> Any:
    """Return the argument: it becomes the acknowledgement."""
    return data


def print_address(addresses: Sequence[Sequence[tuple[str, int]]]) -> None:
    """Print where the server listens."""
    host, port = addresses[0][0]
    print(f"listening on http://{host}:{port}", flush=True)


if __name__ == "__main__":
    port = int(sys.argv[1]) if len(sys.argv) > 1 else 3001
    asyncio.run(serve([Site(server.asgi(), "127.0.0.1", port)], ServeOptions(on_ready=print_address)))
