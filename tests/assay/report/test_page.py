import base64
import hashlib
import json
import re
from html import unescape
from html.parser import HTMLParser

import pytest
import segno

from assay.cases import Verdict
from assay.imaging.heat import overlay
from assay.report.canonical import canonical
from assay.report.document import Decision
from assay.report.page import content_security_policy, html, verification_page
from assay.report.signing import issue
from assay.report.verification import verify
from assay.report.wording import PHRASES

VERIFY_URL = "https://assay.example/verify/rep-01"
HOSTILE = """<script>alert("1")</script>' onload=x {{ 7*7 }}"""
COMPARED = (Verdict.CONSISTENT, Verdict.INCONCLUSIVE, Verdict.NOT_CONSISTENT)


class Outline(HTMLParser):
    """Tags with their attributes, and all the text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag, attrs) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data

    def attributes(self, tag: str, name: str) -> list[str]:
        return [found[name] or "" for kind, found in self.tags if kind == tag and name in found]


def page_of(issued, **options) -> str:
    return html(issued.document, issued.picture, VERIFY_URL, **options)


@pytest.mark.parametrize("verdict", Verdict)
def test_every_verdict_has_its_page(reported, verdict) -> None:
    issued = reported(verdict)
    outline = Outline(page_of(issued))
    assert PHRASES[verdict].headline in outline.text
    assert PHRASES[verdict].meaning in outline.text
    assert f" {PHRASES[verdict].tone}" in " ".join(outline.attributes("div", "class"))
    for stated in ("Maison Arcel", "Tote 32", "Papers and receipts.", "How to appeal", "AI-assisted", "c4" * 32):
        assert stated in outline.text
    assert ("97 %" in outline.text) == (verdict in (Verdict.CONSISTENT, Verdict.NOT_CONSISTENT))
    assert ("Heat map" in outline.text) == (verdict in COMPARED)


@pytest.mark.parametrize("verdict", Verdict)
def test_no_page_calls_an_item_a_fake(reported, signer, verdict) -> None:
    issued = reported(verdict)
    pages = page_of(issued) + verification_page(verify(issued.document, signer.keys), True, "rep-01")
    assert "fake" not in Outline(pages).text.lower()


def test_the_page_is_the_same_text_each_time(reported) -> None:
    assert page_of(reported()) == page_of(reported())


def test_a_hostile_claim_is_text(reported) -> None:
    page = page_of(reported(brand=HOSTILE, model=HOSTILE), notice=HOSTILE)
    outline = Outline(page)
    assert outline.text.count(HOSTILE) == 5  # brand and model in title and banner, and the notice
    assert "script" not in {tag for tag, _ in outline.tags}
    assert not any(name.startswith("on") for _, found in outline.tags for name in found)
    assert "<script" not in page


def test_nothing_is_fetched_and_the_policy_allows_what_there_is(reported) -> None:
    page = page_of(reported())
    outline = Outline(page)
    assert all(source.startswith("data:image/jpeg;base64,") for source in outline.attributes("img", "src"))
    assert not {tag for tag, _ in outline.tags} & {"script", "link", "iframe", "object"}
    assert not any("style" in found for _, found in outline.tags)
    style = re.search(r"<style>(.*?)</style>", page, re.DOTALL)
    assert style is not None
    assert "url(" not in style[1]
    digest = base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode()
    assert f"'sha256-{digest}'" in content_security_policy()
    assert content_security_policy() in outline.attributes("meta", "content")


def test_pictures_are_those_of_the_document(reported) -> None:
    issued = reported()
    shown = [base64.b64decode(source.partition(",")[2]) for source in Outline(page_of(issued)).attributes("img", "src")]
    expected = []
    for view in json.loads(issued.document)["result"]["views"]:
        photo = issued.pictures[view["photo"]["picture_sha256"]]
        heat = overlay(photo, issued.pictures[view["heat_map"]["sha256"]])
        expected += [photo, heat, issued.pictures[view["judged"]["nearest"][0]["picture_sha256"]]]
    assert shown == expected


def test_every_picture_is_described(reported) -> None:
    descriptions = Outline(page_of(reported())).attributes("img", "alt")
    assert len(descriptions) == len(set(descriptions)) == 18
    assert all(len(description) > 20 for description in descriptions)


def test_erased_pictures_are_said_to_be_gone(reported) -> None:
    outline = Outline(html(reported().document, lambda _: None, VERIFY_URL))
    assert outline.text.count("This picture is no longer kept.") == 18
    assert not outline.attributes("img", "src")


@pytest.mark.parametrize("verdict", [Verdict.NOT_SUPPORTED, Verdict.NEEDS_PHOTOS])
def test_a_case_without_a_score_shows_no_comparison(reported, verdict) -> None:
    issued = reported(Verdict.CONSISTENT)
    report = json.loads(issued.document)
    report["result"] |= {"verdict": verdict.value, "score": None, "confidence": None}
    outline = Outline(html(canonical(report), issued.picture, VERIFY_URL))
    assert len(outline.attributes("img", "src")) == 6
    assert not {"Heat map", "Nearest genuine reference", "Score"} & set(outline.text.split("\n"))


def test_missing_and_unusable_photographs_come_with_advice(reported) -> None:
    text = Outline(page_of(reported(Verdict.NEEDS_PHOTOS))).text
    assert "Take again: Not sharp" in text
    assert "Hold the camera still and tap the logo to focus." in text
    assert text.count("Missing") == 2
    assert "every character readable" in text


def test_the_qr_code_is_that_of_the_address(reported) -> None:
    path = next(path for path in Outline(page_of(reported())).attributes("path", "d") if path.startswith("M0 0h7v1"))
    drawn = {
        (int(x) + step, int(y))
        for x, y, length in re.findall(r"M(\d+) (\d+)h(\d+)v1h-\d+z", path)
        for step in range(int(length))
    }
    matrix = segno.make(VERIFY_URL, error="m", micro=False).matrix
    assert drawn == {(x, y) for y, row in enumerate(matrix) for x, module in enumerate(row) if module}


def test_the_score_is_drawn_where_it_lies(reported) -> None:
    issued = reported(Verdict.NOT_CONSISTENT)
    shown = json.loads(issued.document)["result"]["versions"]["calibration"]["distribution"]
    expected = 440 * (7.9 - shown["low"]) / (shown["high"] - shown["low"])
    (mark,) = [found for tag, found in Outline(page_of(issued)).tags if found.get("class") == "mark"]
    assert float(mark["x1"] or 0) == pytest.approx(expected, abs=0.01)
    assert "this item: 7.90" in Outline(page_of(issued)).text


def test_a_threshold_that_no_score_reaches_is_said_so(reported) -> None:
    issued = reported()
    report = json.loads(issued.document)
    report["result"]["versions"]["calibration"]["accept_below"] = None
    text = Outline(html(canonical(report), issued.picture, VERIFY_URL)).text
    assert "no score: too few calibration cases" in text
    assert "consistent up to" not in text


def test_a_decision_by_people_counts(reported) -> None:
    issued = reported(Verdict.NOT_CONSISTENT)
    decision = Decision(Verdict.CONSISTENT, "Ana <b>", issued.findings.case.created_at, "Seen & compared.", opinions=2)
    outline = Outline(page_of(issued, decision=decision))
    assert "CONSISTENT, decided by Ana <b>" in outline.text
    assert "from 2 independent opinions. The automatic verdict was NOT CONSISTENT" in outline.text
    assert "Seen & compared." in outline.text
    assert "banner consistent" in outline.attributes("div", "class")


def luminance(colour: str) -> float:
    """Relative, of '#rrggbb', as WCAG 2 defines it."""
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def test_text_can_be_read_on_its_ground(reported) -> None:
    page = page_of(reported())
    pairs = re.findall(r"--tone: (#\w{6}); --tint: (#\w{6})", page)
    colours = dict(re.findall(r"--(ink|soft|paper|panel|gold): (#\w{6})", page))
    pairs += [(colours[text], colours[ground]) for text in ("ink", "soft", "gold") for ground in ("paper", "panel")]
    assert len(pairs) == 12
    for text, ground in pairs:
        dark, light = luminance(text), luminance(ground)
        assert (light + 0.05) / (dark + 0.05) >= 4.5, (text, ground)


def test_a_limited_validity_is_shown(reported, signer) -> None:
    issued = reported()
    until = issued.findings.case.created_at.replace(year=2027)
    document = issue(issued.findings, "rep-02", until, (), signer, valid_until=until)
    assert "valid until 21 November 2027, 16:38 UTC" in Outline(html(document, issued.picture, VERIFY_URL)).text


def test_a_notice_stands_above_all(reported) -> None:
    notice = "Synthetic demonstration images"
    assert unescape(page_of(reported(), notice=notice)).index(notice) < page_of(reported()).index("<header")
    assert 'role="note"' not in page_of(reported())


def test_the_verification_page_shows_neither_claim_nor_photographs(reported, signer) -> None:
    issued = reported(Verdict.NOT_CONSISTENT)
    outline = Outline(verification_page(verify(issued.document, signer.keys), True, "rep-01", "/verify"))
    assert "This report was issued here and is unchanged" in outline.text
    assert "NOT CONSISTENT" in outline.text
    assert json.loads(issued.document)["result_sha256"] in outline.text
    assert "Maison Arcel" not in outline.text
    assert not outline.attributes("img", "src")
    assert outline.attributes("form", "action") == ["/verify"]


@pytest.mark.parametrize(
    ("change", "stored", "said"),
    [
        ((b"rep-01", b"rep-02"), True, "The content was changed after it was signed"),
        ((b"{", b" {"), True, "written otherwise than it was issued"),
        ((b"rep-01", b"rep-01"), False, "is not the report kept under its number"),
    ],
)
def test_the_verification_page_says_what_is_wrong(reported, signer, change, stored, said) -> None:
    verified = verify(reported().document.replace(*change, 1), signer.keys)
    text = Outline(verification_page(verified, stored, "rep-01")).text
    assert "This report cannot be relied on" in text
    assert said in text
    assert "CONSISTENT" not in text


def test_an_unknown_report_is_said_to_be_unknown() -> None:
    text = Outline(verification_page(None, False, HOSTILE)).text
    assert "No report of this number is known" in text
    assert HOSTILE in text


def test_before_anything_is_asked_the_page_offers_to_verify_a_file() -> None:
    outline = Outline(verification_page(None, False, "", "/verify"))
    assert "Is this report genuine?" in outline.text
    assert "known" not in outline.text
    assert outline.attributes("form", "action") == ["/verify"]


def test_a_file_that_is_no_report_is_said_to_be_none(signer) -> None:
    text = Outline(verification_page(verify(b"[]", signer.keys), False, "", "/verify")).text
    assert "The document is not a report; expected JSON of format assay-report/1." in text
    assert "Details" not in text
