"""Blocks of a reshape, and what tensors with gaps look like in another shape."""

from __future__ import annotations

import numpy as np
import pytest

from fusee.base.blocks import Block, blocks, reshaped_strides
from fusee.base.dims import sym


def test_blocks_of_a_reshape():
    def plain(before: tuple[int, ...], after: tuple[int, ...]) -> list[tuple[tuple[int, ...], tuple[int, ...]]] | None:
        found = blocks(before, after)
        return None if found is None else [(b.before, b.after) for b in found]

    assert plain((2, 3, 4), (6, 4)) == [((0, 1), (0,)), ((2,), (1,))]
    assert plain((2, 12), (2, 3, 1, 4)) == [((0,), (0,)), ((1,), (1, 2, 3))]
    assert plain((1, 6), (1, 1, 6)) == [((1,), (0, 1, 2))]
    assert plain((4, 6), (3, 8)) == [((0, 1), (0, 1))]
    assert plain((1, 1), (1,)) == [((), (0,))]
    assert blocks((2,), (2,)) == [Block((0,), (0,))]


def test_names_divide_as_numbers_do():
    n, h, w = sym("N"), sym("H"), sym("W")
    assert blocks((n, 4, h, w), (n, 4, h * w)) == [Block((0,), (0,)), Block((1,), (1,)), Block((2, 3), (2,))]
    assert blocks((n, h), (h, n)) is None


@pytest.mark.parametrize("after", [(6, 5, 4), (6, 20), (30, 2, 2), (2, 3, 1, 5, 4), (6, 5, 2, 2), (30, 4)])
def test_strides_agree_with_numpy(after: tuple[int, ...]):
    """A slice of a larger tensor: numpy copies exactly where there are no strides to give."""
    view = np.arange(6 * 5 * 9, dtype=np.int64).reshape(6, 5, 9)[:, :, 3:7]
    found = reshaped_strides(view.shape, [s // 8 for s in view.strides], after)
    reshaped = view.reshape(after)
    if np.shares_memory(view, reshaped):
        assert found is not None
        wanted = [s // 8 for s, d in zip(reshaped.strides, after, strict=True) if d != 1]
        assert [s for s, d in zip(found, after, strict=True) if d != 1] == wanted
    else:
        assert found is None
