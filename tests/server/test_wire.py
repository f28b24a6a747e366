"""Tensors as bytes and JSON: what goes in comes out, and what does not fit is refused in so many words."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from fusee.base.types import DType
from fusee.server.errors import Reason, ServingError
from fusee.server.types import Tensor
from fusee.server.wire import (
    BYTES,
    DATATYPES,
    DTYPES,
    NUMPY,
    config_type_of,
    datatype_of,
    datatype_of_config,
    decode,
    dtype_of,
    element_count,
    encode,
    from_json,
    to_json,
)

IN_JSON = [n for n in DTYPES if n not in ("FP16", "BF16")]


@st.composite
def tensors(draw, datatypes=tuple(DATATYPES), is_finite=False):
    datatype = draw(st.sampled_from(datatypes))
    shape = draw(hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4))
    if datatype == BYTES:
        elements = draw(st.lists(st.text(max_size=5), min_size=int(np.prod(shape)), max_size=int(np.prod(shape))))
        array = np.empty(len(elements), dtype=object)
        array[:] = [e.encode() for e in elements]
        return Tensor("x", datatype, shape, array.reshape(shape))
    if datatype == "BF16":
        return Tensor("x", datatype, shape, draw(hnp.arrays(np.uint16, shape)).view(ml_dtypes.bfloat16))
    limits = {"allow_nan": not is_finite, "allow_infinity": not is_finite} if datatype.startswith("FP") else {}
    elements = hnp.from_dtype(NUMPY[datatype], **limits)
    return Tensor("x", datatype, shape, draw(hnp.arrays(NUMPY[datatype], shape, elements=elements)))


def refused(call, *arguments):
    with pytest.raises(ServingError) as caught:
        call(*arguments)
    return caught.value


class TestBytes:
    @given(tensors())
    def test_there_and_back(self, tensor):
        content = bytes(encode(tensor))
        again = decode("x", tensor.datatype, tensor.shape, content)
        assert again[:3] == tensor[:3]
        assert again.values().dtype == tensor.values().dtype
        assert bytes(encode(again)) == content

    def test_layout(self):
        assert bytes(encode(Tensor("x", "UINT16", (2,), np.array([1, 258], np.uint16)))) == b"\x01\x00\x02\x01"
        assert bytes(encode(Tensor("x", "BOOL", (2,), np.array([True, False])))) == b"\x01\x00"
        strings = np.array([b"ab", b""], dtype=object)
        assert encode(Tensor("x", BYTES, (2,), strings)) == b"\x02\x00\x00\x00ab\x00\x00\x00\x00"

    @pytest.mark.parametrize("buffer", [bytes, bytearray, memoryview])
    def test_arrays_look_at_the_buffer(self, buffer):
        content = buffer(np.arange(4, dtype=np.float32).tobytes())
        array = decode("x", "FP32", (2, 2), content).values()
        assert np.shares_memory(array, np.frombuffer(content, np.uint8))

    def test_contiguous_arrays_are_not_copied_and_others_are_put_in_order(self):
        array = np.arange(6, dtype=np.float32).reshape(2, 3)
        assert np.shares_memory(np.frombuffer(encode(Tensor("x", "FP32", (2, 3), array)), np.uint8), array)
        turned = Tensor("x", "FP32", (3, 2), array.T)
        assert decode("x", "FP32", (3, 2), encode(turned)).values().tolist() == array.T.tolist()

    @pytest.mark.parametrize(
        ("datatype", "shape", "content", "message"),
        [
            ("FP8", (1,), b"", "tensor 'x': datatype 'FP8' is unknown; expected BOOL, UINT8"),
            ("FP32", (2,), bytes(7), "tensor 'x': 7 bytes of data, expected 8 for FP32 of shape [2]"),
            ("FP32", (), b"", "tensor 'x': 0 bytes of data, expected 4 for FP32 of shape []"),
            ("FP32", (-1, -1), bytes(4), "tensor 'x': shape [-1, -1] has a size below 0"),
            ("INT8", (2**32, 2**32), b"", "tensor 'x': shape [4294967296, 4294967296] of 2 dimensions is too large"),
            ("INT8", (0, 2**62, 4), b"", "is too large; expected up to 64 dimensions"),
            ("INT8", (1,) * 65, b"1", "of 65 dimensions is too large"),
            ("BOOL", (2,), b"\x00\x02", "tensor 'x': a BOOL byte is 2, expected 0 or 1"),
            (BYTES, (2,), bytes(7), "7 bytes of data, expected at least 8 for BYTES of shape [2]"),
            (BYTES, (2**59,), bytes(8), "tensor 'x': 8 bytes of data, expected at least"),
            (BYTES, (1,), b"\x05\x00\x00\x00ab", "element 0 has 5 bytes by its length, but 2 are left"),
            (BYTES, (1,), b"\xff\xff\xff\xffab", "element 0 has 4294967295 bytes by its length, but 2 are left"),
            (BYTES, (2,), b"\x02\x00\x00\x00ab\x00\x00", "the data ends at byte 8, before the length of element 1"),
            (BYTES, (1,), b"\x01\x00\x00\x00ab", "1 bytes are left over after 1 elements"),
        ],
    )
    def test_what_does_not_fit(self, datatype, shape, content, message):
        error = refused(decode, "x", datatype, shape, content)
        assert error.reason is Reason.INVALID
        assert message in error.message

    @given(st.sampled_from(DATATYPES), st.lists(st.integers(-1, 2**40), max_size=4), st.binary(max_size=64))
    def test_any_bytes_are_a_tensor_or_refused(self, datatype, shape, content):
        try:
            tensor = decode("x", datatype, tuple(shape), content)
        except ServingError:
            return
        assert bytes(encode(tensor)) == content
        assert tensor.values().shape == tuple(shape)


class TestJson:
    @given(tensors(datatypes=(*IN_JSON, BYTES), is_finite=True))
    def test_there_and_back(self, tensor):
        text = orjson.dumps(to_json(tensor), option=orjson.OPT_SERIALIZE_NUMPY)
        again = from_json("x", tensor.datatype, tensor.shape, orjson.loads(text))
        assert again.values().tolist() == tensor.values().tolist()
        assert again.values().dtype == tensor.values().dtype

    @given(tensors(datatypes=("INT32", "FP64"), is_finite=True))
    def test_nested_lists(self, tensor):
        if tensor.values().size:
            again = from_json("x", tensor.datatype, tensor.shape, np.atleast_1d(tensor.values()).tolist())
            assert again.values().tolist() == tensor.values().tolist()

    @pytest.mark.parametrize(
        ("datatype", "shape", "values", "message"),
        [
            ("FP16", (1,), [1], "FP16 cannot be sent as JSON; send it as binary data"),
            ("BF16", (1,), [1], "BF16 cannot be sent as JSON; send it as binary data"),
            ("X", (1,), [1], "datatype 'X' is unknown"),
            ("INT8", (1,), 1, "'data' is 1, expected a list"),
            ("INT8", (2,), [1], "1 elements, expected 2 for shape [2]"),
            ("INT8", (1,), [128], "an element is out of the range of INT8"),
            ("UINT8", (1,), [-1], "an element is out of the range of UINT8"),
            ("INT64", (1,), [2**63], "an element is out of the range of INT64"),
            ("FP32", (1,), [1e39], "an element is out of the range of FP32"),
            ("INT32", (1,), [1.0], "an element is 1.0, expected whole numbers for INT32"),
            ("INT32", (1,), [True], "an element is True, expected whole numbers for INT32"),
            ("FP32", (1,), [True], "an element is True, expected numbers for FP32"),
            ("FP32", (1,), [None], "an element is None, expected numbers for FP32"),
            ("BOOL", (1,), [1], "an element is 1, expected true or false for BOOL"),
            ("BYTES", (1,), [1], "an element is 1, expected strings for BYTES"),
            ("INT8", (2, 2), [[1, 2]], "1 nested lists, expected shape [2, 2]"),
            ("INT8", (2, 2), [[1, 2], [3]], "the lists are not nested as shape [2, 2] says"),
            ("INT8", (2, 2), [[1, 2], 3], "the lists are not nested as shape [2, 2] says"),
            ("INT8", (2,), [[1], [2]], "an element is"),
        ],
    )
    def test_what_does_not_fit(self, datatype, shape, values, message):
        error = refused(from_json, "x", datatype, shape, values)
        assert message in error.message
        assert error.message.startswith("tensor 'x': ")

    @pytest.mark.parametrize(
        ("datatype", "array", "message"),
        [
            ("FP32", np.array([np.inf], np.float32), "output 'x': holds NaN or infinity, which JSON cannot carry"),
            ("FP16", np.array([1], np.float16), "output 'x': FP16 cannot be sent as JSON; ask for binary_data"),
            ("BYTES", np.array([b"\xff"], object), "output 'x': an element is no UTF-8 (invalid start byte)"),
        ],
    )
    def test_what_json_cannot_carry(self, datatype, array, message):
        assert message in refused(to_json, Tensor("x", datatype, (1,), array)).message


class TestNames:
    def test_every_datatype_there_and_back(self):
        assert set(NUMPY) == set(DATATYPES)
        for name, dtype in DTYPES.items():
            assert datatype_of(dtype) == name
            assert dtype_of(name) is dtype
        for name in DATATYPES:
            assert datatype_of_config(config_type_of(name)) == name
        assert config_type_of(BYTES) == "TYPE_STRING"

    def test_unknown(self):
        assert refused(datatype_of, DType.I4).reason is Reason.UNSUPPORTED
        assert "'BYTES' has no element type" in refused(dtype_of, BYTES).message
        assert "'FLOAT' is unknown" in refused(config_type_of, "FLOAT").message
        assert "TYPE_INVALID is no type of a tensor" in refused(datatype_of_config, "TYPE_INVALID").message

    def test_element_count(self):
        assert [element_count("x", s) for s in ((), (0, 3), (2, 3))] == [1, 0, 6]
