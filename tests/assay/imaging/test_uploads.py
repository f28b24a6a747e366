"""Uploads: photographs of every make are read, everything else is refused with a reason that helps."""

from __future__ import annotations

import hashlib
import struct
import zlib
from contextlib import suppress
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import ExifTags, Image
from PIL.PngImagePlugin import PngInfo
from tests.assay.imaging.photo_files import (
    LIMITS,
    MPF,
    XMP,
    archive,
    chunk,
    encoded,
    png_of,
    samsung_block,
    scene,
    video,
    with_chunks,
    with_segment,
)

from assay.errors import Reason, Refusal
from assay.imaging.uploads import WORKING_SIDE, Limits, Upload, read_upload
from assay.settings import Settings
from assay.vision.lens import SIDE

JPEG = encoded(scene(), quality=92)
PNG = encoded(scene(320, 240), "PNG")
WEBP = encoded(scene(320, 240), "WEBP")
PALETTE = encoded(scene(48, 32).convert("P"), "PNG")
MOTION_MARK = XMP + b'<rdf:Description GCamera:MotionPhoto="1"/>'
MOTION = with_segment(JPEG, 0xE1, MOTION_MARK)

SMALL = [encoded(scene(48, 32), kind) for kind in ("JPEG", "PNG", "WEBP")]
SMALL += [
    with_segment(SMALL[0], 0xE1, MOTION_MARK) + video(),
    SMALL[0] + samsung_block((b"Image_UTC_Data", b"1609459200000")),
]


def read(content: bytes) -> Upload:
    return read_upload(content, LIMITS)


def refusal(content: bytes, limits: Limits = LIMITS) -> Refusal:
    with pytest.raises(Refusal) as caught:
        read_upload(content, limits)
    return caught.value


@pytest.mark.parametrize(
    ("content", "media_type"),
    [(JPEG, "image/jpeg"), (PNG, "image/png"), (WEBP, "image/webp")],
    ids=["jpeg", "png", "webp"],
)
def test_photographs_are_read(content: bytes, media_type: str):
    upload = read(content)
    image = Image.open(BytesIO(content))
    assert (upload.media_type, upload.width, upload.height) == (media_type, *image.size)
    assert (upload.sha256, upload.size_bytes) == (hashlib.sha256(content).hexdigest(), len(content))
    assert upload.pixels.shape == (SIDE, SIDE, 3)
    assert upload.working.shape == (image.height, image.width, 3)
    np.testing.assert_array_equal(upload.working, np.asarray(image.convert("RGB")))
    stretched = image.convert("RGB").resize((SIDE, SIDE), Image.Resampling.BILINEAR)
    np.testing.assert_array_equal(upload.pixels, np.asarray(stretched))


@pytest.mark.parametrize(("width", "height"), [(3000, 2000), (2000, 3000), (5000, 40), (769, 768), (1, 1)])
def test_working_pixels_are_bounded_and_keep_the_shape(width: int, height: int):
    upload = read(encoded(scene(width, height)))
    ratio = min(1, WORKING_SIDE / max(width, height))
    assert (upload.width, upload.height) == (width, height)
    assert upload.working.shape == (max(1, round(height * ratio)), max(1, round(width * ratio)), 3)
    assert upload.pixels.shape == (SIDE, SIDE, 3)


def test_the_picture_is_a_jpeg_of_the_lens_pixels_and_always_the_same():
    first, again = read(JPEG), read(JPEG)
    shown = Image.open(BytesIO(first.picture))
    assert (shown.format, shown.size, shown.mode) == ("JPEG", (SIDE, SIDE), "RGB")
    assert np.abs(np.asarray(shown).astype(int) - first.pixels).mean() < 4
    assert first.picture == again.picture


