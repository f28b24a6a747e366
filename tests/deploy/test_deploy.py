"""The files in deploy/ agree with Kubernetes' schemas, with fusee serve, with the metrics that it prints, and with each
other."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import typer
import yaml

from fusee.cli.serve import command as serve
from fusee.server.access import read_keys
from fusee.server.errors import Reason
from fusee.server.observe.exposition import Kind
from fusee.server.observe.metrics import families, pages
from fusee.server.observe.sources import Sources
from fusee.server.operations import OPERATIONS, Scope
from fusee.server.proto.model_config_pb2 import ModelConfig
from fusee.server.statistics import ModelStatistics

FOLDER = Path(__file__).parents[2] / "deploy"
YAML = sorted(FOLDER.rglob("*.yaml"))
KUBERNETES_VERSION = "1.31"
OWN_SCHEMAS = ("serving.kserve.io/", "keda.sh/", "kustomize.config.k8s.io/")  # not part of Kubernetes
ADAPTED = "avg_time_queue_us"
NODE_METRICS = {"up"}  # Prometheus's own
KEYWORDS = {"and", "or", "by"}


def documents(path: Path) -> list[dict[str, Any]]:
    return [d for d in yaml.safe_load_all(path.read_text()) if d]


def manifest(path: str) -> dict[str, Any]:
    (found,) = documents(FOLDER / path)
    return found


DEPLOYMENT = manifest("kubernetes/deployment.yaml")
POD = DEPLOYMENT["spec"]["template"]["spec"]
CONTAINER = POD["containers"][0]
RUNTIME = manifest("kserve/runtime.yaml")["spec"]["containers"][0]


def walked(value: Any) -> Iterator[Any]:
    """Every value inside a document."""
    yield value
    inside = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    for item in inside:
        yield from walked(item)


@pytest.mark.parametrize("path", YAML, ids=lambda p: str(p.relative_to(FOLDER)))
def test_manifests_are_what_kubernetes_takes(path: Path):
    for document in documents(path):
        if "kind" in document and not document["apiVersion"].startswith(OWN_SCHEMAS):
            kubernetes_validate.validate(document, KUBERNETES_VERSION, strict=True)


def test_the_schemas_refuse_what_is_wrong():
    wrong = json.loads(json.dumps(DEPLOYMENT))
    wrong["spec"]["template"]["spec"]["containers"][0]["readinesProbe"] = {}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, KUBERNETES_VERSION, strict=True)


def test_kustomization_names_every_manifest():
    listed = manifest("kubernetes/kustomization.yaml")["resources"]
    assert listed == sorted(p.name for p in (FOLDER / "kubernetes").iterdir() if p.name != "kustomization.yaml")


# What the manifests say of the server


def options() -> set[str]:
    app = typer.Typer()
    app.command()(serve)
    parameters = typer.main.get_command(app).params  # pyright: ignore
    return {option for p in parameters for option in p.opts}


def commands() -> dict[str, list[str]]:
    """The arguments of every start of the server."""
    images = {
        path.name: json.loads(re.findall(r"^CMD (\[.*\])$", path.read_text(), re.MULTILINE)[-1])
        for path in FOLDER.glob("Containerfile*")
    }
    return {**images, "deployment": CONTAINER["args"], "kserve": RUNTIME["args"]}


@pytest.mark.parametrize("where", sorted(commands()))
def test_fusee_serve_has_every_option(where: str):
    arguments = commands()[where]
    given = {a.split("=")[0] for a in arguments if a.startswith("--")}
    assert given
    assert given <= options()
    assert arguments[0].startswith("/"), "the repository comes first"
    assert given & {"--keys-file", "--allow-anonymous"}, "the server would refuse to listen to others without"


def test_the_readme_names_options_that_there_are():
    text = (FOLDER / "README.md").read_text()
    podman = {"--read-only", "--tmpfs"}
    named = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", text)) - podman
    assert named
    assert named <= options()


def ports(arguments: list[str]) -> dict[str, int]:
    return {m[1]: int(m[2]) for a in arguments if (m := re.fullmatch(r"--(http|grpc|metrics)-port=(\d+)", a))}


def test_ports_agree():
    told = ports(CONTAINER["args"])
    assert {p["name"]: p["containerPort"] for p in CONTAINER["ports"]} == told
    service = manifest("kubernetes/service.yaml")["spec"]
    assert {p["targetPort"]: p["port"] for p in service["ports"]} == told
    allowed = {p["port"] for rule in manifest("kubernetes/network.yaml")["spec"]["ingress"] for p in rule["ports"]}
    assert allowed == set(told)
    for path in FOLDER.glob("Containerfile*"):
        exposed = re.findall(r"^EXPOSE (.*)$", path.read_text(), re.MULTILINE)
        assert [set(map(int, line.split())) for line in exposed] == [set(told.values())]


def test_kserve_ports_agree():
    told = ports(RUNTIME["args"])
    assert [p["containerPort"] for p in RUNTIME["ports"]] == [told["http"]]
    annotations = manifest("kserve/runtime.yaml")["spec"]["annotations"]
    assert int(annotations["prometheus.kserve.io/port"]) == told["metrics"]
    assert manifest("kserve/inferenceservice.yaml")["spec"]["predictor"]["model"]["runtime"] == "fusee"


@pytest.mark.parametrize("container", [CONTAINER, RUNTIME], ids=["deployment", "kserve"])
def test_probes_ask_for_health_without_a_key(container: dict[str, Any]):
    open_paths = {path for o in OPERATIONS if o.scope is Scope.OPEN for method, path in o.routes if method == "GET"}
    http = {"http", ports(container["args"])["http"]}
    probes = {name: probe["httpGet"] for name, probe in container.items() if name.endswith("Probe")}
    assert probes["livenessProbe"]["path"] == "/v2/health/live"
    assert probes["readinessProbe"]["path"] == "/v2/health/ready"
    for probe in probes.values():
        assert probe["path"] in open_paths
        assert probe["port"] in http


def test_health_checks_of_images_ask_the_http_port():
    for path in FOLDER.glob("Containerfile*"):
        (address,) = re.findall(r"http://127\.0\.0\.1:(\d+)(/[\w/]+)", path.read_text())
        assert address == ("8000", "/v2/health/live")


@pytest.mark.parametrize("container", [CONTAINER, RUNTIME], ids=["deployment", "kserve"])
def test_containers_have_no_more_rights_than_they_need(container: dict[str, Any]):
    rights = container["securityContext"]
    assert (rights["allowPrivilegeEscalation"], rights["readOnlyRootFilesystem"]) == (False, True)
    assert rights["capabilities"] == {"drop": ["ALL"]}
    assert rights.get("runAsNonRoot") or POD["securityContext"]["runAsNonRoot"]
    assert container["resources"]["requests"] == container["resources"]["limits"]


def test_images_run_as_the_user_that_the_pod_names():
    for path in FOLDER.glob("Containerfile*"):
        assert re.findall(r"^USER (.*)$", path.read_text(), re.MULTILINE) == ["10001:10001"]
    assert (POD["securityContext"]["runAsUser"], POD["securityContext"]["runAsGroup"]) == (10001, 10001)


def test_volumes_and_selectors_agree():
    assert {m["name"] for m in CONTAINER["volumeMounts"]} == {v["name"] for v in POD["volumes"]}
    mounts = {m["name"]: m["mountPath"] for m in CONTAINER["volumeMounts"]}
    assert CONTAINER["args"][0] == mounts["models"]
    assert f"--keys-file={mounts['keys']}/keys.json" in CONTAINER["args"]
    volumes = {v["name"]: v for v in POD["volumes"]}
    assert volumes["keys"]["secret"]["secretName"] == manifest("kubernetes/keys.yaml")["metadata"]["name"]
    assert (
        volumes["models"]["persistentVolumeClaim"]["claimName"]
        == manifest("kubernetes/models.yaml")["metadata"]["name"]
    )
    labels = DEPLOYMENT["spec"]["template"]["metadata"]["labels"]
    assert DEPLOYMENT["spec"]["selector"]["matchLabels"] == labels
    assert manifest("kubernetes/service.yaml")["spec"]["selector"] == labels
    assert manifest("kubernetes/disruption.yaml")["spec"]["selector"]["matchLabels"] == labels
    assert manifest("kubernetes/network.yaml")["spec"]["podSelector"]["matchLabels"] == labels


def test_the_example_keys_are_a_keys_file_that_opens_nothing(tmp_path: Path):
    path = tmp_path / "keys.json"
    path.write_text(manifest("kubernetes/keys.yaml")["stringData"]["keys.json"])
    keys = read_keys(path)
    assert {k.name: {s.value for s in k.scopes} for k in keys} == {"clients": {"infer"}, "prometheus": {"read"}}
    assert all(not any(k.sha256[:-1]) for k in keys), "digests that no key has"


def test_autoscalers_scale_the_deployment():
    for path in ("kubernetes/autoscaling.yaml", "keda/scaledobject.yaml"):
        target = manifest(path)["spec"]["scaleTargetRef"]
        assert (target["kind"], target["name"]) == ("Deployment", DEPLOYMENT["metadata"]["name"])
    (metric,) = manifest("kubernetes/autoscaling.yaml")["spec"]["metrics"]
    (rule,) = manifest("prometheus/adapter.yaml")["rules"]
    assert metric["pods"]["metric"]["name"] == rule["name"]["as"] == ADAPTED


# What dashboards and alerts ask for


class Everything:
    """A model of a kind that makes every family appear: it may give several responses."""

    def __init__(self) -> None:
        self.name, self.version, self.config = "m", "1", ModelConfig()
        self.config.model_transaction_policy.decoupled = True
        self.statistics = ModelStatistics()
        self.statistics.failed("REJECTED", 1, Reason.OVERLOADED)


def printed() -> dict[str, Kind]:
    """Every series that the metrics page can have, by name."""
    stand: Any = Everything()
    series: dict[str, Kind] = {}
    for family in families(Sources(lambda: [stand])):
        endings = ("_bucket", "_sum", "_count") if family.kind is Kind.HISTOGRAM else ("",)
        series |= {family.name + ending: family.kind for ending in endings}
    return series


def dashboard() -> dict[str, Any]:
    return json.loads((FOLDER / "grafana" / "fusee.json").read_text())


def recorded() -> set[str]:
    rules = [r for group in manifest("prometheus/alerts.yaml")["groups"] for r in group["rules"]]
    return {r["record"] for r in rules if "record" in r}


def expressions() -> list[tuple[str, str]]:
    """Every PromQL expression, with where it stands."""
    found = [("dashboard", v["expr"]) for v in walked(dashboard()) if isinstance(v, dict) and "expr" in v]
    found += [("dashboard", v["definition"]) for v in dashboard()["templating"]["list"] if "definition" in v]
    rules = [r for group in manifest("prometheus/alerts.yaml")["groups"] for r in group["rules"]]
    found += [("alerts", r["expr"]) for r in rules]
    found += [("adapter", manifest("prometheus/adapter.yaml")["rules"][0][k]) for k in ("seriesQuery", "metricsQuery")]
    triggers = manifest("keda/scaledobject.yaml")["spec"]["triggers"]
    return found + [("keda", t["metadata"]["query"]) for t in triggers]


def names(expression: str) -> set[str]:
    """The series that an expression reads."""
    bare = re.sub(r'"[^"]*"|\{[^{}]*\}|\[[^\]]*\]|<<[^>]*>>', " ", expression)
    bare = re.sub(r"\b(by|on|without|ignoring|label_values)\s*\([^)]*\)", _series_of_label_values, bare)
    words = re.findall(r"(?<![\w:$.])[a-zA-Z_:][\w:]*(?!\s*\()(?![\w:])", bare)
    return {word for word in words if word not in KEYWORDS}


def _series_of_label_values(call: re.Match[str]) -> str:
    """The first argument of label_values is a series; groupings name labels alone."""
    if call[1] != "label_values":
        return " "
    return call[0].partition("(")[2].partition(",")[0]


def test_names_are_found_in_expressions():
    assert names('sum by (le, x) (rate(a_bucket{le="0.5"}[5m])) / clamp_min(b:c:5m, 0.001) > 2 and up == 1') == {
        "a_bucket", "b:c:5m", "up",
    }  # fmt: skip
    assert names("label_values(fusee_model_ready{}, model)") == {"fusee_model_ready"}


@pytest.mark.parametrize(("where", "expression"), expressions())
def test_only_metrics_are_read_that_the_server_prints(where: str, expression: str):
    used = names(expression)
    assert used, expression
    assert used <= printed().keys() | recorded() | NODE_METRICS


@pytest.mark.parametrize(("where", "expression"), expressions())
def test_counters_are_read_as_rates(where: str, expression: str):
    if "rate(" not in expression and "increase(" not in expression:
        kinds = {printed()[name] for name in names(expression) & printed().keys()}
        assert kinds <= {Kind.GAUGE} or where == "adapter"


def test_parentheses_are_closed():
    for _, expression in expressions():
        assert all(expression.count(a) == expression.count(b) for a, b in ("()", "[]", "{}"))


def test_the_dashboards_panels_have_places_of_their_own():
    panels = dashboard()["panels"]
    assert len({p["id"] for p in panels}) == len(panels)
    taken = [
        (x, y)
        for p in panels
        for x in range(p["gridPos"]["x"], p["gridPos"]["x"] + p["gridPos"]["w"])
        for y in range(p["gridPos"]["y"], p["gridPos"]["y"] + p["gridPos"]["h"])
    ]
    assert len(taken) == len(set(taken))
    assert max(x for x, _ in taken) < 24
    assert all(p["type"] == "row" or p["targets"] for p in panels)
    assert all(len({t["refId"] for t in p.get("targets", [])}) == len(p.get("targets", [])) for p in panels)


def test_alerts_say_what_to_do():
    rules = [r for group in manifest("prometheus/alerts.yaml")["groups"] for r in group["rules"] if "alert" in r]
    assert len(rules) >= 8
    for rule in rules:
        assert rule["labels"]["severity"] in {"critical", "warning", "info"}
        assert rule["annotations"]["summary"]
        assert rule["annotations"]["description"].endswith(".")


def test_prometheus_asks_a_page_that_there_is_with_a_key():
    (job,) = manifest("prometheus/scrape.yaml")["scrape_configs"]
    (page,) = [p for p in pages(Sources(tuple)) if p.path == job["metrics_path"]]
    assert page.scope is Scope.READ
    assert job["authorization"]["credentials_file"]
    assert job["relabel_configs"][1]["regex"] in {p["name"] for p in CONTAINER["ports"]}
    assert job["job_name"] in manifest("keda/scaledobject.yaml")["spec"]["triggers"][0]["metadata"]["query"]


def test_files_that_alerts_and_kustomization_name_exist():
    for name in manifest("prometheus/scrape.yaml")["rule_files"]:
        assert (FOLDER / "prometheus" / name).is_file()
