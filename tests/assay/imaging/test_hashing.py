"""The perceptual hash: the same picture again, and other pictures of the same thing."""

from __future__ import annotations

from io import BytesIO
from itertools import combinations

import numpy as np
import pytest
from PIL import Image, ImageEnhance
from tests.assay.imaging.photo_files import LIMITS, encoded, scene

from assay.evidence import SAME_PICTURE_BITS
from assay.imaging.hashing import hamming, perceptual_hash
from assay.imaging.uploads import read_upload
from assay.synthetic import draw_style, genuine, photograph
from assay.views import VIEWS, View
from models.pictures import SHARED

REAL = sorted([*(SHARED / "data/clothing").glob("*.jpg"), *(SHARED / "data/imagenet").glob("*.JPEG")])


def hash_of(content: bytes) -> int:
    return perceptual_hash(read_upload(content, LIMITS))


def copies(image: Image.Image) -> list[bytes]:
    """As a picture travels: encoded again, made smaller, a little brighter or darker."""
    half = image.resize((image.width // 2, image.height // 2), Image.Resampling.BICUBIC)
    brighter, darker = (ImageEnhance.Brightness(image).enhance(by) for by in (1.08, 0.9))
    return [
        encoded(image, quality=60),
        encoded(image, "WEBP", quality=75),
        encoded(half, quality=80),
        encoded(brighter, quality=85),
        encoded(darker, "PNG"),
    ]


@pytest.mark.parametrize("view", VIEWS)
def test_shots_of_one_style_are_told_apart_and_copies_are_not(view: View):
    shots = [
        Image.fromarray(photograph(genuine(draw_style(11), k // 2), view, 500 + k, size_px=480).pixels)
        for k in range(4)
    ]
    hashes = [hash_of(encoded(shot, quality=92)) for shot in shots]
    assert min(hamming(a, b) for a, b in combinations(hashes, 2)) > SAME_PICTURE_BITS
    assert max(hamming(hashes[0], hash_of(copy)) for copy in copies(shots[0])) <= SAME_PICTURE_BITS


def test_real_photographs():
    if not REAL:
        pytest.skip(f"data/clothing and data/imagenet are not among the shared material ({SHARED.name}/)")
    hashes = [hash_of(path.read_bytes()) for path in REAL]
    assert min(hamming(a, b) for a, b in combinations(hashes, 2)) > SAME_PICTURE_BITS
    for path, original in [*zip(REAL, hashes, strict=True)][::4]:
        with Image.open(BytesIO(path.read_bytes())) as image:
            assert max(hamming(original, hash_of(copy)) for copy in copies(image.convert("RGB"))) <= SAME_PICTURE_BITS


def test_64_bits_half_of_them_set():
    value = hash_of(encoded(scene()))
    assert 0 <= value < 2**64
    assert value.bit_count() == 32
    assert value == hash_of(encoded(scene()))


def test_a_plain_picture_has_none_set():
    assert hash_of(encoded(Image.fromarray(np.full((40, 40, 3), 90, np.uint8)), "PNG")) == 0


def test_hamming():
    assert hamming(0b1011, 0b0001) == 2
    assert hamming(2**64 - 1, 0) == 64
