"""Alerts and dashboard of Assay read metrics that a running web exports, of their kinds and labels."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families
from tests.assay.web.house import build
from tests.deploy.installation import FOLDER

from assay.cases import Scope
from assay.settings import Settings
from assay.web.table import HEALTH

DASHBOARD: dict[str, Any] = json.loads((FOLDER / "grafana/assay.json").read_text())
GROUPS: list[dict[str, Any]] = yaml.safe_load((FOLDER / "prometheus/alerts.yaml").read_text())["groups"]
RULES = [rule for group in GROUPS for rule in group["rules"]]
PROMETHEUS_OWN = {"up"}
OF_SCRAPING = {"job", "pod", "le"}
SELECTOR = re.compile(r"\b([a-z][a-z_:0-9]*)\s*(?:\{([^}]*)\})?(?=\s*(?:\[|\)|==|>|\*|/|$))")
FUNCTIONS_OF_COUNTERS = ("rate(", "increase(")


class Exported(NamedTuple):
    """What a web tells."""

    kind: str
    labels: frozenset[str]


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Exported]:
    """Every series of a web where everything that is told apart by labels has happened once."""
    house = build(tmp_path_factory.mktemp("home"))
    house.services.meter.stage("look", 0.2)
    house.services.meter.count("retake", "blurred")
    house.services.meter.count("webhook", "failed")

    async def page() -> str:
        async with house.client(Scope.MEASURE) as client:
            return (await client.get("/metrics")).text

    families = text_string_to_metric_families(asyncio.run(page()))
    return {
        sample.name: Exported(family.type, frozenset(sample.labels)) for family in families for sample in family.samples
    }


def expressions() -> Iterator[tuple[str, str]]:
    for rule in RULES:
        yield rule.get("alert") or rule["record"], rule["expr"]
    for panel in DASHBOARD["panels"]:
        for target in panel.get("targets", ()):
            yield panel["title"], target["expr"]
    for variable in DASHBOARD["templating"]["list"]:
        if "definition" in variable:
            yield variable["name"], re.sub(r"label_values\((\w+), \w+\)", r"\1", variable["definition"])


def series(expression: str) -> list[tuple[str, frozenset[str]]]:
    """Names, with the labels that they are chosen by."""
    bare = re.sub(r"\b(by|on|without|ignoring)\s*\([^)]*\)", " ", expression)
    found = [(m[1], frozenset(re.findall(r"(\w+)\s*[=!]~?=?\s*\"", m[2] or ""))) for m in SELECTOR.finditer(bare)]
    return [(name, labels) for name, labels in found if name not in ("and", "or")]


def test_series_are_found_in_expressions() -> None:
    assert series('max by (a) (rate(b_total{job="x",c!="y"}[5m])) / sum(d) > 2') == [
        ("b_total", frozenset({"job", "c"})),
        ("d", frozenset()),
    ]


@pytest.mark.parametrize(("where", "expression"), list(expressions()))
def test_only_metrics_are_read_that_the_web_exports(where: str, expression: str, exported: dict[str, Exported]) -> None:
    read = [(name, labels) for name, labels in series(expression) if name not in PROMETHEUS_OWN]
    assert read or "up{" in expression
    for name, labels in read:
        assert name in exported, f"{where}: {name}"
        assert labels <= exported[name].labels | OF_SCRAPING
        is_rate = any(f"{function}{name}" in expression for function in FUNCTIONS_OF_COUNTERS)
        assert is_rate == (exported[name].kind in ("counter", "histogram")), f"{where}: {name} is a counter or not"


@pytest.mark.parametrize(("where", "expression"), list(expressions()))
def test_results_are_grouped_by_labels_that_there_are(
    where: str, expression: str, exported: dict[str, Exported]
) -> None:
    grouped = {label.strip() for labels in re.findall(r"\bby \(([^)]*)\)", expression) for label in labels.split(",")}
    known = {label for name, _ in series(expression) if name in exported for label in exported[name].labels}
    assert grouped <= known | OF_SCRAPING, where


def test_alerts_say_what_to_do_and_name_metrics_that_there_are(exported: dict[str, Exported]) -> None:
    alerts = [rule for rule in RULES if "alert" in rule]
    assert len(alerts) >= 8
    for rule in alerts:
        assert rule["labels"]["severity"] in {"critical", "warning", "info"}
        assert rule["annotations"]["description"].endswith(".")
        told = {r["record"] for r in RULES if "record" in r} | exported.keys()
        for named in re.findall(r"\b(?:assay:\w+:\w+|queue_depth|dlq_depth)\b", rule["annotations"]["description"]):
            assert named in told


def test_panels_have_places_of_their_own() -> None:
    panels = DASHBOARD["panels"]
    assert len({p["id"] for p in panels}) == len(panels)
    places = [(p["gridPos"]["x"], p["gridPos"]["y"]) for p in panels]
    assert len(set(places)) == len(places)
    assert all(p["gridPos"]["x"] + p["gridPos"]["w"] <= 24 for p in panels)


def test_prometheus_asks_the_page_of_metrics_with_the_least_key() -> None:
    (job,) = yaml.safe_load((FOLDER / "prometheus/scrape.yaml").read_text())["scrape_configs"]
    (page,) = [operation for operation in HEALTH if operation.path == job["metrics_path"]]
    assert Scope.MEASURE in page.scopes
    assert job["authorization"]["credentials_file"]
    assert all(f'job="{job["job_name"]}"' in rule["expr"] for rule in RULES)


def test_a_full_queue_is_told_before_the_settings_own_limit() -> None:
    (nearly_full,) = [rule for rule in RULES if rule.get("alert") == "AssayNearlyFull"]
    most = Settings(Path()).most_waiting
    assert f"> {most * 8 // 10}" in nearly_full["expr"]
    assert f"({most} unless changed" in nearly_full["annotations"]["description"]
