"""The bag's front: monogram canvas between leather trims, on a soft backdrop."""

from __future__ import annotations

import numpy as np

from assay.synthetic.arrays import Field, Mask, dimmed, ramp
from assay.synthetic.defects import Defect
from assay.synthetic.items import Made
from assay.synthetic.materials import cord, inside, lay_leather, pad_edge, rounded_box
from assay.synthetic.motifs import lay_motifs, widened
from assay.synthetic.stitches import lay_stitches, sew
from assay.synthetic.styles import Exterior, Flap, Print, Style
from assay.synthetic.surface import MARGIN, Surface

_CENTRE, _HALF = (0.5, 0.555), (0.42, 0.365)
_SEAM_SIZE = 0.42


def draw_exterior(surface: Surface, made: Made) -> None:
    bag = made.style.exterior
    _lay_backdrop(surface, bag)
    if bag.handles:
        _draw_handles(surface, bag)
    body = _body_distance(surface, bag)
    cover = inside(body, surface)
    surface.height *= 1.0 - cover
    surface.overhang *= 1.0 - cover
    lay_leather(surface, bag.ground, made.detail(1), cover, zoom=0.6)
    _print_monogram(surface, made, cover)
    web = _draw_web(surface, bag, cover)
    pad_edge(surface, body, cover, 0.02, 0.06)
    np.maximum(surface.overhang, cover, out=surface.overhang)
    cord(surface, body + np.float32(bag.piping * 0.8), bag.piping, bag.trim.colour, bag.trim.gloss)
    trim = _draw_flap(surface, made, cover, body)
    _draw_clasp(surface, made.style)
    if made.defects:
        _mark(surface, made, (cover > 0.5) & (body < -1.8 * bag.piping) & (trim < 0.5) & ~web & (surface.metal < 0.5))


def _lay_backdrop(surface: Surface, bag: Exterior) -> None:
    table = ramp(surface.y + 0.02 * surface.x, 0.8, 0.86)
    fade = 1.0 - 0.16 * np.hypot(surface.x - 0.5, surface.y - 0.45) - 0.1 * table
    for channel, value in enumerate(bag.backdrop):
        surface.albedo[channel] = fade * np.float32(value)


def _draw_handles(surface: Surface, bag: Exterior) -> None:
    at = surface.window(0.25, -MARGIN, 0.75, 0.32)
    x, y = surface.points(at)
    for centre_y, shade in ((0.13, 0.72), (0.19, 1.0)):
        ring = np.hypot((x - 0.5) * np.float32(1.05), y - np.float32(centre_y + 0.07))
        distance = np.where(y < 0.3, ring - np.float32(0.2), np.float32(1.0))
        cord(surface, distance, 0.026, dimmed(bag.trim.colour, shade), bag.trim.gloss, at)


def _body_distance(surface: Surface, bag: Exterior) -> Field:
    lean = 1.0 + np.float32(bag.taper) * (surface.y - np.float32(_CENTRE[1])) * 2.0
    x = np.float32(0.5) + (surface.x - np.float32(0.5)) / lean
    return rounded_box(x, surface.y, _CENTRE, _HALF, bag.corner)


def _print_monogram(surface: Surface, made: Made, cover: Field) -> None:
    bag = made.style.exterior
    pattern = lay_motifs(bag.motifs, bag.lattice, surface.scale_px, surface.size_px) * cover
    if bag.print is Print.EMBOSSED:
        surface.height += np.float32(0.0028) * pattern
        surface.paint(pattern * 0.7, bag.ink, bag.ground.gloss + 0.06)
        return
    if bag.print is Print.WOVEN:
        rib = 0.5 + 0.5 * np.sin(surface.y * np.float32(2 * np.pi * 95))
        surface.height += np.float32(0.0011) * rib * cover
        surface.tone(1.0 - 0.12 * (1.0 - rib) * cover)
    surface.paint(pattern * 0.92, bag.ink)
    surface.height += np.float32(0.0007) * pattern


def _draw_web(surface: Surface, bag: Exterior, cover: Field) -> Mask:
    """A ribbon of three stripes, woven; where it covers the canvas."""
    off = np.abs(surface.x - np.float32(0.5)) + 0.0 * surface.y
    if bag.web == 0:
        return off < 0
    band = inside(off - np.float32(bag.web), surface) * cover
    middle = inside(off - np.float32(0.34 * bag.web), surface) * cover
    rib = 0.5 + 0.5 * np.sin(surface.y * np.float32(2 * np.pi * 70))
    surface.paint(band, bag.web_colours[0], 0.05)
    surface.paint(middle, bag.web_colours[1], 0.05)
    surface.height *= 1.0 - band
    surface.height += (np.float32(0.004) + np.float32(0.001) * rib) * band
    surface.tone(1.0 - 0.16 * (1.0 - rib) * band)
    return band > 0.5


