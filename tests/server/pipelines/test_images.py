"""Encoded pictures: numbers as by the plain rules, and nothing decoded that should not be."""

from __future__ import annotations

from io import BytesIO
from itertools import product
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from fusee.base.errors import RequestError
from fusee.images import Channels, ImageSteps, Interpolation, Layout, Resize
from fusee.server.errors import Reason, ServingError
from fusee.server.pipelines.images import decode_images, decode_into
from server.pipelines.picture_files import by_the_rules, encoded, noise, png_header

SMALL = ImageSteps(8, 6)


def read(content: bytes, steps: ImageSteps = SMALL, most_pixels: int = 10**6) -> Any:
    picture = np.full(steps.shape, 77, steps.dtype)
    decode_into(content, steps, picture, most_pixels)
    return picture


def refusal(content: bytes, most_pixels: int = 10**6) -> ServingError:
    with pytest.raises(ServingError) as caught:
        read(content, most_pixels=most_pixels)
    return caught.value


@pytest.mark.parametrize(
    ("resize", "channels", "layout", "interpolation"), [*product(Resize, Channels, Layout, Interpolation)]
)
def test_numbers_are_those_of_the_plain_rules(
    resize: Resize, channels: Channels, layout: Layout, interpolation: Interpolation
):
    pixels = noise(37, 61)
    mean, std = ((0.5,), (0.25,)) if channels is Channels.GRAY else ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    steps = ImageSteps(16, 12, resize, interpolation, mean, std, channels=channels, layout=layout)
    np.testing.assert_allclose(read(encoded(pixels), steps), by_the_rules(pixels, steps), atol=1e-5)


@pytest.mark.parametrize("dtype", [np.uint8, np.float16, np.float32, np.float64])
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_types_and_formats(kind: str, dtype: Any):
    content = encoded(noise(20, 30), kind)
    with Image.open(BytesIO(content)) as image:
        pixels = np.asarray(image.convert("RGB"))
    steps = ImageSteps(10, 10, Resize.CROP, dtype=np.dtype(dtype))
    atol = 1e-3 if dtype is np.float16 else 1e-6
    np.testing.assert_allclose(read(content, steps), by_the_rules(pixels, steps), atol=atol)


def test_crop_fraction_keeps_the_middle():
    pixels = noise(64, 48)
    steps = ImageSteps(20, 20, Resize.CROP, crop_fraction=0.875)
    np.testing.assert_allclose(read(encoded(pixels), steps), by_the_rules(pixels, steps), atol=1e-6)
    whole = read(encoded(pixels), ImageSteps(20, 20, Resize.CROP))
    assert np.abs(read(encoded(pixels), steps) - whole).max() > 0.01


@pytest.mark.parametrize("resize", [Resize.STRETCH, Resize.CROP, Resize.FIT])
@pytest.mark.parametrize("channels", [Channels.RGB, Channels.GRAY])
def test_a_large_jpeg_decoded_coarsely_is_nearly_the_same(resize: Resize, channels: Channels):
    content = encoded(noise(900, 1203), "JPEG", quality=95)
    with Image.open(BytesIO(content)) as image:
        pixels = np.asarray(image)
    steps = ImageSteps(40, 50, resize, channels=channels)
    np.testing.assert_allclose(read(content, steps, 1_200_000), by_the_rules(pixels, steps), atol=4 / 255)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_exif_orientation(orientation: int, kind: str):
    """The picture comes out as one that was turned before it was stored."""
    from PIL import ImageOps

    image = Image.fromarray(noise(40, 24))
    exif = Image.Exif()
    exif[0x0112] = orientation
    content = encoded(image, kind, exif=exif, **({"quality": 100, "subsampling": 0} if kind == "JPEG" else {}))
    image.getexif()[0x0112] = orientation
    upright = np.asarray(ImageOps.exif_transpose(image))
    steps = ImageSteps(20, 16, Resize.FIT)
    assert (upright.shape[0] < upright.shape[1]) == (orientation >= 5)
    np.testing.assert_allclose(read(content, steps), by_the_rules(upright, steps), atol=4 / 255)


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
def test_damaged_exif_counts_as_upright():
    pixels = noise(16, 12)
    content = encoded(pixels, "JPEG", exif=b"Exif\0\0" + b"II\x2a\0" + b"\xff" * 20)
    np.testing.assert_array_equal(read(content), read(encoded(pixels, "JPEG")))


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK", "I;16"])
def test_modes_become_the_channels_wanted(mode: str):
    grey = np.full((12, 10), 204, np.uint8)  # a grey that palettes have
    if mode == "I;16":
        image = Image.fromarray(grey.astype(np.uint16) * 257)
    else:
        image = Image.fromarray(grey).convert("RGB").convert(mode)
    content = encoded(image, "JPEG" if mode == "CMYK" else "PNG")
    steps = ImageSteps(8, 6, dtype=np.dtype(np.uint8))
    brightness = 255 if mode == "1" else 204
    if mode == "1":
        content = encoded(Image.new("1", (10, 12), 1))
    assert np.abs(read(content, steps).astype(int) - brightness).max() <= 2


