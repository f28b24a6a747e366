"""What the PDF draws besides text: pictures, the score's scale, the seal of a verdict, the QR code. Units: points."""

from __future__ import annotations

from io import BytesIO

from reportlab import rl_config
from reportlab.lib.colors import Color, HexColor
from reportlab.lib.utils import ImageReader
from reportlab.pdfgen.canvas import Canvas
from reportlab.platypus import Flowable

from assay.imaging.heat import colours
from assay.report.qr import Code
from assay.report.scale import Bar, Scale

rl_config.useA85 = 0  # pictures lie in the file as the bytes they are, not as text a quarter longer

INK, SOFT, LINE, PANEL = HexColor("#1c1a17"), HexColor("#5c574f"), HexColor("#ddd7cb"), HexColor("#f5f2eb")
WHITE = HexColor("#ffffff")
BANDS = (HexColor("#dbe9df"), HexColor("#f6ebcf"), HexColor("#f2dcdb"))
GENUINE, ALTERED = HexColor("#2b6a50"), HexColor("#a35b48")
SERIF, SANS, BOLD, MONO = "Times-Roman", "Helvetica", "Helvetica-Bold", "Courier"
RING_SHARE = 0.08  # of a picture's side: radius of the ring around the hottest point
RAMP_STEPS = 48


class Drawing(Flowable):
    """Of a fixed size."""

    canv: Canvas

    def __init__(self, width: float, height: float) -> None:
        super().__init__()
        self.width, self.height = width, height

    def wrap(self, aW: float, aH: float) -> tuple[float, float]:
        return self.width, self.height


class Picture(Drawing):
    """A square picture; ``ring`` marks a point, in fractions from its upper left corner. None: it was erased."""

    BELOW = 3.0  # room towards the caption

    def __init__(self, content: bytes | None, side: float, ring: tuple[float, float] | None = None) -> None:
        super().__init__(side, side + self.BELOW)
        self._content, self._ring = content, ring

    def draw(self) -> None:
        side = self.width
        self.canv.translate(0, self.BELOW)
        if self._content is None:
            self.canv.setFillColor(PANEL)
            self.canv.rect(0, 0, side, side, stroke=0, fill=1)
            self.canv.setFillColor(SOFT)
            self.canv.setFont(SANS, 7)
            self.canv.drawCentredString(side / 2, side / 2, "no longer kept")
            return
        self.canv.drawImage(ImageReader(BytesIO(self._content)), 0, 0, side, side)
        if self._ring is not None:
            self._draw_ring(*self._ring)

    def _draw_ring(self, x: float, y: float) -> None:
        side = self.width
        for colour, width in ((INK, 2.6), (WHITE, 1.2)):
            self.canv.setStrokeColor(colour)
            self.canv.setLineWidth(width)
            self.canv.circle(x * side, (1 - y) * side, RING_SHARE * side)


class Ramp(Drawing):
    """The legend of a heat map."""

    def __init__(self, low: str, high: str, width: float) -> None:
        super().__init__(width, 9)
        self._low, self._high = low, high

    def draw(self) -> None:
        self.canv.setFont(SANS, 7)
        self.canv.setFillColor(SOFT)
        self.canv.drawString(0, 2, self._low)
        self.canv.drawRightString(self.width, 2, self._high)
        left = self.canv.stringWidth(self._low, SANS, 7) + 4
        step = (self.width - left - self.canv.stringWidth(self._high, SANS, 7) - 4) / RAMP_STEPS
        for i, colour in enumerate(colours(RAMP_STEPS)):
            self.canv.setFillColor(HexColor(colour))
            self.canv.rect(left + i * step, 2, step + 0.3, 5, stroke=0, fill=1)


class Qr(Drawing):
    """A code as vectors, with its quiet zone."""

    def __init__(self, code: Code, side: float) -> None:
        super().__init__(side, side)
        self._code = code

    def draw(self) -> None:
        module = self.width / (self._code.side + 8)
        path = self.canv.beginPath()
        for run in self._code.runs:
            path.rect((run.x + 4) * module, self.height - (run.y + 5) * module, run.length * module, module)
        self.canv.setFillColor(INK)
        self.canv.drawPath(path, stroke=0, fill=1)


