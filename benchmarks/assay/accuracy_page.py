"""The page of results."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date

from assay.cases import Verdict
from assay.judging import metrics
from assay.judging.judge import verdict_of
from assay.judging.judgement import Calibration
from assay.judging.scoring import WEIGHTS, Weights
from assay.synthetic import Defect
from assay.views import VIEWS
from assay.vision.lens import GRID
from benchmarks.assay import figures
from benchmarks.assay.drawn_cases import REFERENCES, SIZES_PX, size_of
from benchmarks.assay.figures import FALSE_ACCEPT, FALSE_REJECT, Cases, Interval, Method
from benchmarks.assay.heat_checks import TAKEN_BACK, Repair, taken_away
from benchmarks.assay.records import CaseRecord

COVERAGES = (0.5, 0.7, 0.8, 0.9, 0.95, 1.0)
METRICS, SHARPNESSES = (0.0, 0.25, 0.5, 0.75, 1.0), (0.5, 1.0, 2.0, 4.0)  # weights that are tried


@dataclass(frozen=True)
class Baseline:
    """A method with scores of its own for the same cases."""

    calibration_cases: Cases
    test_cases: Cases


@dataclass(frozen=True)
class Results:
    """All that was found."""

    command: str
    calibration: Calibration
    calibration_cases: Cases
    test_cases: Cases
    unknown: Cases  # genuine items of another model than the claimed one
    strengths: Mapping[float, Cases]  # altered cases of some test styles
    baselines: Mapping[Method, Baseline]
    untrained: Cases  # altered cases of some test styles, seen by random weights
    repairs: Sequence[Repair]


def page(results: Results) -> str:
    sections = (_head, _comparison, _verdicts, _coverage, _defects, _views, _strengths, _heat, _sizes, _weights)
    return "\n".join(section(results) for section in sections)


def _head(results: Results) -> str:
    calibration, test = results.calibration_cases, results.test_cases
    sizes = " and ".join(str(size) for size in sorted(set(SIZES_PX)))
    return f"""# Assay's accuracy on synthetic cases, {date.today().isoformat()}

`{results.command}`

Every photograph is drawn by `assay.synthetic`; none shows a real object. {_styles(test)} test styles with {len(test)}
cases and {_styles(calibration)} calibration styles with {len(calibration)} cases, half of them genuine, half altered in
one to three of their six views; no network was trained or chosen on either. Each style was enrolled from {REFERENCES}
genuine items. Photographs are JPEG files of {sizes} pixels and go through the product's own reading, quality gate,
engines, references and scoring. Thresholds come from the calibration cases alone, as `assay calibrate` sets them.
Intervals are of 95 %; those of AUROC come from drawing the test styles again {figures.RESAMPLES} times, those of shares
are Wilson's, which take cases as independent.

Photo network `{results.calibration.model_digest[:16]}`, thresholds `{results.calibration.digest[:16]}`.
"""


def _styles(cases: Cases) -> int:
    return len({case.style_seed for case in cases})


def _comparison(results: Results) -> str:
    own = Baseline(results.calibration_cases, results.test_cases)
    methods = dict.fromkeys((Method.PRODUCT, Method.ONE_CLASS, Method.METRIC), own) | dict(results.baselines)
    table = _table(
        ("", "AUROC of cases", "of photographs", "altered called CONSISTENT", "genuine called NOT CONSISTENT",
         "decided", "pointing"),
        [_method_row(method, its) for method, its in methods.items()],
    )  # fmt: skip
    return f"""## Beside two baselines

The same photographs, and thresholds for the same promises from the same calibration cases: of altered cases at most
{_percent(FALSE_ACCEPT)} called CONSISTENT, of genuine ones at most {_percent(FALSE_REJECT)} NOT CONSISTENT. Here every
case counts, those too that the quality gate would send back. Decided: all but INCONCLUSIVE.

{table}

