"""Photographs as batches of the photo engine, and its outputs as features."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from assay.errors import invalid
from assay.vision.engines import MOST_PHOTOS
from assay.vision.lens import SIDE, Features, Floats, Pixels

INPUT = "photo"
OUTPUTS = Features._fields


def batches(photos: Sequence[Pixels]) -> Iterator[Pixels]:
    """The photographs as u8[n, SIDE, SIDE, 3], at most MOST_PHOTOS each. Raises Refusal INVALID."""
    for number, photo in enumerate(photos):
        if photo.shape != (SIDE, SIDE, 3) or photo.dtype != np.uint8:
            raise invalid(f"photo {number} is {photo.dtype}{list(photo.shape)}, expected uint8[{SIDE}, {SIDE}, 3]")
    for start in range(0, len(photos), MOST_PHOTOS):
        yield np.stack(photos[start : start + MOST_PHOTOS])


def features_of(outputs: Mapping[str, Floats]) -> list[Features]:
    """One for each photograph of a batch."""
    columns = [outputs[name] for name in OUTPUTS]
    return [Features(*row) for row in zip(*columns, strict=True)]
