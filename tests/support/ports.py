"""Ports for servers that tests may kill and start again on the same port.

They lie below the range of ephemeral ports. A port of that range could be taken while its server is down, even by a
client of that server, which would then connect to itself. Each process of a test run has its own share of the ports.
"""

from __future__ import annotations

import errno
import itertools
import os
import random
import socket
from typing import Final

_FIRST: Final = 10_000
#: A Redis Cluster node's bus port is its port plus this; nothing else uses that range.
BUS_OFFSET: Final = 10_000
_SHARES: Final = 4
_SHARE: Final = BUS_OFFSET // _SHARES


def _own_share() -> range:
    worker = os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")
    first = _FIRST + int(worker) % _SHARES * _SHARE
    return range(first, first + _SHARE)


def _from_random_start(share: range) -> itertools.cycle[int]:
    # At random, since another test run may use the same range.
    start = random.randrange(len(share))
    return itertools.cycle([*share[start:], *share[:start]])


_ports: Final = _from_random_start(_own_share())


def free_port(*, with_bus: bool = False) -> int:
    """A port that is free on IPv4 and IPv6 loopback; ``with_bus``: together with its bus port."""
    for port in itertools.islice(_ports, _SHARE):
        if _is_free(port) and (not with_bus or _is_free(port + BUS_OFFSET)):
            return port
    raise RuntimeError("no free port")


def _is_free(port: int) -> bool:
    for family, host in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
        try:
            with socket.socket(family) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind((host, port))
                probe.listen()
        except OSError as error:
            # Without IPv6 loopback the port cannot be taken there.
            if error.errno not in {errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT}:
                return False
    return True
