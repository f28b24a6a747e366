"""What makes one brand's model look like itself: every parameter of its six views."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from assay.synthetic.arrays import Colour
from assay.synthetic.glyphs import Letterform
from assay.synthetic.grain import Leather
from assay.synthetic.motifs import Lattice, Motif
from assay.synthetic.stitches import Seam


class Print(Enum):
    """How a monogram is on its canvas."""

    PRINTED = "printed"
    EMBOSSED = "embossed"
    WOVEN = "woven"


class Lettering(Enum):
    """How letters are on leather."""

    FOIL = "foil"
    BLIND = "blind"
    METAL = "metal"
    INK = "ink"


class Flap(Enum):
    STRAIGHT = "straight"
    CURVED = "curved"
    POINTED = "pointed"
    ZIP = "zip"


class SeamLayout(Enum):
    EDGE = "edge"
    CORNER = "corner"
    CURVE = "curve"
    PANELS = "panels"


class Plate(Enum):
    BAR = "bar"
    OVAL = "oval"
    PADLOCK = "padlock"
    BUCKLE = "buckle"
    ROUND = "round"
    SHIELD = "shield"


class Finish(Enum):
    BRUSHED = "brushed"
    SATIN = "satin"
    TURNED = "turned"
    HAMMERED = "hammered"


class Tab(Enum):
    RECTANGLE = "rectangle"
    ROUNDED = "rounded"
    TONGUE = "tongue"
    TRAPEZE = "trapeze"


class Weave(Enum):
    PLAIN = "plain"
    TWILL = "twill"
    HERRINGBONE = "herringbone"
    SATIN = "satin"
    BASKET = "basket"


@dataclass(frozen=True)
class Exterior:
    """The bag's front. Lengths in photo widths; `ground` is the canvas, `trim` the leather around it, `web`
    half the width of a striped ribbon down the middle (0: none)."""

    ground: Leather
    trim: Leather
    ink: Colour
    print: Print
    motifs: tuple[Motif, ...]
    lattice: Lattice
    flap: Flap
    flap_depth: float
    corner: float
    taper: float
    piping: float
    handles: bool
    web: float
    web_colours: tuple[Colour, Colour]
    backdrop: Colour


@dataclass(frozen=True)
class Logo:
    """The brand's name. `forms`: one letterform per letter; `rule`: 0 none, 1 lines above and below, 2 a frame."""

    leather: Leather
    forms: tuple[Letterform, ...]
    lettering: Lettering
    colour: Colour
    cap: float
    subtitle: str
    rule: int


@dataclass(frozen=True)
class Stitching:
    leather: Leather
    second: Leather
    seam: Seam
    layout: SeamLayout
    turn_deg: float
    piping: bool


@dataclass(frozen=True)
class Hardware:
    """`grain_pitch`: width of a brush line in photo widths; `grain_slope`: how deep; `engraving`: depth, likewise."""

    leather: Leather
    plate: Plate
    finish: Finish
    metal: Colour
    width: float
    bevel: float
    grain_pitch: float
    grain_angle_deg: float
    grain_slope: float
    engraving: float
    form: Letterform
    screws: bool


@dataclass(frozen=True)
class DateCode:
    """`format`: L a letter, D a digit, all else itself."""

    leather: Leather
    lettering: Lettering
    colour: Colour
    form: Letterform
    format: str
    factories: str
    cap: float
    tab: Tab
    turn_deg: float


@dataclass(frozen=True)
class Lining:
    weave: Weave
    pitch: float
    angle_deg: float
    warp: Colour
    weft: Colour
    figure: Colour
    thread_relief: float
    motif: Motif
    lattice: Lattice
    pocket: bool


@dataclass(frozen=True)
class Style:
    """One model of one invented brand."""

    brand: str
    model: str
    seed: int
    exterior: Exterior
    logo: Logo
    stitching: Stitching
    hardware: Hardware
    date_code: DateCode
    lining: Lining