def _flap_edge(surface: Surface, bag: Exterior) -> Field:
    """How far above the flap's lower edge a point is, in photo widths; negative below."""
    off = np.abs(surface.x - np.float32(0.5))
    top, depth = np.float32(_CENTRE[1] - _HALF[1]), np.float32(bag.flap_depth)
    if bag.flap is Flap.CURVED:
        line = top + depth * (1.15 - 2.4 * off * off)
    elif bag.flap is Flap.POINTED:
        line = top + depth * (1.3 - 1.5 * off)
    elif bag.flap is Flap.STRAIGHT:
        line = top + depth * 0.8 + 0.0 * off
    else:
        line = top + np.float32(0.085) + 0.0 * off
    return line - surface.y


def _draw_flap(surface: Surface, made: Made, cover: Field, body: Field) -> Field:
    """The flap or the zipped rim in trim leather; where it covers."""
    bag = made.style.exterior
    above = _flap_edge(surface, bag)
    flap = inside(-above, surface) * cover
    surface.height *= 1.0 - flap
    lay_leather(surface, bag.trim, made.detail(2), flap, zoom=0.62)
    surface.height += np.float32(0.012) * ramp(above, 0.0, 0.02) * flap
    surface.height += np.float32(0.012) * ramp(-body, 0.0, 0.04) * flap
    surface.overhang *= 1.0 - cover
    surface.overhang += 0.55 * cover + 0.45 * flap
    _sew_flap(surface, made)
    return flap


def _sew_flap(surface: Surface, made: Made) -> None:
    bag, seam = made.style.exterior, made.intended.stitching.seam
    xs = np.linspace(0.115, 0.885, 33)
    off = np.abs(xs - 0.5)
    top, depth = _CENTRE[1] - _HALF[1], bag.flap_depth
    line = {
        Flap.CURVED: top + depth * (1.15 - 2.4 * off * off),
        Flap.POINTED: top + depth * (1.3 - 1.5 * off),
        Flap.STRAIGHT: top + depth * 0.8 + 0.0 * off,
        Flap.ZIP: top + 0.085 + 0.0 * off,
    }[bag.flap]
    path = tuple(zip(xs.tolist(), (line - 0.022).tolist(), strict=True))
    sew(surface, seam, lay_stitches(seam, path, _SEAM_SIZE, made.detail(3)), _SEAM_SIZE)


def _draw_clasp(surface: Surface, style: Style) -> None:
    """A small lock in the hardware's metal, where the flap ends."""
    bag, metal = style.exterior, style.hardware.metal
    top = _CENTRE[1] - _HALF[1]
    reach = {Flap.CURVED: 1.15, Flap.POINTED: 1.3, Flap.STRAIGHT: 0.8, Flap.ZIP: 0.2}[bag.flap]
    y = top + bag.flap_depth * reach - 0.01
    at = surface.window(0.38, y - 0.1, 0.62, y + 0.1)
    xs, ys = surface.points(at)
    half = (0.075, 0.03) if bag.flap is Flap.ZIP else (0.05, 0.045)
    distance = rounded_box(xs, ys, (0.5, y), half, 0.012 + 0.03 * (bag.corner > 0.09))
    cover = np.clip(0.5 - distance * np.float32(surface.scale_px), 0.0, 1.0)
    surface.paint(cover, metal, 0.6, at)
    surface.height[at] = surface.height[at] * (1.0 - cover) + cover * (0.02 + 0.014 * ramp(-distance, 0.0, 0.014))
    surface.height[at] -= np.float32(0.006) * (1.0 - ramp(np.abs(xs - np.float32(0.5)) + 0 * ys, 0.004, 0.008)) * cover
    np.maximum(surface.metal[at], cover, out=surface.metal[at])
    np.maximum(surface.overhang[at], cover, out=surface.overhang[at])


def _mark(surface: Surface, made: Made, canvas: Mask) -> None:
    """The whole canvas where the lattice changed; only the signs where one of them did."""
    if made.defects != (Defect.MONOGRAM_SHAPE,):
        surface.mark(canvas)
        return
    before, after = made.intended.exterior, made.style.exterior
    which = next(k for k, motif in enumerate(after.motifs) if motif != before.motifs[k])
    both = np.maximum(
        lay_motifs(before.motifs, before.lattice, surface.scale_px, surface.size_px, which),
        lay_motifs(after.motifs, after.lattice, surface.scale_px, surface.size_px, which),
    )
    surface.mark((widened(both, max(2, round(0.006 * surface.scale_px))) > 0.3) & canvas)
