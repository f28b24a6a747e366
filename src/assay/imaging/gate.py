"""The quality gate: whether a photograph can be judged, and if not, what the person with the camera should do.

Measured at one size, GATE_SIDE, whatever the camera: the networks see little more, and a sensor's noise averages out.
Limits stand between synthetic shots that are good and those that have the fault (12 styles, 6 views; a slow test of
this file measures them again) and let the photographs of clothing and ImageNet that the tests read pass, size aside:

    measure     good: least median most    with its fault: least median most      real: least most   limit
    detail       147   819    4377         blurred     3.7    5.5     9.3          123   2409         >= 50
    fine_share   0.13  0.52   3.77         blurred     0.014  0.047   0.42         0.14  1.31         >= 0.06
    brightness   112   185    254          dark        12     27      49           159   255          >= 55
    clipped      0     0      0.06         bright      0.005  0.51    0.99         0     0.07         <= 0.20
    glare        0     0      0.03         glare       0.08   0.14    0.31         0     0.05         <= 0.05
    fill         0.66  1      1            far         0.13   0.29    0.42         0.47  1            >= 0.45

A picture blurred by 4 pixels of 768 has a fine_share of at most 0.06 where it is no regular pattern, and a detail of
40; weaker blur is within what the networks see. Overexposed dark leather may have nothing clipped: it passes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from assay.cases import Fault, Finding
from assay.imaging.uploads import Upload
from assay.vision.lens import Pixels

GATE_SIDE = 256  # pixels: the longest side of what is measured

LEAST_SHORT_SIDE = 480.0  # pixels of the photograph: half as much again as the networks see
LEAST_DETAIL = 50.0  # variance of the Laplacian, in grey levels squared
LEAST_FINE_SHARE = 0.06  # energy of the finest details against that of four times coarser ones
LEAST_BRIGHTNESS = 55.0  # of 255: what all but the lightest hundredth stays below
MOST_CLIPPED = 0.20  # of the subject: a channel at its end
MOST_GLARE = 0.05  # of the photograph: white spots that are not its backdrop
LEAST_FILL = 0.45  # of the photograph: all but a plain backdrop

_TILE = 8  # pixels of GATE_SIDE
_PLAIN_LEVELS, _PLAIN_SHARE = 2.0, 0.045  # a plain tile's lightest pixel is at most this above its darkest one
_WHITE, _CLIPPED = 250, 253  # of 255: all channels; any channel
_BACKDROP_RIM = 0.2  # of the rim of the photograph: white that touches more of it lies behind the subject,
_MOST_BACKDROP = 0.45  # unless it is more than this of the photograph: then the subject itself is burnt out

Grey = NDArray[np.uint8]
Mask = NDArray[np.bool_]
"""Of tiles or of pixels, by rows."""


class _Rule(NamedTuple):
    """One limit on one measure."""

    fault: Fault
    measure: str
    limit: float
    is_least: bool
    advice: str


_TOO_SMALL = _Rule(
    Fault.TOO_SMALL, "short_side", LEAST_SHORT_SIDE, True,
    "Send the photo in its original size, not a thumbnail or a screenshot: at least {limit:.0f} pixels on its shorter "
    "side, this one has {measured:.0f}.",
)  # fmt: skip
_LIGHT = (
    _Rule(
        Fault.TOO_DARK, "brightness", LEAST_BRIGHTNESS, True,
        "Take it in daylight by a window, or switch on a lamp beside the item: even its brightest places are nearly "
        "black.",
    ),
    _Rule(
        Fault.TOO_BRIGHT, "clipped", MOST_CLIPPED, False,
        "Tap on the item on the screen and lower the exposure, or move out of direct light: {measured:.0%} of the item "
        "is burnt out to plain white or full colour.",
    ),
)  # fmt: skip
_FAINT = _Rule(
    Fault.BLURRED, "detail", LEAST_DETAIL, True,
    "Wipe the lens, tap on the item to focus and hold the phone still with both hands: the photo shows no fine detail.",
)  # fmt: skip
_SMEARED = _Rule(
    Fault.BLURRED, "fine_share", LEAST_FINE_SHARE, True,
    "Tap on the item to focus and hold the phone still, a little further away if it does not get sharp: edges are "
    "smeared.",
)  # fmt: skip
_GLARE = _Rule(
    Fault.GLARE, "glare", MOST_GLARE, False,
    "Switch the flash off and turn the item or yourself until the white reflection is gone: it hides {measured:.0%} of "
    "the photo.",
)  # fmt: skip
_FILL = _Rule(
    Fault.SUBJECT_TOO_SMALL, "fill", LEAST_FILL, True,
    "Move closer until the detail fills the photo: now it takes {measured:.0%} of it, all else is plain backdrop.",
)  # fmt: skip


def gate(measures: Mapping[str, float]) -> tuple[Finding, ...]:
    """What is wrong with a photograph of these measures; nothing, when it can be judged.

    Fine detail is faint in the dark, and where light or focus fail the subject cannot be told from its backdrop: what
    should be mended first is named alone.
    """
    size = _broken((_TOO_SMALL,), measures)
    light, glare = _broken(_LIGHT, measures), _broken((_GLARE,), measures)
    if light:
        return (*size, *light, *_broken((_SMEARED,), measures), *glare)
    focus = _broken((_FAINT, _SMEARED), measures)[:1]
    return (*size, *focus, *glare, *(() if focus else _broken((_FILL,), measures)))


def _broken(rules: tuple[_Rule, ...], measures: Mapping[str, float]) -> tuple[Finding, ...]:
    return tuple(_finding(rule, measures[rule.measure]) for rule in rules if _is_broken(rule, measures[rule.measure]))


def _is_broken(rule: _Rule, measured: float) -> bool:
    return measured < rule.limit if rule.is_least else measured > rule.limit


def _finding(rule: _Rule, measured: float) -> Finding:
    return Finding(rule.fault, measured, rule.limit, rule.advice.format(measured=measured, limit=rule.limit))


def measure(upload: Upload) -> Mapping[str, float]:
    """All that ``gate`` asks for. The same upload measures the same."""
    image = Image.fromarray(upload.working)
    size = _gate_size(image.width, image.height)
    grey = image.convert("L").resize(size, Image.Resampling.BILINEAR)
    small = image.resize(size, Image.Resampling.BOX, reducing_gap=1.0)
    detail, coarse = _detail(grey), _detail(grey.reduce(4))
    clipped, glare = _burnt_out(np.asarray(small))
    return {
        "short_side": float(min(upload.width, upload.height)),
        "detail": detail,
        "fine_share": detail / coarse if coarse else 0.0,
        "brightness": _brightness(grey),
        "clipped": clipped,
        "glare": glare,
        "fill": 1.0 - float(_backdrop(np.asarray(grey)).mean()),
    }


def _gate_size(width: int, height: int) -> tuple[int, int]:
    """At most GATE_SIDE along the longest side."""
    ratio = min(1.0, GATE_SIDE / max(width, height))
    return max(1, round(width * ratio)), max(1, round(height * ratio))


def _detail(image: Image.Image) -> float:
    """Variance of the Laplacian; 0 for a picture too narrow to have one. Pech-Pacheco et al. 2000."""
    if min(image.size) < 3:
        return 0.0
    grey = np.asarray(image, np.int16)
    around = grey[:-2, 1:-1] + grey[2:, 1:-1] + grey[1:-1, :-2] + grey[1:-1, 2:]
    return float((around - 4 * grey[1:-1, 1:-1]).var(dtype=np.float64))


def _brightness(grey: Image.Image) -> float:
    """The 99th percentile: even a black bag has a stitch, a stamp or a seam that catches the light."""
    count = np.cumsum(grey.histogram())
    return float(np.searchsorted(count, 0.99 * count[-1]))


def _burnt_out(colours: Pixels) -> tuple[float, float]:
    """How much of the subject is clipped, and how much of the photograph is a white spot that is no backdrop."""
    red, green, blue = colours[..., 0], colours[..., 1], colours[..., 2]
    white = np.minimum(np.minimum(red, green), blue) >= _WHITE
    behind = _touching_the_rim(white) if _rim_share(white) > _BACKDROP_RIM else np.zeros_like(white)
    glare = float((white & ~behind).mean())
    if behind.mean() > _MOST_BACKDROP:
        behind = np.zeros_like(white)
    clipped = (np.maximum(np.maximum(red, green), blue) >= _CLIPPED) & ~behind
    return float(clipped.sum() / (~behind).sum()), glare


def _backdrop(levels: Grey) -> Mask:
    """[rows, columns] of tiles: those without any detail that reach the rim through others like them."""
    rows, columns = (max(1, side // _TILE) for side in levels.shape)
    tiles = levels[: rows * _TILE, : columns * _TILE].reshape(rows, -1, columns, min(_TILE, levels.shape[1]))
    darkest, lightest = tiles.min(axis=(1, 3)), tiles.max(axis=(1, 3))
    return _touching_the_rim(lightest - darkest <= _PLAIN_LEVELS + _PLAIN_SHARE * lightest)


def _touching_the_rim(mask: Mask) -> Mask:
    """The part of a mask that is connected, side by side, with the rim."""
    reached = mask.copy()
    reached[1:-1, 1:-1] = False
    count = -1
    while count != (count := int(reached.sum())):
        grown = reached.copy()
        grown[1:] |= reached[:-1]
        grown[:-1] |= reached[1:]
        grown[:, 1:] |= reached[:, :-1]
        grown[:, :-1] |= reached[:, 1:]
        reached = grown & mask
    return reached


def _rim_share(mask: Mask) -> float:
    return float(np.concatenate((mask[0], mask[-1], mask[:, 0], mask[:, -1])).mean())
