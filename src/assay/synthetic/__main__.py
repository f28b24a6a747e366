"""`python -m assay.synthetic --out sheet.png [--style N]`: a style's six views, and below each its possible defects."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from PIL import Image

from assay.synthetic import Defect, Style, counterfeit, draw_style, photograph
from assay.synthetic.arrays import Pixels
from assay.views import VIEWS, View


def contact_sheet(style: Style, item_seed: int = 1, size_px: int = 320) -> Pixels:
    """One column per view: the genuine photo, then one of the same item with each defect of that view; u8[H, W, 3]."""
    columns = [_column(style, view, item_seed, size_px) for view in VIEWS]
    longest = max(column.shape[0] for column in columns)
    padding = [((0, longest - column.shape[0]), (0, 0), (0, 0)) for column in columns]
    return np.hstack([np.pad(c, p, constant_values=255) for c, p in zip(columns, padding, strict=True)])


def _column(style: Style, view: View, item_seed: int, size_px: int) -> Pixels:
    kinds = [(), *((defect,) for defect in Defect if defect.view is view)]
    shots = [photograph(counterfeit(style, item_seed, kind), view, item_seed, size_px=size_px) for kind in kinds]
    return np.vstack([shot.pixels for shot in shots])


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m assay.synthetic", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="the image file to write")
    parser.add_argument("--style", type=int, default=0, help="seed of the style")
    arguments = parser.parse_args()
    Image.fromarray(contact_sheet(draw_style(arguments.style))).save(arguments.out)


if __name__ == "__main__":
    main()
