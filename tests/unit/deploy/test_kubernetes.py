"""The policies of every Kubernetes object, and that the variables of every container are a valid configuration.

The objects are the committed renderings of the Helm chart and of the Kustomize overlays (`tests/cases/kubernetes`);
`make test-deploy` checks that they are current.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from yamllint import linter
from yamllint.config import YamlLintConfig

from roomcast import __version__
from roomcast.app.config import api_config, gateway_config, worker_config
from roomcast.push.vapid import new_key
from roomcast.settings import VARIABLES, read_settings

Object = dict[str, Any]
REPOSITORY = Path(__file__).parents[3]
DEPLOY = REPOSITORY / "deploy"
CHART = DEPLOY / "helm/roomcast"
RENDERINGS = sorted((REPOSITORY / "tests/cases/kubernetes").glob("*-*.yaml"))
RENDERINGS = [path for path in RENDERINGS if not path.name.startswith("values-")]
#: The oldest and the newest version of Kubernetes for which every object is valid.
VERSIONS = ("1.30", "1.34")
#: Objects of custom resource definitions, which a Kubernetes without extensions does not know.
CUSTOM_KINDS = {"HTTPRoute", "PodMonitor", "PrometheusRule"}
OWN_PORTS = {"api": {"http": 3000, "internal": 3002}, "gateway": {"http": 3001, "internal": 3002}}
OWN_PORTS["worker"] = {"internal": 3002}
SERVICES = sorted(OWN_PORTS)
SECRET_FILES = "/run/secrets/roomcast/"

#: Values of the Secret's keys, as an operator would set them.
SECRETS = {
    "secret": "0123456789abcdef" * 4,
    "database-url": "postgresql://roomcast:password@database/roomcast",
    "redis-url": "rediss://:password@redis:6379",
    "openai-api-key": "key",
    "ca.pem": "certificates",
    "vapid-key": new_key(),
    "moderation-secret": f"whsec_{'a' * 32}",
    "files-key-id": "id",
    "files-key": "key",
}
#: Variables that the libraries of the buckets read.
BUCKET_CREDENTIALS = {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"}


class Rendering:
    """The objects of one rendering."""

    def __init__(self, path: Path) -> None:
        self.name = path.stem
        self.objects: list[Object] = [item for item in yaml.safe_load_all(path.read_text()) if item]

    def of(self, kind: str) -> list[Object]:
        return [item for item in self.objects if item["kind"] == kind]

    def workloads(self) -> list[Object]:
        return [item for item in self.objects if "template" in item.get("spec", {})]

    def pods(self) -> Iterator[tuple[str, Object, Object]]:
        """The name, labels and spec of each pod."""
        for item in self.workloads():
            template = item["spec"]["template"]
            yield item["metadata"]["name"], template["metadata"]["labels"], template["spec"]

    def containers(self) -> Iterator[tuple[str, Object]]:
        for name, _, pod in self.pods():
            for container in pod["containers"] + pod.get("initContainers", []):
                yield f"{name}/{container['name']}", container

    def one(self, kind: str, name: str) -> Object:
        return next(item for item in self.of(kind) if item["metadata"]["name"] == name)

    def config(self, name: str) -> dict[str, str]:
        data: dict[str, str] = self.one("ConfigMap", name)["data"]
        return data


@pytest.fixture(scope="module", params=RENDERINGS, ids=lambda path: path.stem)
def rendering(request: pytest.FixtureRequest) -> Rendering:
    return Rendering(request.param)


def selects(selector: dict[str, str], labels: dict[str, str]) -> bool:
    return bool(selector) and selector.items() <= labels.items()


def test_the_renderings_are_of_the_chart_and_of_every_overlay() -> None:
    overlays = {f"overlay-{path.name}" for path in (DEPLOY / "kubernetes/overlays").iterdir()}
    assert {path.stem for path in RENDERINGS} == overlays | {"chart-defaults", "chart-everything"}


@pytest.mark.parametrize("version", VERSIONS)
def test_every_object_is_valid_by_the_strict_schema(rendering: Rendering, version: str) -> None:
    for item in rendering.objects:
        if item["kind"] not in CUSTOM_KINDS:
            kubernetes_validate.validate(item, version, strict=True)


def test_a_misspelt_field_is_refused_by_the_strict_schema(rendering: Rendering) -> None:
    service = {**rendering.one("Service", "roomcast-api"), "sepc": {}}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(service, VERSIONS[0], strict=True)


def test_no_object_is_rendered_twice(rendering: Rendering) -> None:
    names = [(item["kind"], item["metadata"]["name"]) for item in rendering.objects]
    assert len(names) == len(set(names))


def test_pods_run_as_a_numeric_user_without_privileges(rendering: Rendering) -> None:
    for name, _, pod in rendering.pods():
        context = pod["securityContext"]
        assert context["runAsNonRoot"] is True, name
        assert context["runAsUser"] > 0, name
        assert context["seccompProfile"] == {"type": "RuntimeDefault"}, name
        assert not {"hostNetwork", "hostPID", "hostIPC"} & pod.keys(), name
        assert not any("hostPath" in volume for volume in pod["volumes"]), name
    for name, container in rendering.containers():
        context = container["securityContext"]
        assert context["readOnlyRootFilesystem"] is True, name
        assert context["allowPrivilegeEscalation"] is False, name
        assert context["capabilities"] == {"drop": ["ALL"]}, name


def test_pods_get_no_token_and_no_variables_of_services(rendering: Rendering) -> None:
    for name, _, pod in rendering.pods():
        assert pod["automountServiceAccountToken"] is False, name
        assert pod["enableServiceLinks"] is False, name


def test_containers_have_requests_and_a_memory_limit(rendering: Rendering) -> None:
    for name, container in rendering.containers():
        resources = container["resources"]
        assert {"cpu", "memory"} <= resources["requests"].keys(), name
        assert "memory" in resources["limits"], name


def test_containers_of_deployments_have_three_probes(rendering: Rendering) -> None:
    for deployment in rendering.of("Deployment"):
        for container in deployment["spec"]["template"]["spec"]["containers"]:
            assert {"startupProbe", "livenessProbe", "readinessProbe"} <= container.keys(), container["name"]


@pytest.mark.parametrize("service", SERVICES)
def test_probes_ask_the_paths_of_the_internal_address(rendering: Rendering, service: str) -> None:
    container = container_of(rendering, service)
    targets = {name: container[f"{name}Probe"]["httpGet"] for name in ("startup", "liveness", "readiness")}
    assert targets == {
        "startup": {"path": "/live", "port": "internal"},
        "liveness": {"path": "/live", "port": "internal"},
        "readiness": {"path": "/ready", "port": "internal"},
    }


def test_images_have_a_version_and_no_registry(rendering: Rendering) -> None:
    for name, container in rendering.containers():
        assert re.fullmatch(r"[a-z]+(:[A-Za-z0-9._-]+|@sha256:[0-9a-f]{64})", container["image"]), name
        assert not container["image"].endswith(":latest"), name


def test_production_names_its_image_by_a_digest() -> None:
    production = Rendering(REPOSITORY / "tests/cases/kubernetes/overlay-production.yaml")
    assert all("@sha256:" in container["image"] for _, container in production.containers())


def test_no_object_contains_a_secret(rendering: Rendering) -> None:
    assert not rendering.of("Secret")
    variables = [entry for _, container in rendering.containers() for entry in container.get("env", [])]
    plain = {entry["name"]: entry["value"] for entry in variables if "value" in entry}
    for config in rendering.of("ConfigMap"):
        plain.update(config["data"])
    for name, value in plain.items():
        assert not re.search(r"://[^/]*@", value), name
        if re.search(r"SECRET|PASSWORD|TOKEN$|TOKEN_FILE|KEY|DATABASE_URL|REDIS_URL", name):
            assert name.endswith("_FILE"), name
            assert value.startswith(SECRET_FILES), name


def test_every_file_of_a_secret_is_mounted_read_only_and_nothing_else_is(rendering: Rendering) -> None:
    for name, _, pod in rendering.pods():
        paths = {item["path"] for volume in pod["volumes"] if "secret" in volume for item in volume["secret"]["items"]}
        named = {
            entry["value"].removeprefix(SECRET_FILES)
            for container in pod["containers"]
            for entry in container.get("env", [])
            if entry["name"].endswith("_FILE")
        }
        assert paths == named, name
        mounts = {mount["name"]: mount for container in pod["containers"] for mount in container["volumeMounts"]}
        assert {volume["name"] for volume in pod["volumes"]} == mounts.keys(), name
        assert "secrets" not in mounts or mounts["secrets"]["readOnly"] is True, name


def test_a_gateway_has_no_database_and_a_worker_no_secret_of_tokens(rendering: Rendering) -> None:
    assert files_of(container_of(rendering, "gateway")) == {"ROOMCAST_SECRET_FILE", "REDIS_URL_FILE"}
    assert "ROOMCAST_SECRET_FILE" not in files_of(container_of(rendering, "worker"))


def test_selectors_match_the_labels_of_exactly_their_own_pods(rendering: Rendering) -> None:
    for kind in ("Deployment", "Service", "PodDisruptionBudget"):
        for item in rendering.of(kind):
            selector = item["spec"]["selector"]
            selector = selector.get("matchLabels", selector)
            found = [name for name, labels, _ in rendering.pods() if selects(selector, labels)]
            assert found == [item["metadata"]["name"]], (kind, item["metadata"]["name"])


@pytest.mark.parametrize("service", SERVICES)
def test_a_rolling_update_adds_a_pod_before_it_removes_one(rendering: Rendering, service: str) -> None:
    spec = rendering.one("Deployment", f"roomcast-{service}")["spec"]
    assert spec["strategy"] == {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}}
    assert rendering.one("PodDisruptionBudget", f"roomcast-{service}")["spec"]["maxUnavailable"] == 1
    constraints = spec["template"]["spec"]["topologySpreadConstraints"]
    assert [item["topologyKey"] for item in constraints] == ["kubernetes.io/hostname", "topology.kubernetes.io/zone"]


@pytest.mark.parametrize("service", SERVICES)
def test_the_drain_ends_before_the_grace_period(rendering: Rendering, service: str) -> None:
    pod = rendering.one("Deployment", f"roomcast-{service}")["spec"]["template"]["spec"]
    container = pod["containers"][0]
    config = rendering.config(container["envFrom"][0]["configMapRef"]["name"])
    wait = container["lifecycle"]["preStop"]["sleep"]["seconds"]
    wait += int(config["ROOMCAST_UNREADY_S"]) + int(config["ROOMCAST_DRAIN_S"])
    assert wait + 10 <= pod["terminationGracePeriodSeconds"]
    probe = container["readinessProbe"]
    noticed = probe["periodSeconds"] * probe["failureThreshold"]
    assert noticed <= int(config["ROOMCAST_UNREADY_S"]) + container["lifecycle"]["preStop"]["sleep"]["seconds"]


def test_the_number_of_gateways_is_set_by_one_object(rendering: Rendering) -> None:
    spec = rendering.one("Deployment", "roomcast-gateway")["spec"]
    scalers = rendering.of("HorizontalPodAutoscaler")
    # Otherwise each `apply` would set the number back.
    assert ("replicas" in spec) == (not scalers)
    for scaler in scalers:
        assert scaler["spec"]["scaleTargetRef"]["name"] == "roomcast-gateway"
        assert scaler["spec"]["minReplicas"] == 3
        metrics = [item.get("pods", item.get("resource")) for item in scaler["spec"]["metrics"]]
        assert [item.get("metric", item)["name"] for item in metrics] == ["roomcast_connections", "cpu"]
        down = scaler["spec"]["behavior"]["scaleDown"]
        assert down["stabilizationWindowSeconds"] >= 600
        assert down["policies"] == [{"type": "Pods", "value": 1, "periodSeconds": 300}]


def test_ports_are_the_same_everywhere(rendering: Rendering) -> None:
    for service in SERVICES:
        ports = {item["name"]: item["containerPort"] for item in container_of(rendering, service)["ports"]}
        assert ports == OWN_PORTS[service]
    for item in rendering.of("Service"):
        name = item["metadata"]["name"].removeprefix("roomcast-")
        ports = {port["targetPort"]: port["port"] for port in item["spec"]["ports"]}
        assert item["spec"]["type"] == "ClusterIP"
        if name in OWN_PORTS:
            assert ports.items() <= OWN_PORTS[name].items()
    for route in rendering.of("HTTPRoute"):
        backends = [rule["backendRefs"][0] for rule in route["spec"]["rules"]]
        assert [(item["name"], item["port"]) for item in backends] == [
            ("roomcast-gateway", 3001),
            ("roomcast-api", 3000),
        ]


def test_ingress_and_route_send_socket_io_to_gateways_and_the_rest_to_the_api() -> None:
    rendering = Rendering(REPOSITORY / "tests/cases/kubernetes/chart-everything.yaml")
    [route], [ingress] = rendering.of("HTTPRoute"), rendering.of("Ingress")
    matches = {rule["matches"][0]["path"]["value"]: rule["backendRefs"][0]["name"] for rule in route["spec"]["rules"]}
    [rule] = ingress["spec"]["rules"]
    paths = {path["path"]: path["backend"]["service"]["name"] for path in rule["http"]["paths"]}
    # The base path of values-everything.yaml.
    assert matches == paths == {"/chat/socket.io": "roomcast-gateway", "/chat": "roomcast-api"}
    assert rendering.config("roomcast")["ROOMCAST_BASE_PATH"] == "/chat"
    assert route["spec"]["hostnames"] == [rule["host"]] == ["chat.example.com"]


def test_the_monitor_scrapes_a_port_that_every_pod_of_roomcast_has() -> None:
    rendering = Rendering(REPOSITORY / "tests/cases/kubernetes/overlay-production.yaml")
    [monitor] = rendering.of("PodMonitor")
    [endpoint] = monitor["spec"]["podMetricsEndpoints"]
    assert (endpoint["port"], endpoint["path"]) == ("internal", "/metrics")
    for service in SERVICES:
        labels = rendering.one("Deployment", f"roomcast-{service}")["spec"]["template"]["metadata"]["labels"]
        assert selects(monitor["spec"]["selector"]["matchLabels"], labels)


def policies_of(rendering: Rendering, labels: dict[str, str]) -> list[Object]:
    policies = [item["spec"] for item in rendering.of("NetworkPolicy")]
    return [policy for policy in policies if selects(policy["podSelector"]["matchLabels"], labels)]


def test_every_pod_is_denied_what_no_policy_allows(rendering: Rendering) -> None:
    for name, labels, _ in rendering.pods():
        policies = policies_of(rendering, labels)
        assert policies, name
        assert all(policy["policyTypes"] == ["Ingress", "Egress"] for policy in policies), name
        for policy in policies:
            for rule in policy.get("ingress", []) + policy.get("egress", []):
                assert rule["ports"], name
        assert not any("ingress" in policy for policy in policies) or not name.endswith("migrate")


@pytest.mark.parametrize(
    ("source", "target", "port"),
    [
        ("gateway", "gateway", 3002),
        ("gateway", "api", 3002),
    ],
)
def test_processes_reach_each_other(rendering: Rendering, source: str, target: str, port: int) -> None:
    assert allowed(rendering, source, target, port)


@pytest.mark.parametrize(
    ("source", "target", "port"),
    [
        ("worker", "api", 3002),
        ("api", "gateway", 3002),
        ("gateway", "worker", 3002),
        ("gateway", "api", 3000),
        ("worker", "gateway", 3001),
    ],
)
def test_processes_do_not_reach_what_they_do_not_need(
    rendering: Rendering, source: str, target: str, port: int
) -> None:
    assert not allowed(rendering, source, target, port)


@pytest.mark.parametrize("service", SERVICES)
def test_development_reaches_its_redis_and_its_database(service: str) -> None:
    rendering = Rendering(REPOSITORY / "tests/cases/kubernetes/overlay-dev.yaml")
    assert allowed(rendering, service, "redis", 6379)
    assert allowed(rendering, service, "postgres", 5432) == (service != "gateway")


def allowed(rendering: Rendering, source: str, target: str, port: int) -> bool:
    """Whether the policies of both pods allow a connection."""
    pods = {labels["app.kubernetes.io/component"]: (labels, pod) for _, labels, pod in rendering.pods()}
    ports = {item["name"]: item["containerPort"] for item in pods[target][1]["containers"][0]["ports"]}

    def matches(policies: list[Object], direction: str, peer: str, key: str) -> bool:
        for rule in (rule for policy in policies for rule in policy.get(direction, [])):
            named = {ports.get(item["port"], item["port"]) for item in rule["ports"]}
            peers = rule.get(key)
            # Without peers, every address is allowed.
            fits = peers is None or any(
                selects(item["podSelector"]["matchLabels"], pods[peer][0]) for item in peers if "podSelector" in item
            )
            if port in named and fits:
                return True
        return False

    out = matches(policies_of(rendering, pods[source][0]), "egress", target, "to")
    return out and matches(policies_of(rendering, pods[target][0]), "ingress", source, "from")


def container_of(rendering: Rendering, service: str) -> Object:
    [container] = rendering.one("Deployment", f"roomcast-{service}")["spec"]["template"]["spec"]["containers"]
    assert container["args"] == [service]
    return dict(container)


def files_of(container: Object) -> set[str]:
    return {entry["name"] for entry in container["env"] if entry["name"].endswith("_FILE")} - {"SSL_CERT_FILE"}


def environment(rendering: Rendering, container: Object, mounted: Path) -> dict[str, str]:
    """The variables of a container, with the Secret's files in the directory ``mounted``."""
    for key, value in SECRETS.items():
        (mounted / key).write_text(f"{value}\n")
    variables: dict[str, str] = {}
    for source in container.get("envFrom", []):
        variables.update(rendering.config(source["configMapRef"]["name"]))
    for entry in container["env"]:
        match entry:
            case {"valueFrom": {"fieldRef": _}}:
                value = "fd00::7"  # the address of the pod is IPv6 in some clusters
            case {"valueFrom": {"secretKeyRef": {"key": key}}}:
                value = SECRETS[key]
            case _:
                value = entry["value"]
        variables[entry["name"]] = value.replace(SECRET_FILES, f"{mounted}/")
    return variables