@pytest.mark.parametrize(
    ("mode", "kind"),
    [
        *[("L", "JPEG"), ("CMYK", "JPEG"), ("L", "PNG"), ("1", "PNG"), ("P", "PNG"), ("I;16", "PNG"), ("LA", "PNG")],
        *[("RGBA", "PNG"), ("RGBA", "WEBP")],
    ],
)
def test_other_pixel_formats(mode: str, kind: str):
    image = scene(64, 64)
    if mode == "I;16":
        grey = np.asarray(image.convert("L")).astype(np.uint16)
        content, expected = encoded(Image.fromarray(grey * 257), kind), np.stack([grey] * 3, axis=2)
    else:
        content, expected = encoded(image.convert(mode), kind), np.asarray(image.convert(mode).convert("RGB"))
    assert np.abs(read(content).working.astype(int) - expected).mean() < 8


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_transparent_places_are_white(kind: str):
    pixels = np.zeros((40, 60, 4), np.uint8)
    pixels[:, 30:] = (200, 30, 30, 255)
    working = read(encoded(Image.fromarray(pixels), kind, lossless=True)).working
    assert (working[:, :30] == 255).all()
    assert (working[:, 30:] == (200, 30, 30)).all()


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_exif_turns_a_photograph_upright(kind: str, mode: str):
    if (kind, mode) == ("JPEG", "RGBA"):
        pytest.skip("a JPEG has no transparency")
    lying = scene(80, 40)
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    upload = read(encoded(lying.convert(mode), kind, exif=exif))
    assert (upload.width, upload.height) == (40, 80)
    upright = np.asarray(lying.transpose(Image.Transpose.ROTATE_270)).astype(int)
    assert np.abs(upload.working - upright).mean() < 8


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_no_metadata_survives(kind: str):
    exif = Image.Exif()
    exif[ExifTags.Base.Make] = "SECRET-MAKE"
    exif.get_ifd(ExifTags.IFD.GPSInfo)[ExifTags.GPS.GPSLatitude] = (48.0, 51.0, 24.0)
    extra: dict[str, Any] = {"exif": exif, "icc_profile": b"SECRET-PROFILE" * 20, "xmp": b"<x>SECRET-XMP</x>"}
    if kind == "JPEG":
        extra["comment"] = b"SECRET-COMMENT"
    if kind == "PNG":
        extra["pnginfo"] = PngInfo()
        extra["pnginfo"].add_text("Author", "SECRET-TEXT")
    content = encoded(scene(100, 100), kind, **extra)
    assert b"SECRET" in content
    picture = read(content).picture
    assert b"SECRET" not in picture
    shown = Image.open(BytesIO(picture))
    assert not shown.getexif()
    assert shown.info.keys() <= {"jfif", "jfif_version", "jfif_unit", "jfif_density", "dpi"}


def test_nothing_at_all():
    err = refusal(b"")
    assert err.reason is Reason.INVALID
    assert err.message.startswith("an empty file of 0 bytes; expected a photograph. Send a JPEG, PNG or WebP")


def test_too_many_bytes_are_refused_before_they_are_looked_at():
    err = refusal(bytes(40 * 1024 * 1024))
    assert err.reason is Reason.TOO_LARGE
    assert "41943040 bytes; at most 20971520 bytes are taken" in err.message


def test_limits_come_from_the_settings():
    assert Limits.of(Settings(Path("home"))) == LIMITS
    assert refusal(JPEG, Limits(len(JPEG) - 1, 10**9)).reason is Reason.TOO_LARGE
    assert refusal(JPEG, Limits(10**9, 640 * 480 - 1)).reason is Reason.TOO_LARGE


def webp_of(width: int, height: int) -> bytes:
    size = struct.pack("<I", width - 1)[:3] + struct.pack("<I", height - 1)[:3]
    body = b"WEBP" + b"VP8X" + struct.pack("<I", 10) + bytes(4) + size + WEBP[12:]
    return b"RIFF" + struct.pack("<I", len(body)) + body


def jpeg_of(width: int, height: int) -> bytes:
    at = JPEG.index(b"\xff\xc0")
    return JPEG[: at + 5] + struct.pack(">HH", height, width) + JPEG[at + 9 :]


