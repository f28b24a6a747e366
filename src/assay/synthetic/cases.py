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
) -> dict[View, Shot]:
    """All six views of one item. `defects`: () for a genuine item, None for a counterfeit's drawn from the seed."""
    item = counterfeit(style, seed, defects, strength)
    cameras = stream(seed, _CASE).integers(2**31, size=len(VIEWS)).tolist()
    return {
        view: photograph(item, view, camera, condition, size_px) for view, camera in zip(VIEWS, cameras, strict=True)
    }
