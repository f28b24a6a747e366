"""The files in deploy/assay agree with Kubernetes' schemas, with Assay's settings and commands, and with each other."""

from __future__ import annotations

import json
import re
import shutil
import stat
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import fields
from hashlib import sha256
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import kubernetes_validate
import pytest
import typer.main
import yaml
from tests.deploy.installation import COMPOSE, FOLDER, environment_of, make_secrets

from assay.cli import application
from assay.queue import open_queue
from assay.queue.jobs import LANES
from assay.queue.rabbitmq import RabbitQueue
from assay.report.signing import Signer
from assay.settings import Settings, read_settings
from assay.store.database import Database
from assay.web.table import HEALTH
from fusee.cli.serve import command as fusee_serve
from fusee.server.access import read_keys
from fusee.server.operations import OPERATIONS as SERVER_OPERATIONS

KUBERNETES_VERSION = "1.31"
OWN_SCHEMAS = ("keda.sh/", "kustomize.config.k8s.io/")
IMAGE = "assay:0.1.0"
OF_COMMANDS = {"ASSAY_HOME", "ASSAY_MODELS"}
COMMANDS: dict[str, Any] = vars(typer.main.get_command(application()))["commands"]
Document = dict[str, Any]


def documents(path: Path) -> list[Document]:
    return [d for d in yaml.safe_load_all(path.read_text()) if d]


MANIFESTS = [d for path in sorted((FOLDER / "kubernetes").glob("*.yaml")) for d in documents(path)]
PODS: dict[str, Document] = {
    d["metadata"]["name"]: d["spec"]["template"] for d in MANIFESTS if d["kind"] in ("Deployment", "StatefulSet", "Job")
}
SERVICES: dict[str, Document] = COMPOSE["services"]


def named(kind: str) -> dict[str, Document]:
    return {d["metadata"]["name"]: d for d in MANIFESTS if d["kind"] == kind}


def container(pod: Document) -> Document:
    (only,) = pod["spec"]["containers"]
    return only


OWN_PODS = {name: pod for name, pod in PODS.items() if container(pod)["image"] == IMAGE}
OWN_SERVICES = {name: service for name, service in SERVICES.items() if service["image"] == IMAGE}


# Kubernetes


@pytest.mark.parametrize("path", sorted(FOLDER.rglob("*.yaml")), ids=lambda p: str(p.relative_to(FOLDER)))
def test_manifests_are_what_kubernetes_takes(path: Path):
    for document in documents(path):
        if "kind" in document and not document["apiVersion"].startswith(OWN_SCHEMAS):
            kubernetes_validate.validate(document, KUBERNETES_VERSION, strict=True)


def test_the_kustomization_names_every_manifest_but_the_secrets():
    (listed,) = [d for d in MANIFESTS if d["kind"] == "Kustomization"]
    written = {path.name for path in (FOLDER / "kubernetes").iterdir()}
    assert listed["resources"] == sorted(written - {"kustomization.yaml", "secret.template.yaml"})