@pytest.mark.parametrize(
    ("content", "size"),
    [
        (png_of(50_000, 50_000), "50000 x 50000"),
        (png_of(2**31 - 1, 2**31 - 1), "2147483647 x 2147483647"),
        (jpeg_of(65_000, 65_000), "65000 x 65000"),
        (webp_of(16_000, 16_000), "16000 x 16000"),
    ],
)
def test_bombs_are_judged_by_their_header(content: bytes, size: str):
    err = refusal(content)
    assert err.reason is Reason.TOO_LARGE
    assert f"{size} pixels; at most 50000000 pixels are decoded" in err.message


def test_metadata_never_swells():
    bomb = zlib.compress(bytes(30_000_000), 9)
    profile, text = chunk(b"iCCP", b"name\0\0" + bomb), chunk(b"zTXt", b"name\0\0" + bomb)
    plain = read(PNG)
    np.testing.assert_array_equal(read(with_chunks(PNG, profile, *[text] * 300)).working, plain.working)


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (with_chunks(PNG, chunk(b"zTXt", b"a\0\0") * 21_000), "PNG has more than 20000 parts"),
        (
            with_segment(JPEG, 0xFE, b"")[:-2] + b"\xff\xfe\0\x02" * 21_000 + b"\xff\xd9",
            "JPEG has more than 20000 parts",
        ),
        (with_segment(JPEG, 0xE2, MPF) + SMALL[0] * 17, "file has more than 16 parts behind its picture"),
        (MOTION + b"\0\0\0\x08ftyp" * 20_001, "video behind the picture has more than 20000 parts"),
        (JPEG[:-2] + JPEG[JPEG.index(b"\xff\xda") : -2] * 64 + b"\xff\xd9", "JPEG has more than 32 scans"),
    ],
)
def test_more_parts_than_a_camera_writes(content: bytes, found: str):
    err = refusal(content)
    assert err.reason is Reason.INVALID
    assert found in err.message


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (encoded(scene(20, 20), "GIF"), "a GIF picture"),
        (encoded(scene(20, 20), "TIFF"), "a TIFF picture"),
        (encoded(scene(20, 20), "BMP"), "a BMP picture"),
        (encoded(scene(20, 20), "PDF"), "a PDF document"),
        (encoded(scene(20, 20), "EPS"), "an EPS document"),
        (b"\0\0\0\x18ftypheic\0\0\0\0" + bytes(100), "a HEIC picture"),
        (b"\0\0\0\x18ftypavif\0\0\0\0" + bytes(100), "an AVIF picture"),
        (video(), "an MP4 video"),
        (b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"/>', "an SVG drawing"),
        (b"<svg onload=alert(1)>", "an SVG drawing"),
        (b"\n<!DOCTYPE html><html></html>", "an HTML document"),
        (b"<?php system($_GET['c']);", "a PHP script"),
        (b"not a photograph", "text"),
        (archive(), "a ZIP archive"),
        (b"\x7fELF\x02", "a program"),
        (b"RIFF\x04\0\0\0WAVE", "a RIFF file"),
        (b"\x01\x02\x03", "unknown content"),
        (b"%PDF-1.4\n" + JPEG, "a PDF document"),
        (b"\0" + JPEG, "unknown content"),
    ],
)
def test_other_kinds_are_named(content: bytes, kind: str):
    err = refusal(content)
    assert err.reason is Reason.UNSUPPORTED_MEDIA
    assert err.message.startswith(f"{kind} of {len(content)} bytes; expected a photograph. Send a JPEG")
    assert "Most Compatible" in err.message


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_animations(kind: str):
    frames = [scene(20, 20, seed) for seed in range(3)]
    err = refusal(encoded(frames[0], kind, save_all=True, append_images=frames[1:]))
    assert err.reason is Reason.UNSUPPORTED_MEDIA
    assert "one still photograph" in err.message


