"""Ports for the servers of tests, which may be killed and started again on theirs.

They lie below the range from which the system gives ports to connections: one from there can be taken while its server
is down, even by a client that calls that server and so meets itself. Each process of a test run has its own share.
"""

from __future__ import annotations

import errno
import itertools
import os
import random
import socket
from typing import Final

_FIRST: Final = 10_000
#: A node of a Redis Cluster has its bus so far above its port: up there is nothing else.
BUS_OFFSET: Final = 10_000
_SHARES: Final = 4
_SHARE: Final = BUS_OFFSET // _SHARES


def _own_share() -> range:
    worker = os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")
    first = _FIRST + int(worker) % _SHARES * _SHARE
    return range(first, first + _SHARE)


def _from_anywhere(share: range) -> itertools.cycle[int]:
    # Another run may go on beside this one.
    start = random.randrange(len(share))
    return itertools.cycle([*share[start:], *share[:start]])


_ports: Final = _from_anywhere(_own_share())


def free_port(*, with_bus: bool = False) -> int:
    """A port that nobody has, on IPv4 and IPv6 loopback; if asked, with its twin for the bus of a Redis Cluster."""
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
            # No IPv6 here, or no loopback of it: then nobody has it there.
            if error.errno not in {errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT}:
                return False
    return True