def test_kustomize_puts_all_of_it_together():
    if shutil.which("kubectl") is None:
        pytest.skip("kubectl is not installed")
    command = ["kubectl", "kustomize", str(FOLDER / "kubernetes")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    built = [d for d in yaml.safe_load_all(done.stdout) if d]
    assert len(built) == len(MANIFESTS) - 2, "all but the kustomization itself and the template of the secrets"
    assert {d["metadata"].get("namespace") for d in built if d["kind"] != "Namespace"} == {"assay"}


def test_pods_have_no_more_rights_than_they_need():
    assert named("Namespace")["assay"]["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    for pod in PODS.values():
        spec, only = pod["spec"], container(pod)
        assert spec["automountServiceAccountToken"] is False
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert only["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert only["resources"]["requests"] == only["resources"]["limits"]


def test_own_pods_run_as_the_images_user():
    (user,) = re.findall(r"^USER (.*)$", (FOLDER / "Containerfile").read_text(), re.MULTILINE)
    for pod in OWN_PODS.values():
        context = pod["spec"]["securityContext"]
        assert user == f"{context['runAsUser']}:{context['runAsGroup']}"
    assert {service["user"] for service in OWN_SERVICES.values()} == {user}


def test_only_packing_writes_to_the_home():
    home = {name: mount(pod, "home").get("readOnly", False) for name, pod in OWN_PODS.items()}
    assert home == {"assay-pack": False, "assay-web": True, "assay-workers": True, "inference": True}
    volumes = {name: [v for v in service["volumes"] if v.startswith("home:")] for name, service in OWN_SERVICES.items()}
    assert volumes.pop("pack") == ["home:/var/lib/assay"]
    assert all(each == ["home:/var/lib/assay:ro"] for each in volumes.values())


def mount(pod: Document, name: str) -> Document:
    (found,) = [m for m in container(pod)["volumeMounts"] if m["name"] == name]
    return found


def test_volumes_are_mounted_and_mounts_are_volumes():
    claimed = {
        d["metadata"]["name"]: [c["metadata"]["name"] for c in d["spec"]["volumeClaimTemplates"]]
        for d in named("StatefulSet").values()
    }
    for name, pod in PODS.items():
        volumes = {v["name"] for v in pod["spec"]["volumes"]} | set(claimed.get(name, ()))
        assert {m["name"] for m in container(pod)["volumeMounts"]} == volumes
        for volume in pod["spec"]["volumes"]:
            claim = volume.get("persistentVolumeClaim")
            assert claim is None or claim["claimName"] in named("PersistentVolumeClaim")


def labels_of(pod: Document) -> set[tuple[str, str]]:
    return set(pod["metadata"]["labels"].items())


@pytest.mark.parametrize("kind", ["Service", "PodDisruptionBudget", "Deployment", "StatefulSet"])
def test_selectors_find_one_kind_of_pod(kind: str):
    found = named(kind)
    assert found
    for document in found.values():
        selector = document["spec"]["selector"]
        wanted = set(selector.get("matchLabels", selector).items())
        assert len([pod for pod in PODS.values() if wanted <= labels_of(pod)]) == 1


def test_services_lead_to_ports_that_there_are():
    for service in named("Service").values():
        (pod,) = [p for p in PODS.values() if set(service["spec"]["selector"].items()) <= labels_of(p)]
        ports = {p["name"]: p["containerPort"] for p in container(pod)["ports"]}
        assert {p["targetPort"] for p in service["spec"]["ports"]} <= ports.keys()
        if service["spec"].get("clusterIP") == "None":
            assert all(p["port"] == ports[p["targetPort"]] for p in service["spec"]["ports"])


def test_probes_ask_for_health_without_a_key():
    own = {o.path for o in HEALTH if not o.scopes}
    assert own == {"/healthz", "/readyz"}
    server = {path for o in SERVER_OPERATIONS if o.scope.value == "open" for _, path in o.routes}
    for name in ("assay-web", "assay-workers", "inference"):
        only = container(PODS[name])
        ports = {p["name"] for p in only["ports"]}
        probes = {key: probe["httpGet"] for key, probe in only.items() if key.endswith("Probe")}
        assert probes.keys() == {"startupProbe", "livenessProbe", "readinessProbe"}
        assert {p["path"] for p in probes.values()} <= (server if name == "inference" else own)
        assert {p["port"] for p in probes.values()} <= ports


# Network policies


def test_policies_name_pods_and_ports_that_there_are():
    for policy in named("NetworkPolicy").values():
        for rule in (*policy["spec"].get("ingress", ()), *policy["spec"].get("egress", ())):
            for peer in (*rule.get("from", ()), *rule.get("to", ())):
                if "podSelector" in peer:
                    wanted = set(peer["podSelector"]["matchLabels"].items())
                    assert [pod for pod in PODS.values() if wanted <= labels_of(pod)]
            ports = {p["name"] for pod in PODS.values() for p in container(pod).get("ports", ())}
            assert {p["port"] for p in rule["ports"] if isinstance(p["port"], str)} <= ports


def test_nothing_is_let_through_unnamed_and_only_the_web_reaches_the_world():
    everything, *others = named("NetworkPolicy").values()
    assert everything["spec"] == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    outward = {
        policy["metadata"]["name"]: peer["ipBlock"]
        for policy in others
        for rule in policy["spec"]["egress"]
        for peer in rule["to"]
        if "ipBlock" in peer
    }
    assert outward.keys() == {"assay-web"}
    assert {"10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16"} <= set(outward["assay-web"]["except"])


# Settings and commands


def variables() -> Iterator[tuple[str, str]]:
    for path in sorted(FOLDER.rglob("*")):
        if path.is_file():
            for name in set(re.findall(r"\bASSAY_[A-Z_]+", path.read_text())):
                yield path.name, name


@pytest.mark.parametrize(("where", "name"), sorted(variables()))
def test_every_variable_is_a_setting(where: str, name: str):
    known = {f"ASSAY_{f.name.upper()}" for f in fields(Settings)} - {"ASSAY_HOME"}
    assert name in known | {f"{each}_FILE" for each in known} | OF_COMMANDS


def test_the_image_tells_commands_where_home_and_models_are():
    told = {p.envvar for command in COMMANDS.values() for p in command.params if p.envvar}
    assert told == OF_COMMANDS
    copied = re.findall(r"^COPY models/assay (\S+)$", (FOLDER / "Containerfile").read_text(), re.MULTILINE)
    assert f"ASSAY_MODELS={copied[0]}" in (FOLDER / "Containerfile").read_text()


def command_lines() -> dict[str, list[str]]:
    """Every start of a program, in compose, Kubernetes, the image and the README."""
    found = {f"compose: {name}": service["command"] for name, service in OWN_SERVICES.items()}
    found |= {f"kubernetes: {name}": container(pod)["command"] for name, pod in OWN_PODS.items()}
    (cmd,) = re.findall(r"^CMD (\[.*\])$", (FOLDER / "Containerfile").read_text(), re.MULTILINE)
    found["image"] = json.loads(cmd)
    text = (FOLDER / "README.md").read_text()
    started = re.findall(r"^    .* (assay (?:tenant|key) .*)$", text, re.MULTILINE)
    return found | {f"README {n}": line.split() for n, line in enumerate(started)}


def options_of(program: str, command: str) -> set[str]:
    if program == "assay":
        return {option for p in COMMANDS[command].params for option in p.opts}
    assert (program, command) == ("fusee", "serve")
    served = typer.Typer()
    served.command()(fusee_serve)
    return {option for p in typer.main.get_command(served).params for option in p.opts}  # pyright: ignore


@pytest.mark.parametrize("where", sorted(command_lines()))
def test_commands_and_their_options_exist(where: str):
    program, command, *arguments = command_lines()[where]
    given = {a.split("=")[0] for a in arguments if a.startswith("--")}
    assert given <= options_of(program, command)


def test_everything_is_started():
    started = {" ".join(line[:2]) for where, line in command_lines().items() if where.startswith("kubernetes")}
    assert started == {"assay serve", "assay work", "assay pack", "fusee serve"}
    assert started == {" ".join(line[:2]) for where, line in command_lines().items() if where.startswith("compose")}
    assert SERVICES["worker"]["deploy"]["replicas"] == 2


def test_both_give_the_same_configuration():
    """Compose and Kubernetes differ in where secrets lie and in what the world calls them, nowhere else."""
    differing = {"ASSAY_PUBLIC_URL", "ASSAY_NOTICE", "FORWARDED_ALLOW_IPS"}

    def of_pod(name: str) -> Mapping[str, str]:
        given = named("ConfigMap")["assay"]["data"] | {e["name"]: e["value"] for e in container(PODS[name])["env"]}
        return {key: value.replace("/run/secrets/assay", "/run/secrets") for key, value in given.items()}

    for service, pod in (("web", "assay-web"), ("worker", "assay-workers")):
        compose, kubernetes = SERVICES[service]["environment"], of_pod(pod)
        for name in (compose.keys() | kubernetes.keys()) - differing:
            assert compose.get(name) == kubernetes.get(name), name


def test_ports_are_those_of_the_settings():
    settings = Settings(Path())
    web = container(PODS["assay-web"])["ports"]
    assert [p["containerPort"] for p in web] == [settings.port]
    assert SERVICES["web"]["ports"] == [f"127.0.0.1:{settings.port}:{settings.port}"]
    (worker,) = container(PODS["assay-workers"])["ports"]
    assert str(worker["containerPort"]) == SERVICES["worker"]["environment"]["ASSAY_HEALTH_PORT"]
    assert f"127.0.0.1:{worker['containerPort']}/readyz" in SERVICES["worker"]["healthcheck"]["test"][-1]


# Compose


def test_what_compose_names_is_there():
    for service in SERVICES.values():
        sources = [s["source"] if isinstance(s, dict) else s for s in service.get("secrets", ())]
        assert set(sources) <= COMPOSE["secrets"].keys()
        assert set(service.get("networks", ())) <= COMPOSE["networks"].keys()
        assert set(service.get("depends_on", ())) <= SERVICES.keys()
        assert {v.partition(":")[0] for v in service.get("volumes", ())} <= COMPOSE["volumes"].keys()
        assert service["deploy"]["resources"]["limits"].keys() == {"cpus", "memory"}
        assert service["read_only"] is True
        assert service["security_opt"] == ["no-new-privileges:true"]


def test_compose_waits_for_health_that_is_checked():
    for service in SERVICES.values():
        for name, wait in service.get("depends_on", {}).items():
            assert wait["condition"] == "service_completed_successfully" or "healthcheck" in SERVICES[name]
    assert {name for name, service in SERVICES.items() if "healthcheck" not in service} == {"pack"}


def test_only_the_web_has_a_way_out():
    assert COMPOSE["networks"]["inside"] == {"internal": True}
    assert {name for name, service in SERVICES.items() if "outside" in service.get("networks", ())} == {"web"}


# Secrets


@pytest.fixture(scope="module")
def secrets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_secrets(tmp_path_factory.mktemp("secrets") / "made")


def test_the_script_makes_all_secrets_that_are_named(secrets: Path):
    made = {path.name for path in secrets.iterdir()}
    template = named("Secret")["assay"]["stringData"]
    assert made == template.keys()
    assert {Path(s["file"]).name for s in COMPOSE["secrets"].values()} == made - {"inference_metrics_key"}
    for pod in PODS.values():
        for volume in pod["spec"]["volumes"]:
            assert {item["key"] for item in volume.get("secret", {}).get("items", ())} <= made


def test_secrets_are_kept_by_their_folder_and_never_overwritten(secrets: Path):
    assert stat.S_IMODE(secrets.stat().st_mode) == 0o700
    before = {path.name: path.read_text() for path in secrets.iterdir()}
    with pytest.raises(ChildProcessError, match="is there already; nothing was changed"):
        make_secrets(secrets)
    assert {path.name: path.read_text() for path in secrets.iterdir()} == before


def test_the_secrets_are_what_the_programs_take(secrets: Path, tmp_path: Path):
    settings = read_settings(tmp_path, environment_of("web", secrets))
    assert isinstance(open_queue(settings), RabbitQueue)
    Database(settings.database_url).close()
    assert len(Signer(settings.signing_key).public_key) == 32
    lens = urlsplit(settings.lens_url)
    keys = {key.name: key for key in read_keys(secrets / "inference_keys.json")}
    assert lens.password is not None
    assert keys["assay"].sha256 == sha256(lens.password.encode()).digest()
    metrics = (secrets / "inference_metrics_key").read_text().strip()
    assert keys["prometheus"].sha256 == sha256(metrics.encode()).digest()
    assert {scope.value for scope in keys["assay"].scopes} == {"infer", "read"}


def test_passwords_are_the_same_on_both_sides(secrets: Path):
    store, queue = (urlsplit((secrets / name).read_text().strip()) for name in ("store_url", "queue_url"))
    assert store.password == (secrets / "postgres_password").read_text().strip()
    broker = dict(line.split(" = ") for line in (secrets / "rabbitmq.conf").read_text().splitlines())
    assert broker == {"default_user": queue.username, "default_pass": queue.password, "default_vhost": queue.path[1:]}
    assert (store.username, store.path) == ("assay", "/assay")
    assert SERVICES["postgres"]["environment"]["POSTGRES_USER"] == store.username


def test_hosts_are_services(tmp_path: Path):
    settings = read_settings(tmp_path, environment_of("web", make_secrets(tmp_path / "secrets", ".assay.svc")))
    for url in (settings.store_url, settings.queue_url, settings.lens_url):
        host, suffix = (urlsplit(url).hostname or "").split(".", 1)
        assert suffix == "assay.svc"
        (port,) = named("Service")[host]["spec"]["ports"]
        assert (port["port"], host in SERVICES) == (urlsplit(url).port, True)


# Autoscaling


def test_autoscalers_scale_deployments():
    keda = documents(FOLDER / "keda/workers.yaml")
    scaled = [d["spec"]["scaleTargetRef"]["name"] for d in (*named("HorizontalPodAutoscaler").values(), keda[1])]
    assert sorted(scaled) == sorted(named("Deployment"))


def test_keda_watches_the_queues_that_there_are(secrets: Path, tmp_path: Path):
    authentication, scaled = documents(FOLDER / "keda/workers.yaml")
    queue = open_queue(read_settings(tmp_path, environment_of("web", secrets)))
    assert isinstance(queue, RabbitQueue)
    watched = {t["metadata"]["queueName"] for t in scaled["spec"]["triggers"]}
    assert watched == {queue._lane(lane) for lane in LANES}
    for trigger in scaled["spec"]["triggers"]:
        assert trigger["authenticationRef"]["name"] == authentication["metadata"]["name"]
    (host,) = authentication["spec"]["secretTargetRef"]
    assert (host["name"], host["key"]) == ("assay", "queue_url")
