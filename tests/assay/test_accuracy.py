"""The networks that are shipped tell altered items from genuine ones, through the path that measures their accuracy."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path

import pytest
from benchmarks.assay import figures, networks
from benchmarks.assay.drawn_cases import REFERENCES, Kind, defects_of, draw_all, items_of
from benchmarks.assay.figures import Method
from benchmarks.assay.product_scores import Batch, Instruments, enrol_style, instruments, score_batch
from benchmarks.assay.records import CaseRecord, read, write

from assay.judging import calibrate, read_calibration
from assay.judging.calibration import FAMILIAR
from assay.judging.metrics import auroc

STYLE = 13_000  # no training, calibration or test of accuracy has it
CASES = 3  # genuine ones, and as many altered ones
ITEMS = (*items_of(STYLE, Kind.GENUINE, CASES), *items_of(STYLE, Kind.ALTERED, CASES))


@pytest.fixture(scope="module")
def accuracy_instruments(tmp_path_factory: pytest.TempPathFactory) -> Generator[Instruments]:
    work = tmp_path_factory.mktemp("accuracy")
    draw_all(work / "drawn", (*items_of(STYLE, Kind.REFERENCE, REFERENCES), *ITEMS), lambda done, total: None)
    its = instruments(work / "drawn", networks.product(work))
    enrol_style(its, STYLE)
    yield its
    its.close()


@pytest.fixture(scope="module")
def judged_cases(accuracy_instruments: Instruments) -> list[CaseRecord]:
    return score_batch(accuracy_instruments, Batch(ITEMS, STYLE, Path("unwritten")))


def test_altered_cases_score_higher_than_genuine_ones(judged_cases: list[CaseRecord]) -> None:
    genuine, altered = figures.case_scores(judged_cases, Method.PRODUCT)
    assert (len(genuine), len(altered)) == (CASES, CASES)
    assert auroc(genuine, altered) >= 0.85


def test_altered_photographs_stand_out_and_their_maps_point_at_what_was_altered(judged_cases: list[CaseRecord]) -> None:
    altered = figures.altered_photos(judged_cases)
    untouched = [photo for case in judged_cases for photo in case.photos if not photo.defects]
    assert figures.photo_auroc(untouched, altered, Method.PRODUCT) >= 0.85
    found = figures.pointing(altered)
    assert found.hits_beside >= 0.8 > found.chance_beside


def test_good_photographs_of_the_claimed_model_pass_all_gates(judged_cases: list[CaseRecord]) -> None:
    assert [case.faults for case in judged_cases] == [()] * (2 * CASES)
    assert not any(case.is_other_model or case.is_third_model for case in judged_cases)


def test_records_say_which_defects_were_drawn(
    accuracy_instruments: Instruments, judged_cases: list[CaseRecord]
) -> None:
    for item, case in zip(ITEMS, judged_cases, strict=True):
        drawn = [d.value for defects in defects_of(accuracy_instruments.drawn, item).values() for d in defects]
        assert sorted(case.defects) == sorted(drawn)
        assert case.is_altered == bool(drawn)


def test_records_are_read_as_they_were_written(tmp_path: Path, judged_cases: list[CaseRecord]) -> None:
    write(tmp_path / "cases.json", judged_cases)
    assert read(tmp_path / "cases.json") == judged_cases


def test_the_shipped_thresholds_are_of_the_shipped_network_and_promise_what_its_documentation_says() -> None:
    shipped = read_calibration(networks.MODELS / "calibration.json")
    assert shipped.model_digest == networks.digest(networks.MODELS / "photo.onnx")
    assert (shipped.false_accept_rate, shipped.false_reject_rate, shipped.assurance) == (0.05, 0.02, 0.95)
    assert (len(shipped.genuine_scores), len(shipped.altered_scores)) == (400, 400)
    assert shipped == calibrate(
        shipped.genuine_scores, shipped.altered_scores, [FAMILIAR], shipped.model_digest, 0.05, 0.02, 0.95
    )
