# SPDX-License-Identifier: Apache-2.0
"""Weights of 4 and 2 bits, and int8 weights of float ops: they stay as small in the file."""

from __future__ import annotations

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter
from onnx import TensorProto, helper, numpy_helper, reference

import converter
import runtime
from converter.conversion import convert
from converter.sources import OnnxSource

RNG = np.random.default_rng(11)
LIMITS = {
    TensorProto.INT4: (-8, 8),
    TensorProto.UINT4: (0, 16),
    TensorProto.INT2: (-2, 2),
    TensorProto.UINT2: (0, 4),
}


def narrow(name, element, shape):
    data = RNG.integers(*LIMITS[element], shape)
    return helper.make_tensor(name, element, shape, data.reshape(-1).tolist())


def scales(name, *shape):
    return numpy_helper.from_array(RNG.uniform(0.01, 0.1, shape).astype(np.float32), name)


def model_of(nodes, dims, held, opset=25):
    x, y = (
        helper.make_tensor_value_info(n, TensorProto.FLOAT, d)
        for n, d in (("x", dims), ("y", None))
    )
    domains = [helper.make_opsetid("", opset), helper.make_opsetid("com.microsoft", 1)]
    graph = helper.make_graph(nodes, "graph", [x], [y], held)
    return helper.make_model(graph, opset_imports=domains, ir_version=11)


def converted(source, x, wanted):
    """The optimized model; both engines give what is wanted."""
    model = converter.from_onnx(source)
    converter.optimize(model, check=True)
    content = converter.write_tflite(model)
    for engine in (runtime.Interpreter, Interpreter):
        found = engine(model_content=content).get_signature_runner()(x=x)["y"]
        assert np.abs(found - wanted).max() <= 1e-5 * np.abs(wanted).max()
    return model, content


def reference_of(source, x):
    return reference.ReferenceEvaluator(source).run(None, {"x": x})[0]


def unpacking(model):
    return [n for n in model.main.nodes if n.op == "DEQUANTIZE" and n.inputs[0].data is not None]


@pytest.mark.parametrize("points", [False, True])
@pytest.mark.parametrize("axis", [None, 1])
@pytest.mark.parametrize("element", [TensorProto.INT4, TensorProto.UINT4])
def test_four_bit_weights_stay_so(element, axis, points):
    shape = () if axis is None else (16,)
    held = [narrow("w", element, (64, 16)), scales("s", *shape)]
    held += [narrow("z", element, shape)] if points else []
    nodes = [
        helper.make_node("DequantizeLinear", ["w", "s", "z"][: len(held)], ["d"], axis=1),
        helper.make_node("MatMul", ["x", "d"], ["y"]),
    ]
    x = RNG.normal(size=(3, 64)).astype(np.float32)
    source = model_of(nodes, (3, 64), held)
    model, content = converted(source, x, reference_of(source, x))
    (node,) = unpacking(model)
    assert node.inputs[0].dtype == "INT4"
    assert len(content) < 64 * 16 / 2 + 3000


@pytest.mark.parametrize("points", [False, True])
@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("element", [TensorProto.INT4, TensorProto.UINT4, TensorProto.INT8])
def test_blocks_of_weights_stay_integers(element, axis, points):
    blocks = (4, 64) if axis == 0 else (128, 2)
    if element == TensorProto.INT8:
        data = RNG.integers(-128, 128, (128, 64)).astype(np.int8)
        held = [numpy_helper.from_array(data, "w"), scales("s", *blocks)]
        points_of = numpy_helper.from_array(RNG.integers(-9, 9, blocks).astype(np.int8), "z")
    else:
        held = [narrow("w", element, (128, 64)), scales("s", *blocks)]
        points_of = narrow("z", element, blocks)
    held += [points_of] if points else []
    nodes = [
        helper.make_node(
            "DequantizeLinear", ["w", "s", "z"][: len(held)], ["d"], axis=axis, block_size=32
        ),
        helper.make_node("MatMul", ["x", "d"], ["y"]),
    ]
    x = RNG.normal(size=(2, 3, 128)).astype(np.float32)
    source = model_of(nodes, (2, 3, 128), held)
    model, content = converted(source, x, reference_of(source, x))
    (node,) = unpacking(model)
    assert node.inputs[0].dtype == ("INT8" if element == TensorProto.INT8 else "INT4")
    assert len(content) < 128 * 64 * (1 if element == TensorProto.INT8 else 0.5) + 8000
    assert axis or "FULLY_CONNECTED" in [n.op for n in model.main.nodes]


