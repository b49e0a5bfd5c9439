"""Sentinel and Cluster as local processes, for tests."""

from __future__ import annotations

import contextlib
import re
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from roomcast.redis_client import RedisAddress, RedisOptions
from support.ports import free_port
from support.redis_server import RedisServer

MASTER_NAME = "roomcast-master"
SLOTS = 16_384
_SETTLE_LIMIT_S = 30.0
_FAST = {"probe_interval_s": 0.2, "probe_timeout_s": 0.5, "command_timeout_s": 1.0, "topology_interval_s": 0.5}


def _wait(condition: object, what: str) -> None:
    assert callable(condition)
    deadline = time.monotonic() + _SETTLE_LIMIT_S
    while not condition():
        if time.monotonic() > deadline:
            raise RuntimeError(f"did not happen: {what}")
        time.sleep(0.02)  # there is no event to wait for


@dataclass(frozen=True)
class SentinelGroup:
    """A master, a replica and sentinels.

    Attributes:
        servers: The two servers; either may be the master.
        sentinels: The sentinels.
    """

    servers: tuple[RedisServer, RedisServer]
    sentinels: tuple[RedisServer, ...]

    def options(self) -> RedisOptions:
        """Options that find the master, with short timeouts."""
        addresses = tuple(RedisAddress("127.0.0.1", sentinel.port) for sentinel in self.sentinels)
        return RedisOptions(addresses=addresses, sentinel_master=MASTER_NAME, **_FAST)

    def master(self) -> RedisServer:
        """The current master, according to the first sentinel."""
        answer = self.sentinels[0].command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", MASTER_NAME)
        port = int(re.findall(rb"\d+", answer)[-1])
        return next(server for server in self.servers if server.port == port)


@contextlib.contextmanager
def sentinel_group(directory: Path, *, sentinels_wanted: int = 3) -> Iterator[SentinelGroup]:
    """Start the group; a majority of sentinels starts a failover after half a second without replies."""
    master = RedisServer(directory / "a")
    replica = RedisServer(directory / "b", arguments=("--replicaof", f"127.0.0.1 {master.port}"))
    sentinels = []
    try:
        master.start()
        replica.start()
        for number in range(sentinels_wanted):
            folder = directory / f"sentinel-{number}"
            folder.mkdir()
            configuration = folder / "sentinel.conf"
            configuration.write_text(
                f"sentinel monitor {MASTER_NAME} 127.0.0.1 {master.port} {sentinels_wanted // 2 + 1}\n"
                f"sentinel down-after-milliseconds {MASTER_NAME} 500\n"
                f"sentinel failover-timeout {MASTER_NAME} 3000\n"
            )
            sentinel = RedisServer(folder, arguments=(str(configuration),), sentinel=True)
            sentinels.append(sentinel)
            sentinel.start()
        _wait(lambda: b"master_link_status:up" in replica.command("INFO", "replication"), "the replica is connected")
        settled = f"slaves=1,sentinels={sentinels_wanted}".encode()
        for sentinel in sentinels:
            _wait(
                lambda sentinel=sentinel: settled in sentinel.command("INFO", "sentinel"),
                "the sentinels know each other",
            )
        yield SentinelGroup((master, replica), tuple(sentinels))
    finally:
        for server in (*sentinels, replica, master):
            server.kill()


