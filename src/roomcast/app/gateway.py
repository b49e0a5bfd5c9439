"""Builds the gateway of a process, over a local admission, the API's, or none.

Layer: app.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from roomcast.app.metrics import adapter_families, connection_families, gateway_families, ingress_families
from roomcast.app.plan import Plan
from roomcast.app.process import Process, Shared
from roomcast.auth.tokens import TokenIssuer
from roomcast.gateway.ingress import CHANNEL, Ingress
from roomcast.gateway.ports import ChatAdmission
from roomcast.gateway.service import Gateway
from roomcast.observability.connections import ConnectionLog

if TYPE_CHECKING:
    from roomcast.gateway.api.client import ApiClient


def build_gateway(plan: Plan, shared: Shared, admission: ChatAdmission, process: Process) -> Gateway:
    """A gateway with its background work; its feeds end with the process."""
    cluster = shared.cluster
    adapter = None if cluster is None else cluster.adapter()
    connections = ConnectionLog()
    process.metrics.add(lambda: connection_families(connections))
    gateway = Gateway(
        shared.log,
        admission,
        plan.gateway,
        observer=connections,
        adapter=adapter,
        directory=shared.directory,
        nodes=shared.directory,
        board=shared.board,
    )
    process.metrics.add(lambda: gateway_families(gateway))
    if adapter is not None:
        process.metrics.add(lambda: adapter_families(adapter.counters))
        process.readiness.add("other servers", lambda: adapter.healthy)
    process.stack.push_async_callback(gateway.close)
    process.parts.start("gateway's sweeper", gateway.run())
    process.parts.start("presence", gateway.presences.run())
    shared.on_reconnect(gateway.compare_soon)
    if cluster is not None and plan.guide_ingress:
        ingress = Ingress(gateway.server)
        channel = cluster.listen(CHANNEL, ingress.take)
        process.metrics.add(lambda: ingress_families(ingress.counters))
        # Live only and outside the promise: what all gateways miss together must not take all of them out of service.
        process.readiness.add("guide's ingress", channel.subscribed.is_set, vital=False)
        process.parts.start("guide's ingress", channel.run())
    return gateway


def api_client(plan: Plan, process: Process) -> ApiClient:
    """What asks the API, closed with the process."""
    from roomcast.gateway.api.client import ApiClient, ApiClientOptions

    issuer = None if plan.auth is None else TokenIssuer(plan.auth)
    api = ApiClient(ApiClientOptions(url=plan.api_url or ""), issuer)
    process.stack.push_async_callback(api.close)
    return api


def build_follower(plan: Plan, shared: Shared, process: Process) -> Gateway:
    """A gateway without Redis: it follows the API's log, and asks the API who may join."""
    from roomcast.gateway.api.follower import ApiFollower

    follower = ApiFollower(api_client(plan, process), shared.log, lambda: gateway.feeds.chat_ids)
    process.stack.push_async_callback(follower.close)
    gateway = build_gateway(plan, shared, follower, process)
    process.parts.start("API's follower", follower.run())
    return gateway