class ScaleDrawing(Drawing):
    """Where the score lies: genuine calibration cases upwards from the middle line, altered ones downwards."""

    LABEL, FOOT = 16, 34  # heights above and below the bands

    def __init__(self, scale: Scale, width: float, height: float) -> None:
        super().__init__(width, height)
        self._scale = scale

    def draw(self) -> None:
        bottom, top = self.FOOT, self.height - self.LABEL
        middle, reach = (bottom + top) / 2, (top - bottom) / 2 * 0.88
        self._draw_bands(bottom, top)
        self._draw_bars(self._scale.genuine, GENUINE, middle, reach)
        self._draw_bars(self._scale.altered, ALTERED, middle, -reach)
        self._draw_mark(bottom, top)
        self._draw_keys()

    def _draw_bands(self, bottom: float, top: float) -> None:
        edges = (0.0, self._scale.accept, self._scale.reject, 1.0)
        for colour, left, right in zip(BANDS, edges, edges[1:], strict=False):
            self.canv.setFillColor(colour)
            self.canv.rect(left * self.width, bottom, (right - left) * self.width, top - bottom, stroke=0, fill=1)
        self.canv.setStrokeColor(SOFT)
        self.canv.setLineWidth(0.5)
        self.canv.setDash(2, 2)
        for edge in edges[1:3]:
            self.canv.line(edge * self.width, bottom, edge * self.width, top)
        self.canv.setDash()

    def _draw_bars(self, bars: tuple[Bar, ...], colour: Color, middle: float, reach: float) -> None:
        self.canv.setFillColor(colour)
        for bar in bars:
            left, width = bar.x * self.width + 0.25, bar.width * self.width - 0.5
            self.canv.rect(left, middle, width, bar.height * reach, stroke=0, fill=1)

    def _draw_mark(self, bottom: float, top: float) -> None:
        at = self._scale.score * self.width
        self.canv.setStrokeColor(INK)
        self.canv.setLineWidth(1.2)
        self.canv.line(at, bottom, at, top + 3)
        label = f"this item: {self._scale.score_label}" + (" (beyond the scale)" if self._scale.is_beyond else "")
        self.canv.setFillColor(INK)
        self.canv.setFont(BOLD, 8)
        half = self.canv.stringWidth(label, BOLD, 8) / 2
        self.canv.drawCentredString(min(max(at, half), self.width - half), top + 6, label)

    def _draw_keys(self) -> None:
        scale, half = self._scale, self.width / 2
        self.canv.setFont(SANS, 7)
        self._draw_key(0, 19, GENUINE, f"genuine calibration cases ({scale.genuine_cases})")
        self._draw_key(half, 19, ALTERED, f"altered calibration cases ({scale.altered_cases})")
        if scale.accept_label:
            self._draw_key(0, 7, BANDS[0], f"consistent up to {scale.accept_label}")
        if scale.reject_label:
            self._draw_key(half, 7, BANDS[2], f"not consistent from {scale.reject_label}")

    def _draw_key(self, x: float, y: float, colour: Color, label: str) -> None:
        self.canv.setFillColor(colour)
        self.canv.rect(x, y, 9, 6, stroke=0, fill=1)
        self.canv.setFillColor(SOFT)
        self.canv.drawString(x + 13, y, label)


class Seal(Drawing):
    """The sign beside a verdict, on a grid of 36 units; y grows upwards."""

    SIGNS: dict[str, tuple[tuple[tuple[float, float], ...], ...]] = {
        "consistent": (((11, 17.4), (16, 12.4), (25.4, 23)),),
        "inconclusive": (((10, 16), (14, 19.6), (18, 18), (22, 16.4), (26, 20)),),
        "not-consistent": (((11, 21), (25, 21)), ((11, 15), (25, 15)), ((21.5, 25.5), (14.5, 10.5))),
        "not-supported": (((12, 18), (24, 18)),),
        "needs-photos": (
            ((10, 22), (13.6, 22), (15.4, 24.4), (20.6, 24.4), (22.4, 22), (26, 22), (26, 11.5), (10, 11.5), (10, 22)),
            ((15.5, 16.5), (18, 19), (20.5, 16.5), (18, 14), (15.5, 16.5)),
        ),
    }

    def __init__(self, tone: str, colour: Color, side: float) -> None:
        super().__init__(side, side)
        self._tone, self._colour = tone, colour

    def draw(self) -> None:
        self.canv.scale(self.width / 36, self.width / 36)
        self.canv.setStrokeColor(self._colour)
        self.canv.setLineCap(1)
        self.canv.setLineJoin(1)
        self.canv.setLineWidth(1.4)
        self.canv.circle(18, 18, 16.4)
        self.canv.setLineWidth(2.2)
        for line in self.SIGNS[self._tone]:
            path = self.canv.beginPath()
            path.moveTo(*line[0])
            for point in line[1:]:
                path.lineTo(*point)
            self.canv.drawPath(path)
