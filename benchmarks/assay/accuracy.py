"""How often Assay is right, on synthetic cases of styles that no network and no threshold has seen.

    python -m benchmarks.assay.accuracy --work build/accuracy

Draws the cases, enrols each style from genuine items, sets the thresholds on calibration styles and writes them to
models/assay/calibration.json, judges the test styles, and writes benchmarks/results/. Everything found on the way lies
in the folder --work, and is not done again. About 25 minutes on 2 idle cores, most of it drawing.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from time import monotonic

from assay.judging import write_calibration
from benchmarks.assay import accuracy_page, figures, heat_checks, networks, processes, records
from benchmarks.assay.accuracy_page import Baseline, Results
from benchmarks.assay.drawn_cases import REFERENCES, DrawnItem, Kind, claims_of, draw_all, items_of
from benchmarks.assay.figures import Method
from benchmarks.assay.heat_checks import Repair
from benchmarks.assay.networks import Home
from benchmarks.assay.product_scores import Batch
from benchmarks.assay.records import CaseRecord

RESULTS = Path(__file__).parents[1] / "results"
CALIBRATION_SEED, TEST_SEED = 11_000, 12_000  # training has 0 to 9,999, validation 10,000 to 10,999
CALIBRATION_CASES, TEST_CASES = 10, 8  # genuine ones of each style, and as many altered ones
UNKNOWN_CASES = 4  # genuine ones of each test style that are submitted as the next style
STRENGTHS = (0.5, 0.75, 1.5)
STRENGTH_STYLES = 8  # of the test styles
HEAT_STYLES = 6  # of the test styles


@dataclass(frozen=True)
class Plan:
    """One measurement."""

    work: Path
    calibration_styles: tuple[int, ...]
    test_styles: tuple[int, ...]

    @property
    def drawn(self) -> Path:
        return self.work / "drawn"

    @property
    def command(self) -> str:
        styles = f"--calibration-styles {len(self.calibration_styles)} --test-styles {len(self.test_styles)}"
        return f"python -m benchmarks.assay.accuracy --work build/accuracy {styles}"

    @property
    def styles(self) -> tuple[int, ...]:
        return (*self.calibration_styles, *self.test_styles)

    @property
    def items(self) -> Iterator[DrawnItem]:
        for seed in self.styles:
            yield from items_of(seed, Kind.REFERENCE, REFERENCES)
            yield from _cases_of(seed)
        for strength in STRENGTHS:
            for seed in self.test_styles[:STRENGTH_STYLES]:
                yield from items_of(seed, Kind.ALTERED, TEST_CASES, strength)
        for seed in self.test_styles[:HEAT_STYLES]:
            yield from items_of(seed, Kind.ALTERED, TEST_CASES, strength=0.0)


def main() -> None:
    plan = _plan()
    draw_all(plan.drawn, plan.items, _progress("drawing"))
    home = networks.product(plan.work)
    _enrol(plan, home, plan.styles)
    calibration_cases = _scored(plan, home, processes.score, plan.calibration_styles)
    calibration = figures.thresholds(calibration_cases, Method.PRODUCT, networks.digest(networks.MODELS / "photo.onnx"))
    write_calibration(networks.MODELS / "calibration.json", calibration)
    results = Results(
        command=plan.command,
        calibration=calibration,
        calibration_cases=calibration_cases,
        test_cases=_scored(plan, home, processes.score, plan.test_styles),
        unknown=_unknown(plan, home),
        strengths={strength: _strength(plan, home, strength) for strength in STRENGTHS},
        baselines=_baselines(plan),
        untrained=_untrained(plan),
        repairs=_repairs(plan, home),
    )
    page = RESULTS / f"{date.today().isoformat()}-assay-accuracy.md"
    page.write_text(accuracy_page.page(results))
    print(page)


def _plan() -> Plan:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.assay.accuracy", description=__doc__)
    parser.add_argument("--work", type=Path, required=True, help="folder of what is found on the way")
    parser.add_argument("--calibration-styles", type=int, default=40)
    parser.add_argument("--test-styles", type=int, default=32)
    arguments = parser.parse_args()
    return Plan(
        arguments.work,
        tuple(range(CALIBRATION_SEED, CALIBRATION_SEED + arguments.calibration_styles)),
        tuple(range(TEST_SEED, TEST_SEED + arguments.test_styles)),
    )


def _cases_of(style_seed: int) -> tuple[DrawnItem, ...]:
    count = CALIBRATION_CASES if style_seed < TEST_SEED else TEST_CASES
    return (*items_of(style_seed, Kind.GENUINE, count), *items_of(style_seed, Kind.ALTERED, count))


def _enrol(plan: Plan, home: Home, styles: Sequence[int]) -> None:
    """Every style from its reference items; those enrolled before stay as they are."""
    known = home.enrolled()
    absent = [seed for seed, claim in claims_of(styles).items() if claim not in known]
    what = f"{home.folder.name}, enrolling"
    _watch(what, processes.for_each(processes.enrol, absent, plan.drawn, home), len(absent))


def _scored(plan: Plan, home: Home, work: Callable[[Batch], None], styles: Sequence[int]) -> list[CaseRecord]:
    """The cases of these styles, each claimed as what it is."""
    return _done(plan, home, work, [_batch(home, "cases", seed, _cases_of(seed)) for seed in styles])


def _unknown(plan: Plan, home: Home) -> list[CaseRecord]:
    """Genuine items submitted as the next style."""
    styles = plan.test_styles
    batches = [
        Batch(items_of(seed, Kind.GENUINE, UNKNOWN_CASES), claimed, home.folder / "unknown" / f"{seed}.json")
        for seed, claimed in zip(styles, (*styles[1:], styles[0]), strict=True)
    ]
    return _done(plan, home, processes.score, batches)


def _strength(plan: Plan, home: Home, strength: float) -> list[CaseRecord]:
    """Altered items of some test styles, with defects of this strength."""
    styles = plan.test_styles[:STRENGTH_STYLES]
    items = {seed: items_of(seed, Kind.ALTERED, TEST_CASES, strength) for seed in styles}
    name = f"strength-{strength:g}"
    return _done(plan, home, processes.score, [_batch(home, name, seed, items[seed]) for seed in styles])


def _baselines(plan: Plan) -> dict[Method, Baseline]:
    homes = {
        Method.NEIGHBOUR: (networks.raw(plan.work), processes.compare_whole),
        Method.CLASSIFIER: (networks.classifier(plan.work), processes.classify),
    }
    return {
        method: Baseline(
            _scored(plan, home, work, plan.calibration_styles), _scored(plan, home, work, plan.test_styles)
        )
        for method, (home, work) in homes.items()
    }


def _untrained(plan: Plan) -> list[CaseRecord]:
    """Altered items of some test styles, enrolled and judged with random weights."""
    styles = plan.test_styles[:HEAT_STYLES]
    home = networks.untrained(plan.work)
    _enrol(plan, home, styles)
    batches = [_batch(home, "cases", seed, items_of(seed, Kind.ALTERED, TEST_CASES)) for seed in styles]
    return _done(plan, home, processes.score, batches)


def _repairs(plan: Plan, home: Home) -> list[Repair]:
    """Of the same items, by the trained network."""
    styles = plan.test_styles[:HEAT_STYLES]
    batches = [_batch(home, "repairs", seed, items_of(seed, Kind.ALTERED, TEST_CASES)) for seed in styles]
    _work_off(plan, home, processes.repair, batches)
    return [repair for batch in batches for repair in heat_checks.read(batch.file)]


def _batch(home: Home, name: str, style_seed: int, items: tuple[DrawnItem, ...]) -> Batch:
    return Batch(items, style_seed, home.folder / name / f"{style_seed}.json")


def _done(plan: Plan, home: Home, work: Callable[[Batch], None], batches: Sequence[Batch]) -> list[CaseRecord]:
    _work_off(plan, home, work, batches)
    return [record for batch in batches for record in records.read(batch.file)]


def _work_off(plan: Plan, home: Home, work: Callable[[Batch], None], batches: Sequence[Batch]) -> None:
    """What was done before is left as it is."""
    absent = [batch for batch in batches if not batch.file.exists()]
    what = f"{home.folder.name}, {work.__name__}"
    _watch(what, processes.for_each(work, absent, plan.drawn, home), len(absent))


def _progress(what: str) -> Callable[[int, int], None]:
    start = monotonic()

    def tell(done: int, total: int) -> None:
        if done % 10 == 0 or done == total:
            print(f"{what}: {done} of {total}, {monotonic() - start:.0f} s", flush=True)

    return tell


def _watch(what: str, work: Iterable[int], total: int) -> None:
    tell = _progress(what)
    for done in work:
        tell(done, total)


if __name__ == "__main__":
    main()