@dataclass(frozen=True)
class ClusterNodes:
    """Three masters, then a replica of each."""

    servers: tuple[RedisServer, ...]

    def options(self) -> RedisOptions:
        """Options that start from the first node, with short timeouts."""
        return RedisOptions(addresses=(RedisAddress("127.0.0.1", self.servers[0].port),), cluster=True, **_FAST)

    def owner(self, key: str, *, by: RedisServer | None = None) -> RedisServer:
        """The node that owns the key's slot, according to this one, or the first running one."""
        alive = by or next(server for server in self.servers if server.process is not None)
        slot = int(alive.command("CLUSTER", "KEYSLOT", key)[1:])
        for line in alive.command("CLUSTER", "NODES").decode().splitlines():
            fields = line.split()
            if len(fields) < 9 or "master" not in fields[2] or "fail" in fields[2]:
                continue
            for portion in fields[8:]:
                first, _, last = portion.partition("-")
                if first.isdigit() and int(first) <= slot <= int(last or first):
                    port = int(fields[1].partition("@")[0].rpartition(":")[2])
                    return next(server for server in self.servers if server.port == port)
        raise LookupError(key)

    def move_slot(self, key: str, keys: Sequence[str] = ()) -> RedisServer:
        """Move the key's slot, with these keys in it, to another node, and return that."""
        source = self.owner(key)
        target = next(server for server in self.servers[:3] if server is not source and server.process is not None)
        slot = source.command("CLUSTER", "KEYSLOT", key)[1:]
        source_id, target_id = self.node_id(source), self.node_id(target)
        # With the highest epoch, it keeps the slot when an earlier message of the former owner arrives.
        _wait(lambda: self._epoch(source, target) == self._epoch(source, source), "the nodes know their epochs")
        target.command("CLUSTER", "BUMPEPOCH")
        target.command("CLUSTER", "SETSLOT", slot, "IMPORTING", source_id)
        source.command("CLUSTER", "SETSLOT", slot, "MIGRATING", target_id)
        for name in keys:
            assert source.command("MIGRATE", "127.0.0.1", str(target.port), name, "0", "5000") == b"+OK"
        running = [server for server in self.servers if server.process is not None]

        def moved() -> bool:
            for server in (target, source, *running):
                server.command("CLUSTER", "SETSLOT", slot, "NODE", target_id)
            return all(self.owner(key, by=server) is target for server in running)

        _wait(moved, "the nodes agree about the owner of a slot")
        return target

    def _epoch(self, node: RedisServer, by: RedisServer) -> str:
        lines = by.command("CLUSTER", "NODES").decode().splitlines()
        return next(line.split()[6] for line in lines if f":{node.port}@" in line)

    def shard_channels(self) -> Counter[str]:
        """How many running nodes have subscribers, by channel."""
        found: Counter[str] = Counter()
        for server in self.servers:
            if server.process is not None:
                found.update(server.command("PUBSUB", "SHARDCHANNELS").decode().split("\r\n")[2::2])
        return found

    def node_id(self, server: RedisServer) -> str:
        """The id of a node in the cluster."""
        return server.command("CLUSTER", "MYID").decode().splitlines()[-1]


@contextlib.contextmanager
def redis_cluster(directory: Path, *, replicas: bool = True) -> Iterator[ClusterNodes]:
    """Start a cluster of three masters; nodes count as failed after a second without replies."""
    servers = []
    try:
        for number in range(6 if replicas else 3):
            server = RedisServer(
                directory / f"node-{number}",
                arguments=("--cluster-enabled", "yes", "--cluster-node-timeout", "1000"),
                port=free_port(with_bus=True),
            )
            servers.append(server)
            server.start()
        masters = servers[:3]
        share = SLOTS // 3 + 1
        for number, master in enumerate(masters):
            master.command("CLUSTER", "SET-CONFIG-EPOCH", str(number + 1))
            last = min((number + 1) * share, SLOTS) - 1
            answer = master.command("CLUSTER", "ADDSLOTSRANGE", str(number * share), str(last))
            assert answer == b"+OK", answer
        for server in servers[1:]:
            servers[0].command("CLUSTER", "MEET", "127.0.0.1", str(server.port))
        nodes = ClusterNodes(tuple(servers))
        for server in servers:
            known = f"cluster_known_nodes:{len(servers)}".encode()
            _wait(
                lambda server=server, known=known: known in server.command("CLUSTER", "INFO"),
                "the nodes know each other",
            )
        for replica, master in zip(servers[3:], masters, strict=False):
            master_id = nodes.node_id(master)
            _wait(
                lambda replica=replica, master_id=master_id: (
                    replica.command("CLUSTER", "REPLICATE", master_id) == b"+OK"
                ),
                "a master accepts its replica",
            )
        for server in servers:
            _wait(
                lambda server=server: b"cluster_state:ok" in server.command("CLUSTER", "INFO"),
                "the cluster state is ok",
            )
        for replica in servers[3:]:
            _wait(
                lambda replica=replica: b"master_link_status:up" in replica.command("INFO", "replication"),
                "the replicas are connected",
            )
        yield nodes
    finally:
        for server in servers:
            server.kill()