@pytest.mark.parametrize("service", SERVICES)
def test_the_variables_are_a_configuration_of_the_service(rendering: Rendering, service: str, tmp_path: Path) -> None:
    variables = environment(rendering, container_of(rendering, service), tmp_path)
    assert variables.keys() <= {*VARIABLES, "SSL_CERT_FILE", *BUCKET_CREDENTIALS}
    settings = read_settings(variables)
    config = {
        "api": lambda: api_config(settings),
        "gateway": lambda: gateway_config(settings),
        "worker": lambda: worker_config(settings),
    }[service]()
    ports = {"http": config.api_port or config.gateway_port, "internal": config.internal and config.internal.port}
    assert {name: port for name, port in ports.items() if port is not None} == OWN_PORTS[service]
    assert config.internal is not None
    assert config.internal.host == "fd00::7"
    assert service == "worker" or config.listen.bind == ("",)
    assert settings.redis is not None
    assert (settings.auth is None) == (service == "worker")
    assert (config.database is None) == (service == "gateway")


def test_the_migration_has_the_database_and_nothing_else(rendering: Rendering, tmp_path: Path) -> None:
    [job] = rendering.of("Job")
    [container] = job["spec"]["template"]["spec"]["containers"]
    assert container["args"] == ["migrate"]
    variables = environment(rendering, container, tmp_path)
    assert variables.keys() - {"SSL_CERT_FILE"} == {"DATABASE_URL_FILE"}
    assert read_settings(variables).database == SECRETS["database-url"]


