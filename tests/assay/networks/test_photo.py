"""The photo network as an engine: shapes, unit vectors, the same bits in any company, and the view's map."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto, helper

import fusee
from assay.networks.photo import PHOTO_OUTPUTS, photo_network, random_weights, weight_shapes
from assay.networks.untrained import narrowed
from fusee import Engine

PHOTOS = np.random.default_rng(5).integers(0, 256, (13, 320, 320, 3), dtype=np.uint8)


def test_outputs_have_the_promised_shapes_and_lengths(photo_engine: Engine):
    found = photo_engine.run({"photo": PHOTOS[:2]})

    shapes = {"patches": (2, 1600, 64), "embedding": (2, 128), "view": (2, 6), "view_map": (2, 40, 40)}
    assert {name: value.shape for name, value in found.items()} == shapes
    np.testing.assert_allclose(np.linalg.norm(found["patches"], axis=-1), 1, rtol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(found["embedding"], axis=-1), 1, rtol=1e-5)
    np.testing.assert_allclose(found["view"].sum(1), 1, rtol=1e-5)


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("batch", [6, 13])
def test_a_photo_gives_the_same_bits_in_any_batch_with_any_threads(photo_engine: Engine, threads: int, batch: int):
    alone = photo_engine.session(threads=1)
    together = photo_engine.session(threads=threads).run({"photo": PHOTOS[:batch]})
    together = {name: value.copy() for name, value in together.items()}

    for place in range(batch):
        found = alone.run({"photo": PHOTOS[place : place + 1]})
        for name in PHOTO_OUTPUTS:
            assert together[name][place].tobytes() == found[name][0].tobytes(), (name, place)


def test_the_view_map_is_an_exact_part_of_the_likeliest_views_logit():
    weights = random_weights(4)
    weights["view.bias"] = np.linspace(-1, 1, 6, dtype=np.float32)
    model = photo_network(weights)
    model.graph.output.append(helper.make_tensor_value_info("view.logit", TensorProto.FLOAT, ["N", 6]))
    found = fusee.build(model).run({"photo": PHOTOS[:3]})

    likeliest = found["view"].argmax(1)
    logits = found["view.logit"][np.arange(3), likeliest]
    parts = found["view_map"].astype(np.float64).sum((1, 2)) + weights["view.bias"][likeliest]
    np.testing.assert_allclose(parts, logits, rtol=1e-5, atol=1e-5)
    assert found["view_map"].std((1, 2)).min() > 0


def test_weights_in_16_bits_stay_close_to_those_in_32(photo_engine: Engine):
    wide = fusee.build(photo_network(random_weights(3))).run({"photo": PHOTOS[:2]})
    found = photo_engine.run({"photo": PHOTOS[:2]})

    cosines = (wide["patches"] * found["patches"]).sum(-1)
    assert cosines.min() > 0.9999


def test_weights_are_few_enough_to_live_in_a_repository():
    assert sum(int(np.prod(shape)) for shape in weight_shapes().values()) * 2 < 4_000_000


def test_narrowed_keeps_biases():
    found = narrowed(random_weights(0))
    assert found["stem.weight"].dtype == np.float16
    assert found["stem.bias"].dtype == np.float32
