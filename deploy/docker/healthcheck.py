"""HEALTHCHECK of the images: exits with 0 if the service of the container answers ``/live``, or the path given.

A container runs one service, which answers on one of three ports. A worker has its internal address only, which must
be reachable on loopback: ``ROOMCAST_INTERNAL_HOST=0.0.0.0`` and ``ROOMCAST_INTERNAL_PORT``.
"""

from __future__ import annotations

import http.client
import os
import sys

PORTS = {"API_PORT": 3000, "PORT": 3001, "ROOMCAST_INTERNAL_PORT": 3002}
LIMIT_S = 1.0


def answers(port: int, path: str) -> bool:
    """Whether the path on this port answers with 200."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=LIMIT_S)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == http.client.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


if __name__ == "__main__":
    path = sys.argv[1] if len(sys.argv) > 1 else "/live"
    ports = [int(os.environ.get(name) or default) for name, default in PORTS.items()]
    sys.exit(not any(answers(port, path) for port in ports))