@pytest.mark.parametrize("bits", [2, 4, 8])
@pytest.mark.parametrize("points", [False, True])
@pytest.mark.parametrize("depth", [128, 100])
def test_products_by_packed_bits(bits, points, depth):
    columns, block = 48, 32
    blocks = -(-depth // block)
    numbers = RNG.integers(0, 1 << bits, (columns, blocks * block)).astype(np.uint8)
    zeros = np.full((columns, blocks), 1 << (bits - 1), np.uint8)
    per_byte = 8 // bits

    def packed(data):
        data = np.pad(data, [(0, 0), (0, -data.shape[1] % per_byte)])
        parts = data.reshape(len(data), -1, per_byte) << (np.arange(per_byte) * bits)
        return parts.sum(-1).astype(np.uint8)

    scale = RNG.uniform(0.01, 0.1, (columns, blocks)).astype(np.float32)
    held = [
        numpy_helper.from_array(packed(numbers).reshape(columns, blocks, -1), "w"),
        numpy_helper.from_array(scale.reshape(-1), "s"),
    ]
    names = ["x", "w", "s"]
    if points:
        zeros = RNG.integers(0, 1 << bits, (columns, blocks)).astype(np.uint8)
        held.append(numpy_helper.from_array(packed(zeros).reshape(-1), "z"))
        names.append("z")
    node = helper.make_node(
        "MatMulNBits", names, ["y"], domain="com.microsoft", K=depth, N=columns, bits=bits,
        block_size=block,
    )  # fmt: skip
    weights = numbers.reshape(columns, blocks, block).astype(np.float32) - zeros[..., None]
    weights = (weights * scale[..., None]).reshape(columns, -1)[:, :depth]
    x = RNG.normal(size=(5, depth)).astype(np.float32)
    model, content = converted(model_of([node], (5, depth), held, 21), x, x @ weights.T)
    (made,) = unpacking(model)
    assert made.inputs[0].dtype == ("INT8" if bits == 8 else "INT4")
    assert len(content) < columns * blocks * (block * max(bits, 4) / 8 + 16) + 3000


@pytest.mark.parametrize("element", list(LIMITS))
def test_packed_integers_in_a_file_of_their_own(element, tmp_path):
    held = [narrow("w", element, (63, 15)), scales("s", 15)]
    nodes = [
        helper.make_node("DequantizeLinear", ["w", "s"], ["d"], axis=1),
        helper.make_node("MatMul", ["x", "d"], ["y"]),
    ]
    x = RNG.normal(size=(3, 63)).astype(np.float32)
    source = model_of(nodes, (3, 63), held)
    wanted = reference_of(source, x)
    content = held[0].raw_data or bytes(held[0].int32_data)
    (tmp_path / "w.bin").write_bytes(b"before" + content)
    outside = source.graph.initializer[0]
    outside.ClearField("raw_data"), outside.ClearField("int32_data")
    outside.data_location = TensorProto.EXTERNAL
    for key, value in (("location", "w.bin"), ("offset", "6"), ("length", str(len(content)))):
        outside.external_data.add(key=key, value=value)
    (tmp_path / "net.onnx").write_bytes(source.SerializeToString())
    converted(tmp_path / "net.onnx", x, wanted)
    (tmp_path / "w.bin").write_bytes(content)
    with pytest.raises(converter.ConversionError, match="too short"):
        converter.from_onnx(tmp_path / "net.onnx")


def test_an_engine_that_may_round_is_asked_not_to(tmp_path):
    held = [
        numpy_helper.from_array(RNG.integers(0, 256, (48, 8, 16)).astype(np.uint8), "w"),
        scales("s", 48 * 8),
    ]
    node = helper.make_node(
        "MatMulNBits", ["x", "w", "s"], ["y"], domain="com.microsoft", K=256, N=48, bits=4,
        block_size=32, accuracy_level=4,
    )  # fmt: skip
    source = model_of([node], (5, 256), held, 21).SerializeToString()
    made = convert(OnnxSource(source), tmp_path / "n.tflite")
    assert made.proof.passed and "accuracy_level 0" in made.proof.engine


def test_int8_weights_of_a_float_product_stay_int8():
    held = [
        numpy_helper.from_array(RNG.integers(-127, 128, (64, 48)).astype(np.int8), "w"),
        scales("s", 48),
    ]
    nodes = [
        helper.make_node("DequantizeLinear", ["w", "s"], ["d"], axis=1),
        helper.make_node("MatMul", ["x", "d"], ["y"]),
    ]
    x = RNG.normal(size=(3, 64)).astype(np.float32)
    source = model_of(nodes, (3, 64), held)
    model, content = converted(source, x, reference_of(source, x))
    (node,) = unpacking(model)
    assert node.inputs[0].dtype == "INT8" and len(content) < 64 * 48 + 3000


def test_trained_floats_and_matrices_of_ones_stay_floats():
    held = [
        numpy_helper.from_array(RNG.normal(size=(64, 48)).astype(np.float32), "w"),
        numpy_helper.from_array(np.eye(48, dtype=np.float32), "ones"),
    ]
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["d"]),
        helper.make_node("MatMul", ["d", "ones"], ["y"]),
    ]
    x = RNG.normal(size=(3, 64)).astype(np.float32)
    source = model_of(nodes, (3, 64), held)
    model, _ = converted(source, x, reference_of(source, x))
    assert not unpacking(model)


