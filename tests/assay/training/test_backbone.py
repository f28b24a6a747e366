"""What torch trains is what the exported graph computes, for both backbones; and the transformer's exact account."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

import fusee
from assay.networks.photo import photo_network, random_weights, stored_weights
from assay.networks.vit import random_vit_weights, vit_network, vit_weight_shapes

torch = pytest.importorskip("torch", reason="training is torch's; install it with pip install torch")

from assay.training.backbone import PhotoNetwork, exported, restored  # noqa: E402
from assay.training.vit import VitNetwork, exported_vit  # noqa: E402

PHOTOS = np.random.default_rng(6).integers(0, 256, (2, 320, 320, 3), dtype=np.uint8)
MODELS = Path(__file__).parents[3] / "models" / "assay"


def shake(network) -> None:
    """Gives every normalisation statistics and weights of its own, as training does."""
    torch.manual_seed(9)
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.running_mean.normal_(0, 0.1)
                module.running_var.uniform_(0.5, 2)
                module.weight.uniform_(0.5, 1.5)
                module.bias.normal_(0, 0.1)


def check_equal(engine: fusee.Engine, network) -> None:
    found = engine.run({"photo": PHOTOS})
    with torch.no_grad():
        seen = network(torch.from_numpy(PHOTOS))
    np.testing.assert_allclose(found["patches"], seen.patches.numpy(), atol=1e-4)
    np.testing.assert_allclose(found["embedding"], seen.embedding.numpy(), atol=1e-4)
    np.testing.assert_allclose(found["view"], seen.view_logit.softmax(1).numpy(), atol=1e-4)


def test_the_graph_computes_what_torch_trained():
    network = PhotoNetwork().eval()
    shake(network)
    check_equal(fusee.build(photo_network(exported(network))), network)


def test_the_transformers_graph_computes_what_torch_trained():
    network = VitNetwork().eval()
    shake(network)
    weights = exported_vit(network)
    assert {name: w.shape for name, w in weights.items()} == vit_weight_shapes()
    check_equal(fusee.build(vit_network(weights)), network)


def test_trained_weights_come_back_as_they_were():
    weights = random_weights(8)
    found = exported(restored(weights))
    for name, values in weights.items():
        np.testing.assert_allclose(found[name], values, rtol=1e-6, err_msg=name)


def test_the_trained_network_can_be_trained_on():
    weights = stored_weights(onnx.load(MODELS / "photo.onnx"))
    check_equal(fusee.build(MODELS / "photo.onnx"), restored(weights))


def test_another_network_is_no_start():
    with pytest.raises(ValueError, match=r"assay_compare: stem\.weight is missing.*expected a photo network"):
        stored_weights(onnx.load(MODELS / "compare.onnx"))


def test_token_contributions_add_up_to_the_view_logit():
    weights = random_vit_weights(2)
    model = vit_network(weights)
    for name, shape in (
        ("view.logit", ["N", 6]),
        ("last.shares", ["N", 400, 4, 1]),
        ("last.values", ["N", 400, 4, 32]),
    ):
        model.graph.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape))
    found = fusee.build(model).run({"photo": PHOTOS})

    likeliest = found["view"].argmax(1)
    attended = (found["last.shares"] * found["last.values"]).sum(1).reshape(2, 128).astype(np.float64)
    pooled = attended @ weights["last.out.weight"] + weights["last.out.bias"]
    logits = pooled @ weights["view.weight"] + weights["view.bias"]
    np.testing.assert_allclose(found["view.logit"], logits, rtol=1e-4, atol=1e-4)
    constant = weights["last.out.bias"] @ weights["view.weight"] + weights["view.bias"]
    total = found["view_map"].astype(np.float64).sum((1, 2)) + constant[likeliest]
    np.testing.assert_allclose(total, logits[np.arange(2), likeliest], rtol=1e-4, atol=1e-4)
    assert found["view_map"].std((1, 2)).min() > 0
