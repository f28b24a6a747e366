"""Where a picture came before."""

from __future__ import annotations

import random

import pytest
from tests.assay.store.making import Bench, a_photo

from assay.cases import Case
from assay.evidence import SAME_PICTURE_BITS
from assay.store.photographs import Reuse
from assay.views import View

HASH = 0xF0F0_1234_8888_FFFF


def with_photo(bench: Bench, view: View, content: bytes, perceptual_hash: int) -> Case:
    case = bench.draft([])
    photo = a_photo(view, content, perceptual_hash)
    bench.store.cases.put_photo(bench.tenant.id, case.id, photo, content, b"picture of " + content)
    return bench.store.cases.get(bench.tenant.id, case.id)


def reused(bench: Bench, case: Case, **how: int) -> list[Reuse]:
    (photo,) = case.photos.values()
    return bench.store.cases.reused(bench.tenant.id, case.id, photo, **how)


def test_the_same_file_is_found_for_any_view(bench: Bench) -> None:
    earlier = with_photo(bench, View.LOGO, b"one", HASH)
    again = with_photo(bench, View.LOGO, b"one", HASH)
    other_view = with_photo(bench, View.LINING, b"one", HASH)
    assert reused(bench, earlier) == []
    assert reused(bench, again) == [(earlier.id, View.LOGO, "same file")]
    assert reused(bench, other_view) == [(earlier.id, View.LOGO, "same file"), (again.id, View.LOGO, "same file")]


def test_the_same_picture_is_found_for_its_view(bench: Bench) -> None:
    earlier = with_photo(bench, View.LOGO, b"one", HASH)
    near = with_photo(bench, View.LOGO, b"saved again", HASH ^ 0b1011)
    elsewhere = with_photo(bench, View.LINING, b"of the lining", HASH)
    assert reused(bench, near) == [(earlier.id, View.LOGO, "same picture")]
    assert reused(bench, elsewhere) == []


def test_a_later_case_is_no_reuse(bench: Bench) -> None:
    first = with_photo(bench, View.LOGO, b"one", HASH)
    with_photo(bench, View.LOGO, b"one", HASH)
    assert reused(bench, first) == []


def test_an_erased_case_is_forgotten(bench: Bench) -> None:
    earlier = with_photo(bench, View.LOGO, b"one", HASH)
    bench.store.retention.erase(bench.tenant.id, earlier.id, "key_1")
    assert reused(bench, with_photo(bench, View.LOGO, b"one", HASH)) == []


@pytest.mark.parametrize("most_distance", [0, 3, 4, SAME_PICTURE_BITS, 11, 15])
def test_the_search_in_bands_finds_what_a_full_comparison_finds(bench: Bench, most_distance: int) -> None:
    """Distances around the limit, the differing bits spread over the bands as evenly and as unevenly as can be."""
    draw = random.Random(most_distance)
    expected: list[str] = []
    for count in range(max(0, most_distance - 1), most_distance + 3):
        for bits in (draw.sample(range(64), count), [16 * (i % 4) + i // 4 for i in range(count)], range(count)):
            flipped = sum(1 << bit for bit in bits)
            case = with_photo(bench, View.LOGO, b"%d %x" % (count, flipped), HASH ^ flipped)
            expected += [case.id] if count <= most_distance else []
    asking = with_photo(bench, View.LOGO, b"asking", HASH)
    assert [reuse.case_id for reuse in reused(bench, asking, most_distance=most_distance)] == expected