@pytest.mark.parametrize(("op", "ours"), [("Conv", "CONV_2D"), ("MatMul", "FULLY_CONNECTED")])
@pytest.mark.parametrize("per_channel", [False, True])
def test_products_of_int8_by_int4(op, ours, per_channel):
    shape = (8, 6, 3, 3) if op == "Conv" else (12, 16)
    axis = 0 if op == "Conv" else 1
    held = [
        narrow("w", TensorProto.INT4, shape), scales("s", *([shape[axis]] if per_channel else [])),
        numpy_helper.from_array(np.float32(0.02), "xs"),
        numpy_helper.from_array(np.int8(3), "xz"),
        numpy_helper.from_array(np.float32(0.05), "ys"),
    ]  # fmt: skip
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "xs", "xz"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "xs", "xz"], ["r"]),
        helper.make_node("DequantizeLinear", ["w", "s"], ["d"], axis=axis),
        helper.make_node(op, ["r", "d"], ["c"]),
        helper.make_node("QuantizeLinear", ["c", "ys", "xz"], ["p"]),
        helper.make_node("DequantizeLinear", ["p", "ys", "xz"], ["y"]),
    ]
    dims = (1, 6, 7, 7) if op == "Conv" else (5, 12)
    source = model_of(nodes, dims, held)
    model = converter.from_onnx(source)
    converter.optimize(model, check=True)
    (node,) = [n for n in model.main.nodes if n.op == ours]
    assert [v.dtype for v in (*node.inputs[:2], *node.outputs)] == ["INT8", "INT4", "INT8"]
    x = RNG.normal(size=dims).astype(np.float32)
    wanted, content = reference_of(source, x), converter.write_tflite(model)
    for engine in (runtime.Interpreter, Interpreter):
        found = engine(model_content=content).get_signature_runner()(x=x)["y"]
        assert np.abs(found - wanted).max() <= 1.01 * 0.05


@pytest.mark.parametrize("element", list(LIMITS))
def test_narrow_integers_are_bytes_at_the_border(element):
    low, high = LIMITS[element]
    y = helper.make_tensor_value_info("y", element, [4])
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [4])
    held = [scales("s"), narrow("z", element, ())]
    nodes = [helper.make_node("QuantizeLinear", ["x", "s", "z"], ["y"])]
    graph = helper.make_graph(nodes, "graph", [x], [y], held)
    source = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 25)], ir_version=13)
    model = converter.from_onnx(source)
    values = np.array([-100, 0, 0.3, 100], np.float32)
    found = runtime.Interpreter(model_content=converter.write_tflite(model))
    found = found.get_signature_runner()(x=values)["y"]
    assert found.dtype == (np.int8 if low else np.uint8)
    assert found.min() == low and found.max() == high - 1
    np.testing.assert_array_equal(found, reference_of(source, values).astype(np.int8))


@pytest.mark.parametrize(
    ("attributes", "names", "why"),
    [
        ({"bits": 3}, ["x", "w", "s"], "has weights of 3 bits"),
        ({"bits": 4}, ["x", "w", "s", "", "g"], "columns in groups"),
        ({"bits": 4}, ["x", "w", "s", "s"], "no whole numbers"),
    ],
)
def test_other_packings_are_refused(attributes, names, why):
    held = [
        numpy_helper.from_array(np.zeros((8, 1, 16), np.uint8), "w"),
        scales("s", 8),
        numpy_helper.from_array(np.zeros(32, np.int32), "g"),
    ]
    node = helper.make_node(
        "MatMulNBits", names, ["y"], "it", domain="com.microsoft", K=32, N=8, block_size=32,
        **attributes,
    )  # fmt: skip
    with pytest.raises(converter.ConversionError, match=f"'it'.*{why}"):
        converter.from_onnx(model_of([node], (5, 32), held, 21))
