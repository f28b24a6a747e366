"""Attention: against the onnx evaluator, with caches, shared heads, masks, windows and every extra output."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from small_models import check, imported, node

from fusee.base.types import Array
from fusee.ir.reference import run
from fusee.ops.attention import Attention

RNG = np.random.default_rng(13)


def f32(*shape: int) -> Array:
    return RNG.standard_normal(shape).astype(np.float32)


def qkv(heads: int = 2, kv_heads: int = 2, s: int = 4, t: int = 6) -> dict[str, Array]:
    return {"q": f32(2, heads, s, 8), "k": f32(2, kv_heads, t, 8), "v": f32(2, kv_heads, t, 5)}


def named(feeds: dict[str, Array]) -> dict[str, Any]:
    """Batch and lengths as names."""
    axes = {"q": ("b", "s"), "k": ("b", "t"), "v": ("b", "t")}
    return {n: [axes[n][0], *feeds[n].shape[1:-2], axes[n][1], feeds[n].shape[-1]] for n in "qkv"}


FEEDS = qkv()


@pytest.mark.parametrize("attributes", [{}, {"scale": 0.7}, {"is_causal": 1}, {"softcap": 2.0}], ids=str)
def test_plain(attributes: dict[str, Any]) -> None:
    check(node("Attention", ["q", "k", "v"], ["y"], **attributes), FEEDS, shapes=named(FEEDS))


MASKS = {
    "pairs": f32(4, 6),
    "heads": f32(2, 4, 6),
    "batch": f32(2, 1, 4, 6),
    "all": f32(2, 2, 4, 6),
    "boolean": RNG.uniform(0, 1, (4, 6)) > 0.3,
    "nothing": np.arange(24).reshape(4, 6) > 5,
}


@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("attributes", [{}, {"is_causal": 1}, {"softcap": 2.0}], ids=str)
def test_masks(mask: str, attributes: dict[str, Any]) -> None:
    feeds = {**FEEDS, "m": MASKS[mask]}
    check(node("Attention", ["q", "k", "v", "m"], ["y"], **attributes), feeds, shapes=named(feeds))


def test_a_query_that_sees_nothing_gives_zero() -> None:
    feeds = {**qkv(), "m": MASKS["nothing"]}
    for attributes in ({}, {"softcap": 1.0}):
        y = run(imported([node("Attention", ["q", "k", "v", "m"], ["y"], **attributes)], feeds), feeds)["y"]
        assert not y[:, :, 0].any()
        assert y[:, :, 1:].all()


@pytest.mark.parametrize("kv_heads", [1, 2, 4])
def test_heads_share_keys(kv_heads: int) -> None:
    feeds = qkv(4, kv_heads)
    check(node("Attention", ["q", "k", "v"], ["y"], is_causal=1), feeds, shapes=named(feeds))


def test_mask_per_query_head_of_shared_keys() -> None:
    feeds = {**qkv(4, 2), "m": f32(2, 4, 4, 6)}
    check(node("Attention", ["q", "k", "v", "m"], ["y"]), feeds, shapes=named(feeds))


def test_heads_side_by_side() -> None:
    feeds = {"q": f32(2, 4, 24), "k": f32(2, 6, 8), "v": f32(2, 6, 10)}
    op = node("Attention", ["q", "k", "v"], ["y"], q_num_heads=3, kv_num_heads=1)
    check(op, feeds, shapes={"q": ["b", "s", 24]})


@pytest.mark.parametrize("attributes", [{}, {"is_causal": 1}, {"is_causal": 1, "left_window_size": 2}], ids=str)
def test_cache(attributes: dict[str, Any]) -> None:
    feeds = {**qkv(s=2, t=2), "pk": f32(2, 2, 3, 8), "pv": f32(2, 2, 3, 5)}
    outputs = ["y", "nk", "nv"]
    check(
        node("Attention", ["q", "k", "v", "", "pk", "pv"], outputs, **attributes), feeds, outputs, shapes=named(feeds)
    )


@pytest.mark.parametrize("attributes", [{}, {"is_causal": 1}, {"right_window_size": 1}], ids=str)
def test_keys_beyond_the_length_are_padding(attributes: dict[str, Any]) -> None:
    feeds = {**qkv(), "n": np.array([6, 4], np.int64)}
    check(node("Attention", ["q", "k", "v", "", "", "", "n"], ["y"], **attributes), feeds, shapes=named(feeds))


def test_a_short_mask_excludes_the_rest() -> None:
    feeds = {**qkv(), "m": f32(4, 5), "n": np.array([5, 4], np.int64)}
    check(node("Attention", ["q", "k", "v", "m", "", "", "n"], ["y"]), feeds, shapes=named(feeds))


@pytest.mark.parametrize("mode", [0, 1, 2, 3])
def test_scores_at_every_stage(mode: int) -> None:
    feeds = {**qkv(), "m": f32(4, 6)}
    op = node("Attention", ["q", "k", "v", "m"], ["y", "", "", "s"], qk_matmul_output_mode=mode, is_causal=1)
    check(op, feeds, ["y", "s"], shapes=named(feeds))


@pytest.mark.parametrize("window", [(2, -1), (-1, 1), (1, 1)])
def test_sliding_windows(window: tuple[int, int]) -> None:
    op = node("Attention", ["q", "k", "v"], ["y"], left_window_size=window[0], right_window_size=window[1])
    check(op, FEEDS, shapes=named(FEEDS))


def test_the_common_cases_are_one_op() -> None:
    feeds = qkv()
    for inputs, attributes in ((["q", "k", "v"], {}), (["q", "k", "v"], {"is_causal": 1})):
        ops = [n.op for n in imported([node("Attention", inputs, ["y"], **attributes)], feeds).nodes()]
        (found,) = [op for op in ops if isinstance(op, Attention)]
        assert found.causal == bool(attributes)
        assert found.scale == pytest.approx(8**-0.5)
