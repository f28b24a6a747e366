"""Cases: the six photos that one submitter sends."""

from __future__ import annotations

from collections.abc import Sequence

from assay.synthetic.arrays import stream
from assay.synthetic.camera import Condition, Shot, photograph
from assay.synthetic.defects import Defect
from assay.synthetic.items import counterfeit
from assay.synthetic.styles import Style
from assay.views import VIEWS, View

_CASE = 21


def draw_case(
    style: Style,
    seed: int,
    defects: Sequence[Defect] | None = (),
    strength: float = 1.0,
    condition: Condition = Condition.GOOD,
    size_px: int = 768,
    views: Sequence[View] = VIEWS,
) -> dict[View, Shot]:
    """All six views of one item, or some: each is the same whatever others are drawn.

    `defects`: () for a genuine item, None for a counterfeit's drawn from the seed.
    """
    item = counterfeit(style, seed, defects, strength)
    cameras = dict(zip(VIEWS, stream(seed, _CASE).integers(2**31, size=len(VIEWS)).tolist(), strict=True))
    return {view: photograph(item, view, cameras[view], condition, size_px) for view in views}