@pytest.mark.parametrize(
    ("hidden", "kind"),
    [
        (archive(), "a ZIP archive"),
        (b"<html><script>alert(1)</script></html>", "an HTML document"),
        (b"<?php system($_GET['c']); ?>", "a PHP script"),
        (b"*/=1;alert(1);/*", "text"),
        (b"%PDF-1.4 and so on", "a PDF document"),
        (encoded(scene(8, 8)), "a JPEG picture"),
        (encoded(scene(8, 8), "PNG"), "a PNG picture"),
        (encoded(scene(8, 8), "GIF"), "a GIF picture"),
        (video(), "an MP4 video"),
        (b"\0\0\0\0MZ\x90", "a program"),
    ],
)
@pytest.mark.parametrize("picture", [JPEG, PNG, WEBP], ids=["jpeg", "png", "webp"])
def test_nothing_hides_behind_a_picture(picture: bytes, hidden: bytes, kind: str):
    err = refusal(picture + hidden)
    assert err.reason is Reason.INVALID
    assert kind in err.message or "a script" in err.message
    assert "expected a photograph and nothing else. Save the photo again" in err.message


@pytest.mark.parametrize(
    "hidden", [archive(), b"<ScRipt>alert(1)</script>", b"<?PHP 1;", b"%PDF-1.4", b"<!DOCTYPE html>"]
)
def test_nothing_hides_in_metadata(hidden: bytes):
    jpeg, png, webp = SMALL[:3]
    padding = bytes(len(hidden) % 2)
    riff = b"XMP " + struct.pack("<I", len(hidden)) + hidden + padding
    for content in (
        with_segment(jpeg, 0xFE, hidden),
        with_segment(jpeg, 0xE1, b"Exif\0\0" + hidden),
        with_chunks(png, chunk(b"tEXt", b"a\0" + hidden)),
        webp[:4] + struct.pack("<I", len(webp) - 8 + len(riff)) + webp[8:] + riff,
    ):
        assert refusal(content).reason is Reason.INVALID


@pytest.mark.parametrize(
    "content",
    [
        JPEG + bytes(4096),
        PNG + b"\0",
        with_segment(JPEG, 0xE2, MPF) + encoded(scene(32, 32)) + bytes(9) + encoded(scene(16, 16)),
        encoded(scene(), "MPO", quality=92, save_all=True, append_images=[scene(80, 60)]),
        JPEG + samsung_block((b"Image_UTC_Data", b"1609459200000"), (b"MCC_Data", b"450")),
        JPEG + samsung_block((b"MotionPhoto_Data", video())),
        with_segment(JPEG, 0xE2, MPF) + encoded(scene(32, 32)) + samsung_block((b"Image_UTC_Data", b"1609459200000")),
        MOTION + video(),
        MOTION + bytes(3) + video(),
    ],
    ids=["zeros", "zero", "previews", "mpo", "samsung", "samsung motion", "samsung preview", "motion", "motion padded"],
)
def test_what_phones_append_is_kept_with_the_original_alone(content: bytes):
    upload = read(content)
    assert upload.sha256 == hashlib.sha256(content).hexdigest()
    assert len(upload.picture) < 100_000
    if upload.media_type == "image/jpeg":
        np.testing.assert_array_equal(upload.pixels, read(JPEG).pixels)


@pytest.mark.parametrize(
    "content",
    [
        with_segment(JPEG, 0xE2, MPF) + encoded(scene(32, 32)) + archive(),
        with_segment(JPEG, 0xE2, MPF) + with_segment(encoded(scene(32, 32)), 0xFE, b"<script>"),
        JPEG + samsung_block((b"Image_UTC_Data", b"<script>alert(1)</script>")),
        JPEG + samsung_block((b"Image_UTC_Data", archive())),
        JPEG + b"<b>" + samsung_block((b"Image_UTC_Data", b"1609459200000")),
        JPEG + samsung_block((b"Image_UTC_Data", b"1"))[:-8] + struct.pack("<I", len(JPEG)) + b"SEFT",
        MOTION + video() + b"more",
        MOTION + video()[:-1],
        MOTION + video() + archive(),
        MOTION + b"\0\0\0\x04ftyp",
    ],
)  # fmt: skip
def test_nothing_hides_behind_what_phones_append(content: bytes):
    assert refusal(content).reason is Reason.INVALID


