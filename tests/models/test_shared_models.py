"""Trained models of other people, on photographs, against ONNX Runtime; dynamic ones at several sizes each."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import onnx
import onnxruntime
import pytest

from fusee.base.types import Array
from fusee.build import BuildOptions, build
from fusee.runtime.engine import Engine
from models.pictures import batch, bgr, imagenet, luminance, photo, planar, shared, signed, voice

Feeds = Mapping[str, Array]
ORT_SIGMOID_ERROR = 1.5e-7  # ONNX Runtime's own, of a sigmoid near 0: small beside 1, not beside its result
DOG, CHAIN, FACES, PARADE = (
    "data/imagenet/n02100236_German_short-haired_pointer.JPEG",
    "data/imagenet/n03000247_chain_mail.JPEG",
    "data/widerface/images/1_Handshaking_Handshaking_1_380.jpg",
    "data/widerface/images/0_Parade_marchingband_1_593.jpg",
)
BOARD = "data/deeppcb/group00041/00041/00041208_test.jpg"
DRESS = "data/clothing/dress_06a00c0f-5f9a-410d-a7da-3881a9df3a71.jpg"
REFERENCE = "data/reference/shufflenet-v2-12-int8/test_data_set_0"


@dataclass(frozen=True)
class Case:
    """A model, inputs to judge it on in order, and how far from ONNX Runtime it may be, as a share of the range."""

    path: str
    feeds: Callable[[], list[Feeds]]
    tolerance: float = 1e-4
    built_at: Mapping[str, tuple[int, ...]] = field(default_factory=dict[str, tuple[int, ...]])

    @property
    def name(self) -> str:
        return self.path.split("/")[-1].removesuffix(".onnx")


def _mnist() -> list[Feeds]:
    return [{"Input3": 255 - 255 * planar(luminance(photo(DRESS, 28, 28)))}]


def _squeezenet() -> list[Feeds]:
    pixels = [bgr(photo(p, 224, 224)) - np.float32([104, 117, 123]) for p in (DOG, CHAIN)]
    return [{"data_0": planar(x).astype(np.float16)} for x in pixels]


def _yolox() -> list[Feeds]:
    return [{"images": planar(bgr(photo(p, 416, 416)))} for p in (DOG, FACES)]


def _rfb() -> list[Feeds]:
    return [{"input": planar((photo(p, 320, 240) - 127) / np.float32(128))} for p in (FACES, PARADE)]


def _deeplab() -> list[Feeds]:
    return [{"sub_7": signed(photo(DOG, 257, 257))[None]}]


def _tracker() -> list[Feeds]:
    template, search = (planar(imagenet(photo(FACES, size, size))) for size in (128, 256))
    return [{"template": template, "search": search}]


def _faces(prepare: Callable[[Array], Array]) -> list[Feeds]:
    """Images of three sizes, the first again at the end, one of them two at a time."""
    one = planar(prepare(photo(FACES, 128, 96)))
    two = batch(*[planar(prepare(photo(p, 160, 64))) for p in (FACES, PARADE)])
    last = planar(prepare(photo(PARADE, 96, 192)))
    return [{"input": x} for x in (one, two, last, one)]


def _retinaface(pixels: Array) -> Array:
    return bgr(pixels) - np.float32([104, 117, 123])


def _text_regions() -> list[Feeds]:
    sizes = ((64, 64), (160, 96), (32, 128), (64, 64))
    return [{"x": planar(imagenet(photo(BOARD, *size)))} for size in sizes]


def _text_lines() -> list[Feeds]:
    lines = [planar(signed(photo(BOARD, width, 32))) for width in (64, 100, 320)]
    return [{"x": x} for x in (lines[0], lines[1], batch(lines[2], lines[2][:, :, ::-1]), lines[0])]


def _super_resolution() -> list[Feeds]:
    images = [planar(luminance(photo(p, 224, 224))) for p in (DOG, FACES, BOARD)]
    return [{"input": batch(*images[:count])} for count in (1, 3, 2, 1)]


def _speech() -> list[Feeds]:
    quiet = np.zeros((2, 1, 128), np.float32)
    rng = np.random.default_rng(5)
    state = (0.2 * rng.standard_normal((2, 3, 128))).astype(np.float32)
    fast, slow = np.array(16000, np.int64), np.array(8000, np.int64)
    three = batch(*[voice(576, 16000, start) for start in (0, 512, 1024)])
    return [
        {"input": voice(576, 16000), "state": quiet, "sr": fast},
        {"input": three, "state": state, "sr": fast},
        {"input": voice(288, 8000), "state": state[:, :1], "sr": slow},
        {"input": voice(576, 16000), "state": quiet, "sr": fast},
    ]


FIXED = (
    Case("models/classify/mnist-8.onnx", _mnist),
    Case("models/classify/SqueezeNet_fp16.onnx", _squeezenet, tolerance=2e-3),
    Case("models/detect/yolox_nano.onnx", _yolox),
    Case("models/face/version-RFB-320.onnx", _rfb),
    Case("models/segment/deeplab_v3.onnx", _deeplab),
    Case("models/track/vitTracker.onnx", _tracker),
)
# Built at a size of its own, which none of the runs has: every size is new to the engine.
DYNAMIC = (
    Case("models/face/yunet_n_dynamic.onnx", partial(_faces, bgr), built_at={"input": (1, 3, 64, 64)}),
    Case("models/face/retinaface_mbnet0.25.onnx", partial(_faces, _retinaface), built_at={"input": (1, 3, 64, 64)}),
    Case("models/ocr/en_PP-OCRv3_det.onnx", _text_regions, built_at={"x": (1, 3, 32, 32)}),
    Case("models/ocr/en_number_mobile_v2.0_rec.onnx", _text_lines, built_at={"x": (1, 3, 32, 48)}),
    Case("models/superres/super_resolution.onnx", _super_resolution, built_at={"input": (1, 1, 224, 224)}),
    Case("models/audio/silero_vad.onnx", _speech, built_at={"input": (2, 576), "state": (2, 2, 128)}),
)


def ort_outputs(path: str, feeds: Feeds) -> dict[str, Array]:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(str(shared(path)), options, providers=["CPUExecutionProvider"])
    names = [o.name for o in session.get_outputs()]
    return dict(zip(names, session.run(names, dict(feeds)), strict=True))


def built(case: Case) -> Engine:
    path, feeds = shared(case.path), case.feeds()
    options = BuildOptions(shapes=case.built_at) if case.built_at else BuildOptions(inputs=(feeds[0],))
    return build(path, options)


def off(expected: Array, found: Array) -> float:
    """The largest difference as a share of the expected values' range."""
    assert found.shape == expected.shape
    assert found.dtype == expected.dtype
    a, b = expected.astype(np.float64), found.astype(np.float64)
    gap = max(float(np.abs(a - b).max()) - ORT_SIGMOID_ERROR, 0.0)
    return gap / max(a.max() - a.min(), np.abs(a).max())


