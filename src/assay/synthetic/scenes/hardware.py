"""Engraved metal on leather: a plate, a padlock, a buckle."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np

from assay.synthetic.arrays import Field, ramp, soft, stream
from assay.synthetic.defects import Defect
from assay.synthetic.glyphs import inscribe, text_width
from assay.synthetic.grain import band_noise
from assay.synthetic.items import Made
from assay.synthetic.materials import inside, lay_leather, placed, rounded_box
from assay.synthetic.motifs import lay_pattern, widened
from assay.synthetic.styles import Finish, Hardware, Plate, Style
from assay.synthetic.surface import Surface

_STREAK_PX, _STREAKS = 256, 32


def draw_hardware(surface: Surface, made: Made) -> None:
    hardware = made.style.hardware
    lay_leather(surface, hardware.leather, made.detail(1))
    distance, engraved_at = _shape(surface, hardware)
    cover = inside(distance, surface)
    surface.height *= 1.0 - cover
    surface.paint(cover, hardware.metal, 0.35)
    surface.height += (
        np.float32(0.03) + np.float32(hardware.bevel * 0.7) * ramp(-distance, 0.0, hardware.bevel)
    ) * cover
    grain = _grain(surface, hardware, made.detail(2))
    surface.height += grain * cover * ramp(-distance, 0.3 * hardware.bevel, hardware.bevel)
    surface.tone(1.0 + 10.0 * grain * cover)
    np.maximum(surface.metal, cover, out=surface.metal)
    np.maximum(surface.overhang, cover, out=surface.overhang)
    if hardware.screws:
        _draw_screws(surface, hardware, engraved_at)
    _engrave(surface, made, engraved_at)
    if Defect.METAL_GRAIN in made.defects:
        surface.mark(cover > 0.5)


def _shape(surface: Surface, hardware: Hardware) -> tuple[Field, tuple[float, float]]:
    """Signed distance to the metal's outline, and where its engraving is centred."""
    x, y, half = surface.x, surface.y, hardware.width / 2
    if hardware.plate is Plate.OVAL:
        radius = np.hypot((x - np.float32(0.5)) * np.float32(0.56), y - np.float32(0.5))
        return (radius - np.float32(half * 0.56)) * 1.2, (0.5, 0.5)
    if hardware.plate is Plate.ROUND:
        return np.hypot(x - np.float32(0.5), y - np.float32(0.5)) - np.float32(half), (0.5, 0.5)
    if hardware.plate is Plate.PADLOCK:
        body = rounded_box(x, y, (0.5, 0.62), (half * 0.92, 0.22), 0.05)
        ring = np.abs(np.hypot(x - np.float32(0.5), y - np.float32(0.4)) - np.float32(half * 0.58)) - np.float32(0.036)
        return np.minimum(body, np.where(y < 0.45, ring, np.float32(1.0))), (0.5, 0.62)
    if hardware.plate is Plate.BUCKLE:
        outer = rounded_box(x, y, (0.5, 0.5), (half, 0.36), 0.07)
        hole = rounded_box(x, y, (0.5, 0.42), (half - 0.1, 0.18), 0.04)
        prong = rounded_box(x, y, (0.5, 0.4), (0.022, 0.25), 0.02)
        return np.minimum(np.maximum(outer, -hole), prong), (0.5, 0.74)
    if hardware.plate is Plate.SHIELD:
        box = rounded_box(x, y, (0.5, 0.46), (half, 0.27), 0.04)
        point = (np.abs(x - np.float32(0.5)) * np.float32(0.62) + (y - np.float32(0.83))) * np.float32(0.85)
        return np.maximum(box, point), (0.5, 0.43)
    return rounded_box(x, y, (0.5, 0.5), (half, 0.15), 0.035), (0.5, 0.5)


@lru_cache(maxsize=4)
def _streaks(seed: int, length: float) -> Field:
    """Periodic brush lines along x, f32[256, 256] of unit variance, `length` wavelengths long."""
    white = stream(seed, 31).standard_normal((_STREAK_PX, _STREAK_PX), dtype=np.float32)
    fy = np.fft.fftfreq(_STREAK_PX, 1 / _STREAK_PX)[:, None]
    fx = np.fft.rfftfreq(_STREAK_PX, 1 / _STREAK_PX)[None, :]
    band = np.exp(-0.5 * ((np.abs(fy) - _STREAKS) / 12.0) ** 2 - 0.5 * (fx * length / _STREAKS) ** 2)
    lines = np.fft.irfft2(np.fft.rfft2(white) * band, s=white.shape)
    return (lines / lines.std()).astype(np.float32)


