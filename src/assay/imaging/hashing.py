"""A perceptual hash: 64 bits that stay when a picture is encoded again, resized or made a little brighter."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from assay.imaging.uploads import Upload
from assay.vision.lens import SIDE

_SMALL = 64  # pixels: the side of the grey picture that is transformed
_FIRST_WAVE, _WAVES = 10, 8  # slower waves tell the light and the kind of item, which photographs of a style share
_UNIT = 1 << 12


def _cosines() -> NDArray[np.int64]:
    """[_WAVES, _SMALL]: rows of the type II discrete cosine transform, as whole numbers of 1/_UNIT."""
    waves, places = np.arange(_FIRST_WAVE, _FIRST_WAVE + _WAVES)[:, None], np.arange(_SMALL)[None, :]
    return np.rint(_UNIT * np.cos(np.pi * waves * (2 * places + 1) / (2 * _SMALL))).astype(np.int64)


_COSINES = _cosines()


def perceptual_hash(upload: Upload) -> int:
    """64 bits: which of 8 x 8 waves across and down the grey picture exceed the median one.

    Whole numbers throughout: every machine finds the same. Zauner 2010, "Implementation and Benchmarking of
    Perceptual Image Hash Functions", section 3.2.
    """
    small = Image.fromarray(upload.pixels).convert("L").reduce(SIDE // _SMALL)
    waves = (_COSINES @ np.asarray(small).astype(np.int64) @ _COSINES.T).ravel()
    bits = waves > np.median(waves)
    return int.from_bytes(np.packbits(bits).tobytes(), "big")


def hamming(a: int, b: int) -> int:
    """In how many bits two hashes differ."""
    return (a ^ b).bit_count()