@pytest.fixture(scope="module", params=FIXED + DYNAMIC, ids=lambda case: case.name)
def case(request: pytest.FixtureRequest) -> Case:
    return request.param


@pytest.fixture(scope="module")
def engine(case: Case) -> Iterator[Engine]:
    with built(case) as made:
        yield made


def test_a_trained_model_gives_what_onnx_runtime_gives(case: Case, engine: Engine) -> None:
    """At every size in turn, on one thread and on two."""
    sets = case.feeds()
    expected = [ort_outputs(case.path, feeds) for feeds in sets]
    for threads in (1, 2):
        with engine.session(threads=threads) as session:
            for feeds, wanted in zip(sets, expected, strict=True):
                found = session.run(feeds)
                errors = {name: off(array, found[name]) for name, array in wanted.items()}
                assert max(errors.values()) <= case.tolerance, (threads, {n: x.shape for n, x in feeds.items()}, errors)


def test_no_step_of_a_fixed_network_leaves_native_code(case: Case, engine: Engine) -> None:
    if case not in FIXED:
        pytest.skip("recurrent and dynamic networks may take host steps")
    assert {type(step).__name__ for step in engine.plan.steps} == {"KernelStep"}


def test_fp16_squeezenet_names_the_same_class() -> None:
    case = FIXED[1]
    with built(case) as engine:
        for feeds in case.feeds():
            wanted, found = ort_outputs(case.path, feeds)["softmaxout_1"], engine.run(feeds)["softmaxout_1"]
            assert found.argmax() == wanted.argmax()


def _tensor(path: str) -> Array:
    proto = onnx.TensorProto()
    proto.ParseFromString(shared(path).read_bytes())
    return onnx.numpy_helper.to_array(proto)


def _steps_off(model: str, expected: Array, found: Array) -> float:
    """How many steps of the output's quantisation two results lie apart."""
    weights = {t.name: t for t in onnx.load(shared(model)).graph.initializer}
    last = next(n for n in reversed(onnx.load(shared(model)).graph.node) if n.op_type == "DequantizeLinear")
    scale = float(onnx.numpy_helper.to_array(weights[last.input[1]]))
    return float(np.abs(expected - found).max()) / scale


def test_int8_shufflenet_ranks_classes_as_onnx_runtime_does() -> None:
    model = "models/classify/shufflenet-v2-12-int8.onnx"
    given, published = (_tensor(f"{REFERENCE}/{name}_0.pb") for name in ("input", "output"))
    feeds = [given, *[planar(imagenet(photo(p, 224, 224))) for p in (DOG, CHAIN)]]
    with build(shared(model), BuildOptions(inputs=({"input": given},))) as engine:
        for image in feeds:
            wanted = ort_outputs(model, {"input": image})["output"]
            for threads in (1, 2):
                with engine.session(threads=threads) as session:
                    found = session.run({"input": image})["output"]
                assert found.argmax() == wanted.argmax()
                assert _steps_off(model, wanted, found) <= 1.01
                _same_first_five(wanted.ravel(), found.ravel())
        # The published scores come from arithmetic that saturates; ONNX Runtime on this machine is as far from them.
        scores = engine.run({"input": given})["output"].ravel()
        assert np.argsort(-scores)[:2].tolist() == np.argsort(-published.ravel())[:2].tolist()


def _same_first_five(expected: Array, found: Array) -> None:
    """The five best classes are the same, as far as their scores differ at all: equal scores have no order."""
    best = np.sort(expected)[-5]
    assert set(np.flatnonzero(found > best)) <= set(np.flatnonzero(expected >= best))
    assert set(np.flatnonzero(expected > best)) <= set(np.flatnonzero(found >= np.sort(found)[-5]))
