"""Photographs of invented leather goods, genuine and counterfeit, drawn from integer seeds: all of it is synthetic.

A style (`draw_style`) is one brand's model. An item of it (`genuine`, `counterfeit`) has that style within a tolerance,
and its defects beyond. A scene draws one view of an item as fields over a flat square (colour, height, gloss, metal)
and marks what a defect changed; light falls on the heights; a camera (`photograph`) looks at the lit square and moves
the mark as it moves the pixels. A defect draws no random number of anything else's, so that an item with and without
it differ there alone. `python -m assay.synthetic --out sheet.png --style 3` shows one style with all its defects.
"""

from __future__ import annotations

from assay.synthetic.camera import Condition, Shot, encode, photograph
from assay.synthetic.cases import draw_case
from assay.synthetic.defects import Defect
from assay.synthetic.designer import draw_style
from assay.synthetic.items import Item, counterfeit, genuine
from assay.synthetic.styles import Style

__all__ = [
    "Condition", "Defect", "Item", "Shot", "Style", "counterfeit", "draw_case", "draw_style", "encode", "genuine",
    "photograph",
]  # fmt: skip
