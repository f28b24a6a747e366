"""Photographs of invented leather goods, genuine and counterfeit, drawn from integer seeds: all of it is synthetic."""

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