The first baseline takes the whole photograph's embedding from a backbone that learned to tell styles and views apart,
and its distance to the nearest of the {REFERENCES} references in deviations of the references among each other. The
second was trained on labelled genuine and altered photographs of the training styles and looks at no reference.
"""


def _method_row(method: Method, its: Baseline) -> tuple[str, ...]:
    made = figures.thresholds(its.calibration_cases, method)
    genuine, altered = (
        [verdict_of(score, made) for score in scores] for scores in figures.case_scores(its.test_cases, method)
    )
    photos = figures.altered_photos(its.test_cases)
    good = [photo for view in VIEWS for photo in figures.genuine_photos(its.test_cases, view)]
    has_map = photos[0].points is not None and method is not Method.METRIC
    return (
        method.value,
        _figure(figures.over_styles(its.test_cases, lambda cases: figures.case_auroc(cases, method))),
        f"{figures.photo_auroc(good, photos, method):.3f}",
        _share(altered.count(Verdict.CONSISTENT), len(altered)),
        _share(genuine.count(Verdict.NOT_CONSISTENT), len(genuine)),
        _share(sum(v is not Verdict.INCONCLUSIVE for v in (*genuine, *altered)), len(genuine) + len(altered)),
        f"{figures.pointing(photos).hits:.3f}" if has_map else "no map",
    )


def _verdicts(results: Results) -> str:
    genuine = [case for case in results.test_cases if not case.is_altered]
    altered = [case for case in results.test_cases if case.is_altered]
    groups = {
        "genuine": _counted(genuine, results.calibration),
        "altered": _counted(altered, results.calibration),
        "another model, itself enrolled": _counted(results.unknown, results.calibration),
        "another model, not enrolled": _counted(map(_not_enrolled, results.unknown), results.calibration),
    }
    rows = [(name, str(sum(found.values())), *(str(found[v]) for v in Verdict)) for name, found in groups.items()]
    accepted, rejected = groups["altered"][Verdict.CONSISTENT], groups["genuine"][Verdict.NOT_CONSISTENT]
    faults = Counter(fault for case in results.test_cases for fault in case.faults)
    return f"""## Verdicts

CONSISTENT up to {results.calibration.accept_below:.3f}, NOT CONSISTENT from {results.calibration.reject_above:.3f},
NOT SUPPORTED from an unfamiliarity of {results.calibration.unknown_above:.2f} on.

{_table(("cases", "", *(verdict.value for verdict in Verdict)), rows)}

Altered called CONSISTENT: {_share(accepted, len(altered))}; genuine called NOT CONSISTENT:
{_share(rejected, len(genuine))}; promised at most {_percent(FALSE_ACCEPT)} and
{_percent(FALSE_REJECT)}. All photographs were taken
in good conditions; what the quality gate holds against them is a loss: {_counts(faults) or "nothing"}. Another model is
a genuine item of one test style that was submitted as the next style.
"""


def _counted(cases: Iterable[CaseRecord], calibration: Calibration) -> Counter[Verdict]:
    return Counter(figures.verdict(case, calibration) for case in cases)


def _not_enrolled(case: CaseRecord) -> CaseRecord:
    """The case, had its true model no references."""
    return replace(case, is_other_model=case.is_third_model)


def _coverage(results: Results) -> str:
    risks = figures.risk_at(results.test_cases, results.calibration, COVERAGES)
    rows = [("wrong", *(_percent(risk) for risk in risks))]
    return f"""## Risk and coverage

When the surest part of the test cases is decided, by the likelier of both explanations, and the rest is left to people:

{_table(("decided", *(_percent(coverage) for coverage in COVERAGES)), rows)}
"""


def _defects(results: Results) -> str:
    rows = [_defect_row(results, defect) for defect in Defect if figures.photos_with(results.test_cases, defect)]
    head = ("defect", "view", "photographs", "AUROC", "its cases called CONSISTENT", "pointing", "chance",
            "within a patch", "chance")  # fmt: skip
    return f"""## By defect