@pytest.mark.parametrize("picture", [JPEG, PNG, WEBP], ids=["jpeg", "png", "webp"])
def test_cut_short(picture: bytes):
    for size in (20, len(picture) // 2, len(picture) - 1):
        err = refusal(picture[:size])
        assert err.reason is Reason.UNREADABLE
        assert (
            f"breaks off after {size} bytes, before its end; expected a whole file. Send the photo again."
            in err.message
        )


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (JPEG[:2] + b"\xff\x01" + JPEG[2:], "marker 0xff01, expected a segment"),
        (JPEG[:2] + b"\xff\xd8" + JPEG[2:], "marker 0xffd8, expected a segment"),
        (JPEG[:2] + b"\xff\xfe\0\0" + JPEG[2:], "a segment of 0 bytes, expected 2 or more"),
        (JPEG[:2] + b"\xff\xfe\0\2junk" + JPEG[2:], "0x6a, expected a marker"),
        (b"\xff\xd8\xff\xd9", "0 frames and 0 scans"),
        (JPEG.replace(b"\xff\xc0", b"\xff\xfe"), "0 frames and 1 scans"),
        (with_chunks(PNG, chunk(b"a b!", b"")), "a chunk named b'a b!', expected four letters"),
        (PNG[:8] + PNG[33:], "a chunk named b'IDAT', expected IHDR"),
        (b"RIFF\x04\0\0\0WEBP", "no picture in it"),
        (WEBP[:16] + struct.pack("<I", len(WEBP)) + WEBP[20:], "ends behind the picture"),
        (PNG.replace(b"IDAT", b"IDAT", 1)[:60] + b"\xff" + PNG[61:], "cannot be decoded"),
        (jpeg_of(0, 0), "image/jpeg of 0 x 0 pixels"),
        (with_chunks(PNG, chunk(b"eXIf", b"not what EXIF begins with")), "the PNG cannot be decoded"),
        (PALETTE.replace(b"PLTE", b"plTe"), "a palette that is missing"),
    ],
)
def test_damaged(content: bytes, found: str):
    err = refusal(content)
    assert err.reason is Reason.UNREADABLE
    assert found in err.message
    assert "Save the photo again as JPEG" in err.message


@given(st.sampled_from([JPEG, PNG, WEBP]), st.data())
@settings(max_examples=60, deadline=None)
def test_every_prefix_is_refused(picture: bytes, data: st.DataObject):
    size = data.draw(st.integers(0, len(picture) - 1))
    assert refusal(picture[:size]).reason in (Reason.INVALID, Reason.UNSUPPORTED_MEDIA, Reason.UNREADABLE)


@given(st.sampled_from(SMALL), st.lists(st.tuples(st.integers(0, 10**6), st.integers(1, 255)), min_size=1, max_size=6))
@settings(max_examples=150, deadline=None)
def test_flipped_bits_are_read_or_refused(picture: bytes, flips: list[tuple[int, int]]):
    damaged = bytearray(picture)
    for at, mask in flips:
        damaged[at % min(len(picture), 4000)] ^= mask
    with suppress(Refusal):
        assert read(bytes(damaged)).pixels.shape == (SIDE, SIDE, 3)


@given(st.sampled_from([b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"RIFF\x20\0\0\0WEBP", b""]), st.binary(max_size=300))
@settings(max_examples=150, deadline=None)
def test_noise_behind_a_signature_is_refused(signature: bytes, noise: bytes):
    refusal(signature + noise)