def _grain(surface: Surface, hardware: Hardware, place: np.random.Generator) -> Field:
    """Heights that the finish leaves, in photo widths."""
    amplitude = np.float32(hardware.grain_slope * hardware.grain_pitch / 4.0)
    wave_px = hardware.grain_pitch * surface.scale_px
    phase = place.uniform(0.0, 30.0, 2).tolist()
    if hardware.finish is Finish.TURNED:
        table = place.standard_normal(1024).astype(np.float32)
        ring = np.hypot(surface.x - np.float32(0.5), surface.y - np.float32(0.5)) * np.float32(
            2.0 / hardware.grain_pitch
        )
        low = ring.astype(np.int32)
        share = ring - low
        return amplitude * (table[low] * (1.0 - share) + table[low + 1] * share)
    if hardware.finish is Finish.HAMMERED:
        tile = np.abs(band_noise(77, 16, 0.4))
        dents = lay_pattern(tile, 32, 5.5 * wave_px, 0.0, (phase[0], phase[1]), surface.size_px)
        return amplitude * 5.0 * (1.0 - np.minimum(dents, 1.5))
    tile = _streaks(5, 28.0 if hardware.finish is Finish.BRUSHED else 7.0)
    cell_px = _STREAK_PX // _STREAKS
    return amplitude * lay_pattern(
        tile, cell_px, wave_px, hardware.grain_angle_deg, (phase[0], phase[1]), surface.size_px
    )


def _draw_screws(surface: Surface, hardware: Hardware, centre: tuple[float, float]) -> None:
    inset = 0.045 if hardware.plate is not Plate.BUCKLE else 0.05
    for side in (-1.0, 1.0):
        x = 0.5 + side * (hardware.width / 2 * (0.92 if hardware.plate is Plate.PADLOCK else 1.0) - inset)
        at = surface.window(x - 0.03, centre[1] - 0.03, x + 0.03, centre[1] + 0.03)
        xs, ys = surface.points(at)
        u, v = xs - np.float32(x), ys - np.float32(centre[1])
        radius = np.hypot(u, v)
        head = 1.0 - ramp(radius, 0.019, 0.022)
        slot = 1.0 - ramp(np.abs(u * np.float32(math.cos(side + 1)) + v * np.float32(math.sin(side + 1))), 0.003, 0.006)
        groove = np.clip(1.0 - np.abs(radius - 0.022) * 200.0, 0.0, 1.0)
        surface.height[at] += np.float32(0.005) * np.sqrt(np.clip(1.0 - (radius / 0.03) ** 2, 0, 1)) * head
        surface.height[at] -= np.float32(0.004) * (slot * head + groove)
        surface.tone(1.0 - 0.55 * np.maximum(slot * head, groove), at)


def _lettering(surface: Surface, style: Style) -> Field:
    hardware = style.hardware
    room = hardware.width * (0.72 if hardware.screws else 0.82) * (0.9 if hardware.plate is not Plate.BAR else 1.0)
    text = style.brand.upper()
    cap = min(0.075 if hardware.plate is Plate.BUCKLE else 0.15, room / text_width(text, hardware.form))
    return inscribe(text, (hardware.form,) * len(text), cap * surface.scale_px).cover


def _engrave(surface: Surface, made: Made, centre: tuple[float, float]) -> None:
    cover = _lettering(surface, made.style)
    at, shown = placed(surface, cover, *centre)
    depth = made.style.hardware.engraving
    groove = np.clip(soft(shown, 0.006 * surface.scale_px) * 1.25, 0.0, 1.0)
    surface.height[at] -= np.float32(depth) * groove
    surface.tone(1.0 - min(0.8, depth * 85.0) * shown, at)
    if made.defects and made.defects != (Defect.METAL_GRAIN,):
        for letters in (cover, _lettering(surface, made.intended)):
            at, shown = placed(surface, letters, *centre)
            surface.mark(widened(shown, max(2, round(0.009 * surface.scale_px))) > 0.25, at)