@pytest.mark.parametrize("service", SERVICES)
def test_files_pushes_and_moderation_are_for_apis_and_workers(service: str, tmp_path: Path) -> None:
    rendering = Rendering(REPOSITORY / "tests/cases/kubernetes/chart-everything.yaml")
    container = container_of(rendering, service)
    variables = environment(rendering, container, tmp_path)
    settings = read_settings(variables)
    uses = service != "gateway"
    assert (variables.keys() >= BUCKET_CREDENTIALS) == uses
    found = (settings.files_url, settings.push.key, settings.push.subject, settings.moderation is not None)
    expected = ("s3://bucket/files", SECRETS["vapid-key"], "mailto:ops@example.com", True)
    assert found == (expected if uses else (None, None, None, False))
    assert len(settings.webhook_networks) == (2 if uses else 0)
    assert variables.get("ROOMCAST_MODERATION_ANSWERS") == ("withheld" if uses else None)
    labels = rendering.one("Deployment", f"roomcast-{service}")["spec"]["template"]["metadata"]["labels"]
    rules = [rule for policy in policies_of(rendering, labels) for rule in policy["egress"]]
    storage = [{"ipBlock": {"cidr": "10.3.0.0/24"}}]
    assert (storage in [rule.get("to") for rule in rules]) == uses


