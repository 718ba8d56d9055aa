# SPDX-License-Identifier: Apache-2.0
"""Bad files give one ConversionError that says which, what and what to do; never anything else."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from graph_building import Builder, small_model
from hypothesis import given, settings
from hypothesis import strategies as st

from converter import ConversionError, flatbuffer, ir, read_tflite, schema, write_tflite
from converter.passes import DEFAULT_PASSES, optimize
from converter.passes.constants import fold_constants

SMALL = write_tflite(small_model())


def rewritten(**root_fields):
    """The small model with fields of its root table replaced."""
    root = flatbuffer.Decoder(SMALL).root("Model")
    return bytes(flatbuffer.encode("Model", {**root, **root_fields}, schema.FILE_IDENTIFIER))


def table(name):
    return flatbuffer.Decoder(SMALL).root("Model")[name]


BAD = {
    "empty": (b"", "0 bytes are too few"),
    "text": (b"<!DOCTYPE html><html>", "not a TFLite model: bytes 4 to 7 are b'CTYP'"),
    "other identifier": (SMALL[:4] + b"TFL2" + SMALL[8:], "b'TFL2' instead of b'TFL3'"),
    "cut in half": (SMALL[: len(SMALL) // 2], "cut short"),
    "wild root": (struct.pack("<I", 2**31) + SMALL[4:], "cut short or damaged"),
    "version": (rewritten(version=2), "schema version 2, and only version 3"),
    "no graph": (rewritten(subgraphs=None), "there is no graph"),
    "unknown op": (
        rewritten(operator_codes=[{"builtin_code": 999, "deprecated_builtin_code": 127}] * 5),
        "builtin operator number 999 is unknown",
    ),
    "opcode index": (rewritten(operator_codes=table("operator_codes")[:1]), "has opcode index 1"),
    "buffers": (rewritten(buffers=table("buffers")[:1]), "refers to buffer 1, and there are 1"),
    "external": (rewritten(external_buffers=[{"id": 1}]), "external buffers"),
    "signature graph": (
        rewritten(signature_defs=[{"signature_key": "s", "subgraph_index": 3}]),
        "signature 's' refers to graph 3",
    ),
    "signature tensor": (
        rewritten(signature_defs=[{"inputs": [{"name": "a", "tensor_index": 1}]}]),
        "no end of graph 0",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_file_gets_a_sentence_with_its_name(case, tmp_path):
    data, message = BAD[case]
    path = tmp_path / "some.tflite"
    path.write_bytes(data)
    with pytest.raises(ConversionError, match=message) as error:
        read_tflite(path)
    assert str(error.value).startswith(f"{path}: ")
    with pytest.raises(ConversionError, match=message):
        read_tflite(data)


def test_a_missing_file_gets_a_sentence(tmp_path):
    with pytest.raises(ConversionError, match=r"none\.tflite: cannot be read \(No such file"):
        read_tflite(tmp_path / "none.tflite")


def change_subgraph(**fields):
    (subgraph,) = table("subgraphs")
    return rewritten(subgraphs=[{**subgraph, **fields}])


def test_indices_out_of_range_are_found():
    (subgraph,) = table("subgraphs")
    for field in ("inputs", "outputs"):
        with pytest.raises(ConversionError, match="refers to tensor 99"):
            read_tflite(change_subgraph(**{field: np.array([99], np.int32)}))
        operators = [dict(operator) for operator in subgraph["operators"]]
        operators[1][field] = np.array([99], np.int32)
        with pytest.raises(ConversionError, match=r"operator 1 \(MAX_POOL_2D\) refers to"):
            read_tflite(change_subgraph(operators=operators))
    operators = [dict(operator) for operator in subgraph["operators"]]
    operators[1]["outputs"] = operators[0]["outputs"]
    with pytest.raises(ConversionError, match="already produced by CONV_2D"):
        read_tflite(change_subgraph(operators=operators))


def test_constants_must_have_the_size_of_their_shape():
    (subgraph,) = table("subgraphs")
    tensors = [dict(t) for t in subgraph["tensors"]]
    tensors[1]["shape"] = np.array([3, 3, 3, 99], np.int32)
    with pytest.raises(ConversionError, match="'c1' has 216 bytes where FLOAT32"):
        read_tflite(change_subgraph(tensors=tensors))


def test_truncation_at_every_length_is_a_conversion_error():
    for length in range(len(SMALL)):
        if reads(SMALL[:length]):  # nothing but padding was cut
            assert not any(SMALL[length:])
            assert len(SMALL) - length < 16


def test_flipping_any_byte_gives_a_model_or_a_conversion_error():
    survived = 0
    for i in range(len(SMALL)):
        for mask in (0x01, 0x80, 0xFF):
            data = bytearray(SMALL)
            data[i] ^= mask
            survived += reads(data)
    assert 0 < survived < 3 * len(SMALL)


def reads(data):
    """Whether `data` is read; what is read must also be optimized and written, or refused."""
    try:
        model = read_tflite(data)
        write_tflite(model)
        optimize(model, passes=[p for p in DEFAULT_PASSES if p is not fold_constants], check=True)
    except ConversionError:
        return False
    return True


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_random_damage_gives_a_model_or_a_conversion_error(data):
    damaged = bytearray(SMALL)
    for _ in range(data.draw(st.integers(1, 6))):
        at = data.draw(st.integers(0, len(SMALL) - 4))
        word = data.draw(st.sampled_from([0, 1, 0x7F, 0xFF, 0x7FFFFFFF, 0xFFFFFFFF, len(SMALL)]))
        struct.pack_into("<I", damaged, at, word)
    reads(damaged)


def test_a_small_file_cannot_describe_an_enormous_tree():
    """Subgraphs that all share one list of tensors that all share one tensor."""
    count = 2000
    out = bytearray(flatbuffer.encode("Model", {"version": 3}, schema.FILE_IDENTIFIER))
    base = len(out)

    def table(vtable, body):
        out.extend(struct.pack(f"<{len(vtable)}H", *vtable))
        out.extend(bytes(-len(out) % 4))
        at = len(out)
        out.extend(struct.pack("<i", len(vtable) * 2 + (-(len(vtable) * 2) % 4)) + body)
        return at

    root = table([12, 12, 4, 0, 8, 0], struct.pack("<II", 3, 4))
    struct.pack_into("<I", out, 0, root)
    vector = len(out)
    out.extend(struct.pack("<I", count) + bytes(4 * count))
    sub = table([6, 8, 4, 0], struct.pack("<I", 4))
    for i in range(count):
        at = vector + 4 + 4 * i
        struct.pack_into("<I", out, at, sub - at)
    tensors = len(out)
    out.extend(struct.pack("<I", count) + bytes(4 * count))
    tensor = table([4, 4], b"")
    for i in range(count):
        at = tensors + 4 + 4 * i
        struct.pack_into("<I", out, at, tensor - at)
    assert base < root
    with pytest.raises(ConversionError, match="over and over"):
        read_tflite(bytes(out))


def test_positional_metadata_is_left_out():
    model = small_model()
    model.metadata = {"model_control_dependencies": b"x" * 16, "note": b"kept"}
    data = write_tflite(model, offline_plan=True)
    assert b"model_control_dependencies" in data and b"OfflineMemoryAllocation" in data
    assert read_tflite(data).metadata.keys() == {"note", "min_runtime_version"}


def test_sub_byte_and_odd_types_survive():
    b = Builder()
    rng = np.random.default_rng(0)
    x = b.input((1, 3))
    constants = {
        "INT4": rng.integers(-8, 8, (3, 3)),
        "UINT4": rng.integers(0, 16, (3, 3)),
        "INT2": rng.integers(-2, 2, (3, 3)),
        "BFLOAT16": rng.integers(0, 65536, (3, 3)),
        "BOOL": rng.integers(0, 2, (3, 3)) > 0,
        "COMPLEX64": rng.standard_normal((3, 3)) * 1j,
        "STRING": np.array([[b"a", b"", b"xyz"]] * 3, object),
    }
    values = [b.constant(data, dtype=dtype) for dtype, data in constants.items()]
    out = ir.Value("y", "FLOAT32", (1, 3))
    b.graph.add_node("CUSTOM", [x, *values], [out], custom_code="mine", custom_options=b"\1\2")
    again = read_tflite(write_tflite(b.model(out)))
    (node,) = again.main.nodes
    assert (node.custom_code, node.custom_options) == ("mine", b"\1\2")
    for value, (dtype, data) in zip(node.inputs[1:], constants.items(), strict=True):
        assert value.dtype == dtype
        np.testing.assert_array_equal(value.data, np.asarray(data, value.data.dtype))
