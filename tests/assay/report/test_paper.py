import re
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO

import pypdf
import pytest
import segno

from assay.cases import Verdict
from assay.report.document import Decision
from assay.report.paper import pdf
from assay.report.wording import PHRASES

VERIFY_URL = "https://assay.example/verify/rep-01"


def paper_of(issued, **options) -> pypdf.PdfReader:
    return pypdf.PdfReader(BytesIO(pdf(issued.document, issued.picture, VERIFY_URL, **options)))


def text_of(paper: pypdf.PdfReader) -> str:
    """With every run of white space as one space: lines are broken anywhere."""
    return re.sub(r"\s+", " ", " ".join(page.extract_text() for page in paper.pages))


@pytest.mark.parametrize("verdict", Verdict)
def test_every_verdict_has_its_paper(reported, verdict) -> None:
    paper = paper_of(reported(verdict))
    text = text_of(paper)
    assert 2 <= len(paper.pages) <= 4
    for stated in (verdict.value, PHRASES[verdict].headline, PHRASES[verdict].meaning, "Maison Arcel", "Tote 32"):
        assert stated in text
    for stated in ("Papers and receipts.", "How to appeal", "AI-assisted", "at most 2 %", VERIFY_URL, "Page 1"):
        assert stated in text
    assert "c4" * 32 in text.replace(" ", "")
    assert "fake" not in text.lower()


def test_the_paper_is_the_same_bytes_each_time(reported) -> None:
    issued = reported()
    assert pdf(issued.document, issued.picture, VERIFY_URL) == pdf(issued.document, issued.picture, VERIFY_URL)


def test_photograph_heat_map_and_reference_of_each_view_are_in_it(reported) -> None:
    assert sum(len(page.images) for page in paper_of(reported()).pages) == 18
    assert sum(len(page.images) for page in paper_of(reported(Verdict.NEEDS_PHOTOS)).pages) == 4


def test_erased_pictures_are_said_to_be_gone(reported) -> None:
    paper = pypdf.PdfReader(BytesIO(pdf(reported().document, lambda _: None, VERIFY_URL)))
    assert text_of(paper).count("no longer kept") == 18
    assert not any(page.images for page in paper.pages)


def test_a_hostile_claim_is_text(reported) -> None:
    hostile = "<b>&amp;</b><img src='x'/>"
    assert hostile in text_of(paper_of(reported(brand=hostile), notice=hostile))


def test_characters_that_the_fonts_lack_are_escaped(reported) -> None:
    text = text_of(paper_of(reported(brand="Hermès 中")))
    assert "Hermès \\u4e2d" in text


def test_a_decision_and_a_notice_are_shown(reported) -> None:
    issued = reported(Verdict.NOT_CONSISTENT)
    decision = Decision(Verdict.INCONCLUSIVE, "Ana", issued.findings.case.created_at, "An early edition.", opinions=3)
    text = text_of(paper_of(issued, decision=decision, notice="Synthetic demonstration images"))
    for stated in ("INCONCLUSIVE, decided by Ana", "from 3 independent opinions", "An early edition."):
        assert stated in text
    assert "The automatic verdict was NOT CONSISTENT" in text
    assert "Synthetic demonstration images" in text


def test_the_longest_claim_and_a_long_note_fit(reported) -> None:
    issued = reported(brand="W" * 80, model="Wo " * 26)
    decision = Decision(Verdict.CONSISTENT, "Ana", issued.findings.case.created_at, "Compared in hand. " * 600)
    text = text_of(paper_of(issued, decision=decision))
    assert "W" * 80 in text.replace(" ", "")
    assert text.count("Compared in hand.") == 600


def test_papers_drawn_at_once_are_the_same(reported) -> None:
    issued = reported()
    with ThreadPoolExecutor(4) as pool:
        papers = set(pool.map(lambda _: pdf(issued.document, issued.picture, VERIFY_URL), range(8)))
    assert len(papers) == 1


def test_missing_and_unusable_photographs_come_with_advice(reported) -> None:
    text = text_of(paper_of(reported(Verdict.NEEDS_PHOTOS)))
    assert "Take again: Not sharp" in text
    assert "Hold the camera still and tap the logo to focus." in text
    assert "every character readable" in text


def test_the_qr_code_is_drawn_as_vectors(reported) -> None:
    matrix = segno.make(VERIFY_URL, error="m", micro=False).matrix
    module = 96 / (len(matrix) + 8)
    content = paper_of(reported()).pages[-1].get_contents()
    assert content is not None
    found = re.findall(rb"([\d.]+) ([\d.]+) ([\d.]+) ([\d.]+) re", content.get_data())
    drawn = {
        (round(x / module) - 4 + step, round((96 - y) / module) - 5)
        for x, y, width, height in (map(float, rectangle) for rectangle in found)
        if height == pytest.approx(module, abs=1e-3)
        for step in range(round(width / module))
    }
    assert drawn == {(x, y) for y, row in enumerate(matrix) for x, dark in enumerate(row) if dark}