def test_placement_and_service_account_are_those_of_every_pod() -> None:
    values = yaml.safe_load((REPOSITORY / "tests/cases/kubernetes/values-everything.yaml").read_text())
    for name, _, pod in Rendering(REPOSITORY / "tests/cases/kubernetes/chart-everything.yaml").pods():
        assert pod.items() >= values["pod"].items(), name


def test_the_chart_has_the_version_of_the_product() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert chart["version"] == chart["appVersion"] == __version__.partition(".dev")[0]


def test_the_rules_of_prometheus_are_those_of_its_own_directory() -> None:
    [rule] = Rendering(REPOSITORY / "tests/cases/kubernetes/overlay-production.yaml").of("PrometheusRule")
    assert rule["spec"] == yaml.safe_load((DEPLOY / "prometheus/alerts.yaml").read_text())


@pytest.mark.parametrize(
    "path",
    [path for path in sorted(DEPLOY.rglob("*.yaml")) if "templates" not in path.parts],
    ids=lambda path: str(path.relative_to(DEPLOY)),
)
def test_yaml_files_are_well_formed(path: Path) -> None:
    config = YamlLintConfig((DEPLOY / ".yamllint").read_text())
    problems = [f"{problem.line}: {problem}" for problem in linter.run(path.read_text(), config, str(path))]
    assert not problems
