"""The report as a PDF for printing and filing: what the page shows, on A4. The same arguments give the same bytes."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from io import BytesIO
from typing import Any
from xml.sax.saxutils import escape

from reportlab.lib.colors import HexColor
from reportlab.lib.pagesizes import A4
from reportlab.lib.styles import ParagraphStyle
from reportlab.pdfbase.pdfmetrics import stringWidth
from reportlab.pdfgen.canvas import Canvas
from reportlab.platypus import (
    BaseDocTemplate,
    CondPageBreak,
    Flowable,
    Frame,
    KeepTogether,
    PageTemplate,
    Paragraph,
    Spacer,
    Table,
)

from assay.imaging.heat import overlay
from assay.report import qr, sheet
from assay.report.document import Decision
from assay.report.drawings import (
    BOLD,
    INK,
    LINE,
    MONO,
    PANEL,
    SANS,
    SERIF,
    SOFT,
    WHITE,
    Picture,
    Qr,
    Ramp,
    ScaleDrawing,
    Seal,
)
from assay.report.sheet import Asked, Card, Group, Note, Sheet, read_sheet

MARGIN = 38.0
WIDTH, HEIGHT = A4
INNER = WIDTH - 2 * MARGIN
PICTURE, GAP = 84.0, 12.0
TONES = {  # of a verdict: its colour, and the ground behind it
    "consistent": (HexColor("#1d5a41"), HexColor("#edf4ee")),
    "inconclusive": (HexColor("#7a4f00"), HexColor("#faf4e4")),
    "not-consistent": (HexColor("#86202f"), HexColor("#f9efee")),
    "not-supported": (HexColor("#3d4752"), HexColor("#eff1f3")),
    "needs-photos": (HexColor("#24507f"), HexColor("#edf2f8")),
}
STYLES = {
    "body": ParagraphStyle("body", fontName=SANS, fontSize=9, leading=13.5, textColor=INK),
    "small": ParagraphStyle("small", fontName=SANS, fontSize=7.2, leading=9.6, textColor=SOFT),
    "figure": ParagraphStyle("figure", fontName=SANS, fontSize=7.2, leading=9.6, textColor=INK, alignment=2),
    "caps": ParagraphStyle("caps", fontName=SANS, fontSize=6.6, leading=9, textColor=SOFT),
    "mono": ParagraphStyle("mono", fontName=MONO, fontSize=6.8, leading=8.8, textColor=INK),
    "section": ParagraphStyle("section", fontName=SERIF, fontSize=16, leading=20, textColor=INK),
    "title": ParagraphStyle("title", fontName=SERIF, fontSize=12, leading=15, textColor=INK),
    "headline": ParagraphStyle("headline", fontName=SERIF, fontSize=25, leading=29, textColor=INK),
    "number": ParagraphStyle("number", fontName=SERIF, fontSize=32, leading=36, textColor=INK),
    "score": ParagraphStyle("score", fontName=SERIF, fontSize=17, leading=19, textColor=INK),
    "claim": ParagraphStyle("claim", fontName=SERIF, fontSize=12, leading=15, textColor=INK),
    "label": ParagraphStyle("label", fontName=BOLD, fontSize=7.2, leading=9.6, textColor=INK),
    "notice": ParagraphStyle("notice", fontName=SANS, fontSize=8, leading=10, textColor=WHITE, alignment=1),
}
TIGHT = [(f"{side}PADDING", (0, 0), (-1, -1), 0) for side in ("LEFT", "RIGHT", "TOP", "BOTTOM")]
TOP = ("VALIGN", (0, 0), (-1, -1), "TOP")
Story = list[Flowable]


def pdf(
    document: bytes, picture: sheet.Picture, verify_url: str, notice: str = "", decision: Decision | None = None
) -> bytes:
    """Of an issued report; the arguments are those of ``page.html``. Fonts are the standard ones of PDF: characters
    outside Windows-1252 are written as their escapes, U+4E2D as \\u4e2d."""
    shown = read_sheet(document, picture, overlay, decision)
    file = BytesIO()
    paper = BaseDocTemplate(
        file,
        pagesize=A4,
        title=f"{shown.verdict}: report {shown.report_id}",
        author="Assay",
        subject=_plain(f"{shown.brand} {shown.model}"),
        lang="en",
        invariant=1,
        pageCompression=1,
    )
    frame = Frame(MARGIN, MARGIN + 14, INNER, HEIGHT - 2 * MARGIN - 34, 0, 0, 0, 0)
    paper.addPageTemplates(PageTemplate(frames=[frame], onPage=partial(_draw_edges, shown)))
    paper.build(_story(shown, verify_url, notice))
    return file.getvalue()


def _story(shown: Sheet, verify_url: str, notice: str) -> Story:
    return [
        *_notice(notice),
        _banner(shown),
        *_decision(shown),
        *_found(shown),
        *_to_take(shown),
        *_views(shown),
        *_mind(shown),
        *_evidence(shown),
        _verification(verify_url),
    ]


def _draw_edges(shown: Sheet, canvas: Canvas, _: object) -> None:
    """Head and foot of each page."""
    canvas.setFillColor(INK)
    canvas.setFont(SERIF, 13)
    canvas.drawString(MARGIN, HEIGHT - MARGIN, "ASSAY", charSpace=5)
    canvas.setFillColor(SOFT)
    canvas.setFont(SANS, 8)
    until = f", valid until {shown.valid_until}" if shown.valid_until else ""
    head = f"Authentication report {shown.report_id}, issued {shown.issued}{until}"
    canvas.drawRightString(WIDTH - MARGIN, HEIGHT - MARGIN, _plain(head))
    canvas.setStrokeColor(LINE)
    canvas.line(MARGIN, MARGIN + 6, WIDTH - MARGIN, MARGIN + 6)
    canvas.setFont(SANS, 7)
    canvas.drawString(MARGIN, MARGIN - 6, shown.assistance)
    canvas.drawRightString(WIDTH - MARGIN, MARGIN - 6, f"Page {canvas.getPageNumber()}")


def _plain(text: str) -> str:
    """Of the characters that the standard fonts have."""
    return text.replace("−", "–").encode("cp1252", "backslashreplace").decode("cp1252")


def _text(text: str, style: str = "body") -> Paragraph:
    return Paragraph(escape(_plain(text)), STYLES[style])


def _first_up(text: str) -> str:
    return text[:1].upper() + text[1:]


def _caps(text: str) -> Paragraph:
    return _text(text.upper(), "caps")


def _columns(cells: Sequence[Any], widths: Sequence[float], *commands: tuple[Any, ...]) -> Table:
    return Table([list(cells)], colWidths=widths, style=[*TIGHT, TOP, *commands])


def _section(title: str, room: float = 90) -> Story:
    """On a page where ``room`` is left for it and what follows."""
    ruled = Table(
        [[_text(title, "section")]],
        colWidths=[INNER],
        spaceBefore=18,
        spaceAfter=10,
        style=[*TIGHT, ("LINEBELOW", (0, 0), (-1, -1), 0.6, LINE), ("BOTTOMPADDING", (0, 0), (-1, -1), 6)],
    )
    return [CondPageBreak(room), ruled]


def _notice(notice: str) -> Story:
    if not notice:
        return []
    strip = Table([[_text(notice, "notice")]], colWidths=[INNER], style=[("BACKGROUND", (0, 0), (-1, -1), INK)])
    return [strip, Spacer(0, 8)]


def _banner(shown: Sheet) -> Flowable:
    colour, ground = TONES[shown.phrase.tone]
    stamp = Paragraph(f'<font name="{BOLD}" size="9" color="#{colour.hexval()[2:]}">{shown.verdict}</font>')
    sign = _columns(
        [Seal(shown.phrase.tone, colour, 24), stamp], [34, INNER - 82], ("VALIGN", (0, 0), (-1, -1), "MIDDLE")
    )
    claims = [("Claimed brand", shown.brand), ("Claimed model", shown.model)]
    claims += [("Your reference", shown.customer_reference)] if shown.customer_reference else []
    stated = [[_caps(name), _text(value, "claim")] for name, value in claims]
    rows = [
        [sign],
        [_text(shown.phrase.headline, "headline")],
        [_text(shown.phrase.meaning)],
        [_columns(stated, [(INNER - 48) / len(stated)] * len(stated), ("RIGHTPADDING", (0, 0), (-1, -1), 10))],
    ]
    return Table(
        rows,
        colWidths=[INNER],
        style=[
            ("BACKGROUND", (0, 0), (-1, -1), ground),
            ("LINEABOVE", (0, 0), (-1, 0), 3, colour),
            ("LEFTPADDING", (0, 0), (-1, -1), 24),
            ("RIGHTPADDING", (0, 0), (-1, -1), 24),
            ("TOPPADDING", (0, 0), (-1, 0), 18),
            ("TOPPADDING", (0, 1), (-1, -1), 8),
            ("BOTTOMPADDING", (0, -1), (-1, -1), 20),
        ],
    )


def _decision(shown: Sheet) -> Story:
    decision = shown.decision
    if decision is None:
        return []
    opinions = f"{decision.opinions} independent opinion{'' if decision.opinions == 1 else 's'}"
    lines = [
        [_caps("Reviewed by people: final")],
        [_text(f"{shown.verdict}, decided by {decision.reviewer}", "title")],
        [_text(f"On {shown.decided}, from {opinions}. The automatic verdict was {shown.automatic_verdict}.")],
        *([[_text(decision.note)]] if decision.note else []),
    ]
    ruled = [("BOX", (0, 0), (-1, -1), 0.8, INK), ("LEFTPADDING", (0, 0), (-1, -1), 24)]
    box = Table(lines, colWidths=[INNER], splitInRow=1, style=ruled)
    return [Spacer(0, 10), box]


def _found(shown: Sheet) -> Story:
    return [*_section("What was found", 190), *_measure(shown), *_reasons(shown)]


def _measure(shown: Sheet) -> Story:
    if shown.scale is None:
        return [_text(shown.meaning)] if shown.meaning else []
    of = " of the automatic verdict" if shown.decision else ""
    number: Story = (
        [_caps(f"Confidence{of}"), _text(shown.confidence, "number"), Spacer(0, 6)] if shown.confidence else []
    )
    left, right = INNER * 0.44, INNER * 0.56
    drawn = [_caps("Score of the item"), ScaleDrawing(shown.scale, right, 128), _text(shown.unit, "small")]
    return [_columns([[*number, _text(shown.meaning)], drawn], [left, right], ("RIGHTPADDING", (0, 0), (0, 0), 24))]


def _reasons(shown: Sheet) -> Story:
    rows = [[_text(f"{i}", "title"), _text(reason)] for i, reason in enumerate(shown.reasons, 1)]
    return (
        [
            Table(
                rows,
                colWidths=[20, INNER - 20],
                spaceBefore=8,
                style=[*TIGHT, TOP, ("TOPPADDING", (0, 0), (-1, -1), 5)],
            )
        ]
        if rows
        else []
    )


def _to_take(shown: Sheet) -> Story:
    asked = [flowable for photograph in shown.asked for flowable in (_asked(photograph), Spacer(0, 8))]
    return [*_section("Photographs to take"), *asked] if asked else []


def _views(shown: Sheet) -> Story:
    if not shown.cards:
        return []
    if not shown.is_compared:
        return [*_section("Photographs received", 320), *_gallery(shown.cards)]
    return [*_section("View by view", 192), *(_card(card) for card in shown.cards)]


def _asked(photograph: Asked) -> Flowable:
    colour, ground = TONES["needs-photos"]
    lines = [[_caps(photograph.kind)], [_text(_first_up(photograph.title), "title")], [_text(photograph.advice)]]
    style = [("BACKGROUND", (0, 0), (-1, -1), ground), ("LINEABOVE", (0, 0), (-1, 0), 1.5, colour)]
    return Table(lines, colWidths=[INNER], style=[*style, ("LEFTPADDING", (0, 0), (-1, -1), 14)])


def _gallery(cards: Sequence[Card]) -> Story:
    """Photographs alone, three in a row."""
    side = (INNER - 2 * GAP) / 3
    cells = [_pictured(card, side) for card in cards]
    rows = [[*cells[i : i + 3], "", ""][:3] for i in range(0, len(cells), 3)]
    spaced = [*TIGHT, TOP, ("RIGHTPADDING", (0, 0), (-1, -1), GAP), ("BOTTOMPADDING", (0, 0), (-1, -1), 14)]
    return [Table(rows, colWidths=[side + GAP] * 3, hAlign="LEFT", style=spaced)] if rows else []


def _pictured(card: Card, side: float) -> Story:
    notes = [_text(f"{_kind(note)}: {note.title}. {note.advice} ({note.measured})", "small") for note in card.notes]
    title = _text(_first_up(card.title), "title")
    return [
        title,
        Spacer(0, 4),
        Picture(card.photo, side),
        _text(card.size, "small"),
        *notes,
        _facts(card.measures, side),
    ]


def _card(card: Card) -> Flowable:
    panes = [_photograph(card), *_heat(card), *_reference(card)]
    rest = INNER - len(panes) * (PICTURE + GAP)
    row = _columns([*panes, _measured(card, rest)], [*[PICTURE + GAP] * len(panes), rest])
    notes = [_note(note) for note in card.notes]
    return KeepTogether([_text(_first_up(card.title), "title"), Spacer(0, 5), row, *notes, Spacer(0, 10)])


def _photograph(card: Card) -> Story:
    return [Picture(card.photo, PICTURE), _text("Photograph", "label"), _text(card.size, "small")]


def _heat(card: Card) -> list[Story]:
    if card.heat is None:
        return []
    heat = card.heat
    return [
        [
            Picture(heat.picture, PICTURE, (heat.x, heat.y) if heat.is_marked else None),
            _text("Heat map", "label"),
            Ramp(heat.low, heat.high, PICTURE),
        ]
    ]


def _reference(card: Card) -> list[Story]:
    if card.reference is None:
        return []
    reference = card.reference
    told = _text(f"Item {reference.item}, distance {reference.distance}", "small")
    return [[Picture(reference.picture, PICTURE), _text("Nearest genuine reference", "label"), told]]


def _measured(card: Card, width: float) -> Story:
    score: Story = [_caps("Score"), _text(card.score, "score"), Spacer(0, 4)] if card.score else []
    tables = [_facts(card.parts, width * 0.52 - 8), _facts(card.measures, width * 0.48 - 8)]
    return [*score, _columns(tables, [width * 0.52, width * 0.48])]


def _facts(rows: Sequence[tuple[str, str]], width: float) -> Flowable:
    if not rows:
        return Spacer(width, 0)
    cells = [[_text(_first_up(name), "small"), _text(value, "figure")] for name, value in rows]
    ruled = [*TIGHT, ("LINEBELOW", (0, 0), (-1, -1), 0.4, LINE), ("BOTTOMPADDING", (0, 0), (-1, -1), 1.5)]
    widest = max(stringWidth(_plain(value), SANS, STYLES["figure"].fontSize) for _, value in rows) + 2
    return Table(cells, colWidths=[width - widest, widest], hAlign="LEFT", style=ruled)


def _note(note: Note) -> Flowable:
    told = [[_text(f"{_kind(note)}: {note.title}", "label"), _text(f"{note.advice} ({note.measured})")]]
    ground = [("BACKGROUND", (0, 0), (-1, -1), PANEL), ("LEFTPADDING", (0, 0), (-1, -1), 10), TOP]
    return Table(told, colWidths=[INNER * 0.28, INNER * 0.72], spaceBefore=6, style=ground)


def _kind(note: Note) -> str:
    return "Take again" if note.is_blocking else "Noted"


def _mind(shown: Sheet) -> Story:
    unchecked = shown.not_checked or ("Anything that photographs do not show.",)
    third = INNER / 3
    columns = [
        [_text("What was not checked", "title"), Spacer(0, 4), *(_text(f"– {item}") for item in unchecked)],
        [_text("Limits", "title"), Spacer(0, 4), _text(shown.limits)],
        [_text("How to appeal", "title"), Spacer(0, 4), _text(shown.appeal)],
    ]
    padded = ("RIGHTPADDING", (0, 0), (1, 0), 16)
    return [*_section("What to keep in mind", 200), _columns(columns, [third] * 3, padded)]


def _evidence(shown: Sheet) -> Story:
    groups = [*shown.evidence, *([Group("Time taken", shown.stages)] if shown.stages else [])]
    half = INNER / 2
    rows = [[_group(group, half - 14) for group in groups[i : i + 2]] for i in range(0, len(groups), 2)]
    filled = [[*row, *[""] * (2 - len(row))] for row in rows]
    table = Table(filled, colWidths=[half, half], style=[*TIGHT, TOP, ("BOTTOMPADDING", (0, 0), (-1, -1), 12)])
    return [*_section("Evidence", 180), table]


def _group(group: Group, width: float) -> Story:
    rows = [[_text(_first_up(name), "small"), _text(value, "mono")] for name, value in group.rows]
    ruled = [
        *TIGHT,
        TOP,
        ("LINEBELOW", (0, 0), (-1, -1), 0.4, LINE),
        ("TOPPADDING", (0, 0), (-1, -1), 2),
        ("BOTTOMPADDING", (0, 0), (-1, -1), 2),
    ]
    return [
        _text(group.title, "label"),
        Spacer(0, 3),
        Table(rows, colWidths=[width * 0.36, width * 0.64], hAlign="LEFT", style=ruled),
    ]


def _verification(verify_url: str) -> Flowable:
    told = [
        _text("Verify this report", "title"),
        Spacer(0, 4),
        _text("Scan the code or open the address, and compare verdict and result digest with this page."),
        Spacer(0, 4),
        _text(verify_url, "mono"),
    ]
    box = _columns([Qr(qr.code(verify_url), 96), told], [112, INNER - 112], ("BOX", (0, 0), (-1, -1), 0.6, LINE))
    box.setStyle([("VALIGN", (0, 0), (-1, -1), "MIDDLE"), ("LEFTPADDING", (0, 0), (0, 0), 8)])
    return KeepTogether([Spacer(0, 8), box])
