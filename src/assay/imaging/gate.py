"""The quality gate: whether a photograph can be judged, and if not, what the person with the camera should do.

Measured at one size, GATE_SIDE, whatever the camera: the networks see little more, and a sensor's noise averages out.
Limits come from synthetic shots (assay.synthetic, 12 styles, 6 views, 2 cameras: 144 for each condition) and from the
33 photographs of clothing and of ImageNet that the tests read.
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
LEAST_FINE_SHARE = 0.10  # energy of the finest details against that of four times coarser ones
LEAST_BRIGHTNESS = 42.0  # of 255: the 95th percentile of grey
MOST_CLIPPED = 0.25  # of the subject: a channel at its end
MOST_GLARE = 0.05  # of the photograph: white spots that are not its backdrop
LEAST_FILL = 0.48  # of the photograph: all but a plain backdrop

_TILE = 8  # pixels of GATE_SIDE
_PLAIN_RANGE = 8  # grey levels between the darkest and the lightest pixel of a plain tile
_WHITE, _CLIPPED = 250, 253  # of 255: all channels; any channel
_BACKDROP_RIM = 0.2  # of the rim of the photograph: a white area that touches more of it lies behind the subject

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
_FOCUS = (
    _Rule(
        Fault.BLURRED, "detail", LEAST_DETAIL, True,
        "Wipe the lens, tap on the item to focus and hold the phone still with both hands: the photo shows no fine "
        "detail.",
    ),
    _Rule(
        Fault.BLURRED, "fine_share", LEAST_FINE_SHARE, True,
        "Tap on the item to focus and hold the phone still, a little further away if it does not get sharp: edges are "
        "smeared.",
    ),
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

    Sharpness cannot be told in the dark, nor how large the subject is where light or focus fail: only what should be
    mended first is named then.
    """
    size = _broken((_TOO_SMALL,), measures)
    light = _broken(_LIGHT, measures)
    if light:
        return (*size, *light)
    focus = _broken(_FOCUS, measures)[:1]
    return (*size, *focus, *_broken((_GLARE,) if focus else (_GLARE, _FILL), measures))


def _broken(rules: tuple[_Rule, ...], measures: Mapping[str, float]) -> tuple[Finding, ...]:
    return tuple(_finding(rule, measures[rule.measure]) for rule in rules if _is_broken(rule, measures[rule.measure]))


def _is_broken(rule: _Rule, measured: float) -> bool:
    return measured < rule.limit if rule.is_least else measured > rule.limit


def _finding(rule: _Rule, measured: float) -> Finding:
    return Finding(rule.fault, measured, rule.limit, rule.advice.format(measured=measured, limit=rule.limit))


def measure(upload: Upload) -> Mapping[str, float]:
    """All that ``gate`` asks for. The same upload measures the same."""
    small = _small(upload.working)
    grey = small.convert("L")
    colours, levels = np.asarray(small), np.asarray(grey)
    detail = _detail(levels)
    coarse = _detail(np.asarray(grey.reduce(4)))
    backdrop, white = _backdrop(levels), _white(colours)
    behind = _touching_the_rim(white) if _rim_share(white) > _BACKDROP_RIM else np.zeros_like(white)
    return {
        "short_side": float(min(upload.width, upload.height)),
        "detail": detail,
        "fine_share": detail / coarse if coarse else 0.0,
        "brightness": float(np.percentile(levels, 95)),
        "clipped": _share((colours.max(axis=2) >= _CLIPPED) & ~behind, ~behind),
        "glare": float((white & ~behind).mean()),
        "fill": 1.0 - float(backdrop.mean()),
    }


def _small(working: Pixels) -> Image.Image:
    """At most GATE_SIDE along the longest side."""
    image = Image.fromarray(working)
    ratio = min(1.0, GATE_SIDE / max(image.size))
    size = max(1, round(image.width * ratio)), max(1, round(image.height * ratio))
    return image.resize(size, Image.Resampling.BILINEAR)


def _detail(levels: Grey) -> float:
    """Variance of the Laplacian; 0 for a picture too narrow to have one. Pech-Pacheco et al. 2000."""
    if min(levels.shape) < 3:
        return 0.0
    grey = levels.astype(np.float32)
    around = grey[:-2, 1:-1] + grey[2:, 1:-1] + grey[1:-1, :-2] + grey[1:-1, 2:]
    return float((around - 4 * grey[1:-1, 1:-1]).var(dtype=np.float64))


def _white(colours: Pixels) -> Mask:
    return colours.min(axis=2) >= _WHITE


def _backdrop(levels: Grey) -> Mask:
    """[rows, columns] of tiles: those without any detail that reach the rim through others like them."""
    rows, columns = (max(1, side // _TILE) for side in levels.shape)
    tiles = levels[: rows * _TILE, : columns * _TILE].reshape(rows, -1, columns, min(_TILE, levels.shape[1]))
    span = tiles.max(axis=(1, 3)) - tiles.min(axis=(1, 3))
    return _touching_the_rim(span <= _PLAIN_RANGE)


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


def _share(part: Mask, whole: Mask) -> float:
    return float(part.sum() / max(1, whole.sum()))
