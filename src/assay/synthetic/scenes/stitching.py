"""A seam seen close."""

from __future__ import annotations

import math

import numpy as np

from assay.synthetic.arrays import Field, ramp
from assay.synthetic.items import Made
from assay.synthetic.materials import cord, inside, lay_leather
from assay.synthetic.stitches import Path, Seam, Stitch, lay_stitches, mark_seam, sew
from assay.synthetic.styles import SeamLayout, Stitching
from assay.synthetic.surface import Surface

_INSET = 0.13


def draw_stitching(surface: Surface, made: Made) -> None:
    stitching = made.style.stitching
    lay_leather(surface, stitching.second, made.detail(1))
    distance = _panel_distance(surface, stitching)
    panel = inside(distance, surface)
    surface.height *= 1.0 - panel
    lay_leather(surface, stitching.leather, made.detail(2), panel)
    surface.height += np.float32(0.02) * ramp(-distance, 0.0, 0.022) * panel
    edge = np.clip(1.0 - np.abs(distance + 0.006) * 90.0, 0.0, 1.0) * panel
    surface.tone(1.0 - 0.45 * edge)
    np.maximum(surface.overhang, panel, out=surface.overhang)
    if stitching.piping:
        cord(surface, distance - np.float32(0.02), 0.024, stitching.second.colour, stitching.second.gloss)
    paths = _paths(stitching, _INSET)
    stitches = _stitches(made, stitching.seam, paths)
    sew(surface, stitching.seam, stitches, 1.0)
    if made.defects:
        before = made.intended.stitching.seam
        for its in (stitches, _stitches(made, before, paths)):
            mark_seam(surface, its, max(before.thickness, stitching.seam.thickness))


def _stitches(made: Made, seam: Seam, paths: list[Path]) -> list[Stitch]:
    rows = [lay_stitches(seam, path, 1.0, made.detail(3, row)) for row, path in enumerate(paths)]
    return [stitch for row in rows for stitch in row]


def _turn(stitching: Stitching) -> tuple[float, float]:
    angle = math.radians(stitching.turn_deg)
    return math.cos(angle), math.sin(angle)


def _panel_distance(surface: Surface, stitching: Stitching) -> Field:
    """Signed distance to the upper panel's edge, negative on the panel."""
    c, s = (np.float32(value) for value in _turn(stitching))
    x, y = surface.x - np.float32(0.5), surface.y - np.float32(0.5)
    across, down = x * c + y * s, y * c - x * s
    if stitching.layout is SeamLayout.CORNER:
        u, v = across + np.float32(0.1), down + np.float32(0.1)
        return np.hypot(np.maximum(u, 0.0), np.maximum(v, 0.0)) + np.minimum(np.maximum(u, v), 0.0) - np.float32(0.3)
    if stitching.layout is SeamLayout.CURVE:
        return np.hypot(across, down - np.float32(0.62)) * -1.0 + np.float32(0.55)
    if stitching.layout is SeamLayout.PANELS:
        return down - np.float32(0.03)
    return down - np.float32(0.22)


def _paths(stitching: Stitching, inset: float) -> list[Path]:
    """Rows of stitches along the panel's edge, `inset` from it (and a row gap further in)."""
    gap = stitching.seam.row_gap
    rows = [_path(stitching, inset)]
    if gap > 0:
        rows.append(_path(stitching, inset + gap))
    if stitching.layout is SeamLayout.PANELS:
        rows.append(_straight(stitching, 0.03 + inset))
    return rows


def _path(stitching: Stitching, inset: float) -> Path:
    if stitching.layout is SeamLayout.CORNER:
        return _corner(stitching, 0.3 - inset)
    if stitching.layout is SeamLayout.CURVE:
        angles = np.linspace(-math.pi, 0.0, 90)
        radius = 0.55 + inset
        return _placed(stitching, radius * np.cos(angles), 0.62 + radius * np.sin(angles))
    return _straight(stitching, (0.03 if stitching.layout is SeamLayout.PANELS else 0.22) - inset)


def _straight(stitching: Stitching, down: float) -> Path:
    return _placed(stitching, np.array([-0.9, 0.9]), np.array([down, down]))


def _corner(stitching: Stitching, radius: float) -> Path:
    """Along the lower edge, round the corner, up the side."""
    angles = np.linspace(math.pi / 2, 0.0, 24)
    xs = np.concatenate([[-1.0], -0.1 + radius * np.cos(angles), [-0.1 + radius]])
    ys = np.concatenate([[-0.1 + radius], -0.1 + radius * np.sin(angles), [-1.0]])
    return _placed(stitching, xs, ys)


def _placed(stitching: Stitching, across: np.ndarray, down: np.ndarray) -> Path:
    c, s = _turn(stitching)
    xs, ys = 0.5 + across * c - down * s, 0.5 + across * s + down * c
    return tuple(zip(xs.tolist(), ys.tolist(), strict=True))
