"""Builds the gateway of a process, and the admission of a gateway that has no database.

Layer: app.
"""

from __future__ import annotations

from roomcast.app.metrics import adapter_families, connection_families, gateway_families, ingress_families
from roomcast.app.plan import Plan
from roomcast.app.process import Process, Shared
from roomcast.auth.tokens import TokenIssuer
from roomcast.gateway.ingress import CHANNEL, Ingress
from roomcast.gateway.ports import ChatAdmission
from roomcast.gateway.service import Gateway
from roomcast.observability.connections import ConnectionLog


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
    shared.on_reconnect(gateway.sweep_soon)
    if cluster is not None and plan.guide_ingress:
        ingress = Ingress(gateway.server)
        channel = cluster.listen(CHANNEL, ingress.emit)
        process.metrics.add(lambda: ingress_families(ingress.counters))
        # Live only and outside the promise: what all gateways miss together must not take all of them out of service.
        process.readiness.add("guide's ingress", channel.subscribed.is_set, vital=False)
        process.parts.start("guide's ingress", channel.run())
    return gateway


def build_admission(plan: Plan, shared: Shared, process: Process) -> ChatAdmission:
    """The admission of a gateway without a database: by the API at ``API_URL``; without one every join is admitted."""
    if plan.api_url is None:
        from roomcast.gateway.api.open_admission import OpenAdmission

        return OpenAdmission(shared.log)
    from roomcast.gateway.api.admission import HttpAdmission
    from roomcast.gateway.api.client import ApiClient, ApiClientOptions

    issuer = None if plan.auth is None else TokenIssuer(plan.auth)
    api = ApiClient(ApiClientOptions(url=plan.api_url), issuer)
    process.stack.push_async_callback(api.close)
    admission = HttpAdmission(api)
    process.stack.push_async_callback(admission.close)
    return admission