def test_a_picture_beside_its_preview_is_one_picture():
    """Telephones write JPEG files of several pictures (MPO)."""
    image, preview = Image.fromarray(noise(40, 30)), Image.new("RGB", (8, 8))
    content = encoded(image, "MPO", save_all=True, append_images=[preview])
    np.testing.assert_array_equal(read(content), read(encoded(image, "JPEG")))


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_animations_are_refused(kind: str):
    frames = [Image.fromarray(noise(10, 10, seed)) for seed in range(3)]
    error = refusal(encoded(frames[0], kind, save_all=True, append_images=frames[1:]))
    assert error.reason is Reason.INVALID
    assert error.message == "an animation of 3 pictures; expected a single one"


@pytest.mark.parametrize("kind", ["TIFF", "GIF", "BMP", "PPM", "EPS", "ICO", "PDF"])
def test_other_formats_are_not_even_opened(kind: str):
    error = refusal(encoded(noise(8, 8), kind))
    assert error.reason is Reason.INVALID
    assert error.message.endswith("bytes that are no picture; expected an encoded JPEG, PNG or WebP image")


def test_nothing_and_other_things():
    assert refusal(b"").message.startswith("0 bytes that are no picture")
    assert "no picture" in refusal(b"<svg xmlns='http://www.w3.org/2000/svg'/>").message
    assert "no picture" in refusal(b"GIF89a" + encoded(noise(8, 8))).message


def test_one_format_behind_the_other_ones_mark():
    """The mark chooses the only reader: a TIFF or GIF behind a JPEG mark is a damaged JPEG, nothing else."""
    for kind in ("TIFF", "GIF", "PNG"):
        assert "JPEG" in refusal(b"\xff\xd8\xff" + encoded(noise(8, 8), kind)).message


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_a_file_that_ends_early(kind: str):
    content = encoded(noise(64, 64), kind)
    for part in (0.3, 0.6, 0.9):
        error = refusal(content[: int(len(content) * part)])
        assert error.reason is Reason.INVALID
        assert kind in error.message


@pytest.mark.parametrize("size", [(30_000, 30_000), (2**31 - 1, 2**31 - 1), (1_001, 1_000)])
def test_size_is_judged_from_the_header(size: tuple[int, int]):
    error = refusal(png_header(*size))
    assert error.reason is Reason.TOO_LARGE
    assert "at most 1000000" in error.message


def test_just_small_enough_is_decoded():
    assert "cannot be decoded" in refusal(png_header(1_000, 1_000)).message
    assert read(encoded(noise(10, 10)), most_pixels=100).shape == SMALL.shape
    assert refusal(encoded(noise(10, 10)), most_pixels=99).reason is Reason.TOO_LARGE


def test_a_text_that_unpacks_to_much_is_refused():
    from PIL import PngImagePlugin

    texts = PngImagePlugin.PngInfo()
    texts.add_text("bomb", "a" * 50_000_000, zip=True)
    assert refusal(encoded(Image.new("RGB", (4, 4)), pnginfo=texts)).reason is Reason.INVALID


MARKS = st.sampled_from([b"", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"RIFF\0\0\0\0WEBP", b"RIFF\x20\0\0\0WEBPVP8 "])
WHOLE = [encoded(noise(24, 24), kind) for kind in ("PNG", "JPEG", "WEBP")]


@given(MARKS, st.binary(max_size=200))
def test_any_bytes_are_a_picture_or_a_clear_error(mark: bytes, rest: bytes):
    check(mark + rest)


@settings(max_examples=300)
@given(st.sampled_from(WHOLE), st.lists(st.tuples(st.integers(0, 2000), st.integers(0, 255)), max_size=6))
def test_any_damage_is_a_picture_or_a_clear_error(content: bytes, changes: list[tuple[int, int]]):
    damaged = bytearray(content)
    for at, value in changes:
        damaged[at % len(damaged)] = value
    check(bytes(damaged))


def check(content: bytes) -> None:
    reason = None
    try:
        assert np.isfinite(read(content)).all()
    except ServingError as err:
        reason = err.reason
    assert reason in (None, Reason.INVALID, Reason.TOO_LARGE)


def test_several_at_once_and_which_one_is_wrong():
    pictures = [noise(10, 12, seed) for seed in range(3)]
    batch = decode_images(np.array([encoded(p) for p in pictures], object), SMALL)
    np.testing.assert_allclose(batch, np.stack([by_the_rules(p, SMALL) for p in pictures]), atol=1e-6)
    with pytest.raises(ServingError, match="image 1: 1 bytes that are no picture"):
        decode_images(np.array([encoded(pictures[0]), b"x"], object), SMALL)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"mean": (1.0, 2.0)}, "mean has 2 values; expected 1 or 3, one for each channel"),
        ({"std": (1.0, 0.0, 1.0)}, "nothing can be divided by 0"),
        ({"height": 0}, "a picture of 0x6 pixels has none"),
        ({"crop_fraction": 1.5}, "crop_fraction is 1.5; expected more than 0 and at most 1"),
    ],
)
def test_impossible_steps(fields: dict[str, Any], message: str):
    with pytest.raises(RequestError, match=message):
        ImageSteps(**{"height": 8, "width": 6, **fields})