AUROC of photographs with the defect against genuine ones of the view. Pointing: the map's peak lies on altered pixels,
or within one patch ({_percent(1 / GRID)} of the photograph's side) of them; chance is what a random place would hit.

{_table(head, rows)}
"""


def _defect_row(results: Results, defect: Defect) -> tuple[str, ...]:
    photos = figures.photos_with(results.test_cases, defect)
    good = figures.genuine_photos(results.test_cases, defect.view)
    cases = [case for case in results.test_cases if defect.value in case.defects]
    consistent = _counted(cases, results.calibration)[Verdict.CONSISTENT]
    return (
        _words(defect.value),
        defect.view.title,
        str(len(photos)),
        f"{figures.photo_auroc(good, photos, Method.PRODUCT):.3f}",
        f"{consistent} of {len(cases)}",
        *(f"{value:.2f}" for value in figures.pointing(photos)),
    )


def _views(results: Results) -> str:
    rows = [
        (
            view.title,
            str(len(altered := figures.altered_photos(results.test_cases, view))),
            *(f"{figures.photo_auroc(figures.genuine_photos(results.test_cases, view), altered, m):.3f}"
              for m in (Method.PRODUCT, Method.ONE_CLASS, Method.METRIC)),
        )
        for view in VIEWS
    ]  # fmt: skip
    return f"""## By view, and by how many views are altered

{_table(("view", "altered photographs", "AUROC", "patches alone", "embedding alone"), rows)}

{_table(("altered views", "cases", "AUROC of cases"), [_number_row(results, number) for number in (1, 2, 3)])}
"""


def _number_row(results: Results, number: int) -> tuple[str, ...]:
    altered = [case for case in results.test_cases if len(case.defects) == number]
    genuine = [case for case in results.test_cases if not case.is_altered]
    return str(number), str(len(altered)), f"{figures.case_auroc([*genuine, *altered], Method.PRODUCT):.3f}"


def _strengths(results: Results) -> str:
    styles = {case.style_seed for cases in results.strengths.values() for case in cases}
    same = [case for case in results.test_cases if case.style_seed in styles]
    genuine = [case for case in same if not case.is_altered]
    swept = {**results.strengths, 1.0: [case for case in same if case.is_altered]}
    rows = [_strength_row(results, strength, genuine, swept[strength]) for strength in sorted(swept)]
    head = ("strength", "cases", "AUROC of cases", *(v.value for v in _SCORED))
    return f"""## By strength of the alteration

The same items of {len(styles)} test styles, their defects scaled. 1 is what all other figures are of; at 0.5 some
defects are no larger than twice the tolerance of genuine items.

{_table(head, rows)}
"""


_SCORED = (Verdict.CONSISTENT, Verdict.INCONCLUSIVE, Verdict.NOT_CONSISTENT)


def _strength_row(results: Results, strength: float, genuine: Cases, altered: Cases) -> tuple[str, ...]:
    found = _counted(altered, results.calibration)
    auroc = figures.case_auroc([*genuine, *altered], Method.PRODUCT)
    return f"{strength:g}", str(len(altered)), f"{auroc:.3f}", *(str(found[verdict]) for verdict in _SCORED)


def _heat(results: Results) -> str:
    styles = {case.style_seed for case in results.untrained}
    same = [case for case in results.test_cases if case.is_altered and case.style_seed in styles]
    seen = {"trained": figures.altered_photos(same), "random weights": figures.altered_photos(results.untrained)}
    rows = [(name, str(len(photos)), *(f"{v:.2f}" for v in figures.pointing(photos))) for name, photos in seen.items()]
    hottest, elsewhere = (taken_away(results.repairs, name) for name in ("hottest", "elsewhere"))
    return f"""## Whether heat maps are to be believed

{_table(("weights", "altered photographs", "pointing", "chance", "within a patch", "chance"), rows)}

A map that only followed edges and textures would point as well with random weights. And the map shows what the score
rests on: where the hottest {_percent(TAKEN_BACK)} of an altered photograph are given the pixels of the same item
before it was altered, {_percent(hottest)} of what altering had added to its score are gone; an area of the same size
and shape half the photograph away takes {_percent(elsewhere)} ({len(results.repairs)} photographs).
"""


def _sizes(results: Results) -> str:
    rows = [_size_row(results, size_px) for size_px in sorted(set(SIZES_PX))]
    head = ("pixels", "test cases", "AUROC", "genuine called NOT CONSISTENT", "the same of calibration cases")
    return f"""## By size of the photographs

References and cases have both sizes, one item in four the larger one.

{_table(head, rows)}
"""


def _size_row(results: Results, size_px: int) -> tuple[str, ...]:
    test, calibration = (
        [case for case in cases if size_of(case.number) == size_px]
        for cases in (results.test_cases, results.calibration_cases)
    )
    auroc = figures.case_auroc(test, Method.PRODUCT)
    rejected = (_rejected(test, results.calibration), _rejected(calibration, results.calibration))
    return str(size_px), str(len(test)), f"{auroc:.3f}", *rejected


def _rejected(cases: Cases, calibration: Calibration) -> str:
    genuine = [case for case in cases if not case.is_altered]
    return _share(_counted(genuine, calibration)[Verdict.NOT_CONSISTENT], len(genuine))


def _weights(results: Results) -> str:
    tried = [Weights(1.0, metric, sharpness) for metric in METRICS for sharpness in SHARPNESSES]
    return f"""## How the parts of a score are weighed

A case's score is the soft maximum over its views of the patches' deviations times {WEIGHTS.one_class:g} and the
embedding's times {WEIGHTS.metric:g}, of sharpness {WEIGHTS.sharpness:g}. Other weights, on the calibration cases alone,
INCONCLUSIVE by the thresholds that the same cases set:

{_table(("embedding's weight", "sharpness", "AUROC of cases", "INCONCLUSIVE"), [_tried_row(results, w) for w in tried])}
"""


def _tried_row(results: Results, weights: Weights) -> tuple[str, ...]:
    cases = results.calibration_cases
    auroc = metrics.auroc(*figures.case_scores(cases, Method.PRODUCT, weights))
    inconclusive = figures.undecided(cases, weights)
    return f"{weights.metric:g}", f"{weights.sharpness:g}", f"{auroc:.4f}", _percent(inconclusive)


def _figure(interval: Interval, form: Callable[[float], str] = "{:.3f}".format) -> str:
    return f"{form(interval.value)} ({form(interval.low)} to {form(interval.high)})"


def _share(count: int, total: int) -> str:
    return f"{count} of {total}, {_figure(figures.share(count, total), _percent)}"


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _counts(found: Counter[str]) -> str:
    return ", ".join(f"{_words(name)} {count} times" for name, count in found.most_common())


def _words(name: str) -> str:
    return name.replace("_", " ")


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = (head, ["---"] * len(head), *rows)
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
