# SPDX-License-Identifier: Apache-2.0
"""QDQ models (QuantizeLinear and DequantizeLinear around float ops) become int8 ops."""

from __future__ import annotations

import numpy as np
import pytest
from graph_building import Builder
from onnx import TensorProto
from onnx_models import model_of
from pass_checks import holds
from qdq_models import BORDER, CASES, Qdq, imported, one, results

import converter
from converter.conversion import convert
from converter.passes.quantized import compute_in_int8
from converter.passes.whole_numbers import whole_scales
from converter.sources import OnnxSource


def network(kind, axis):
    q = Qdq(kind)
    x = q.around("x", 0.02, 3)
    w = q.weights("w1", 8, 3, 3, 3, axis=axis)
    q.add("Conv", [x, w, q.bias("b1", 8, x, w)], "c1", strides=[2, 2], pads=[1, 1, 1, 1])
    q.add("Relu", ["c1"], "r1")
    first = q.around("r1", 0.03, -128)
    w = q.weights("w2", 8, 1, 3, 3, axis=axis)
    q.add("Conv", [first, w, q.bias("b2", 8, first, w)], "c2", pads=[1, 1, 1, 1], group=8)
    q.add("Clip", ["c2", q.constant("low", np.float32(0)), q.constant("high", np.float32(6))], "r2")
    x = q.around("r2", 6 / 255, -128)
    q.add("Conv", [x, q.weights("w3", 8, 8, 1, 1, axis=axis)], "c3")
    x = q.around("c3", 0.04, 5)
    q.add("Add", [x, first], "s")
    x = q.around("s", 0.05, -20)
    q.add("MaxPool", [x], "m", kernel_shape=[2, 2], strides=[2, 2])
    x = q.around("m", 0.05, -20)
    q.add("GlobalAveragePool", [x], "g")
    x = q.around("g", 0.02, -30)
    q.add("Flatten", [x], "f")
    x = q.around("f", 0.02, -30)
    w = q.weights("w4", 8, 10, axis=None if axis is None else 1)
    q.add("Gemm", [x, w, q.bias("b4", 10, x, w)], "l")
    return q.model((1, 3, 16, 16), q.around("l", 0.02, 1)), q


@pytest.mark.parametrize("axis", [None, 0])
@pytest.mark.parametrize("kind", [np.int8, np.uint8])
def test_a_network_computes_in_int8(kind, axis):
    source, _ = network(kind, axis)
    model, ops = imported(source)
    assert ops[0] == "QUANTIZE" and ops[-1] == "DEQUANTIZE" and not BORDER & set(ops[1:-1])
    computed = [op for op in ops if op not in (*BORDER, "TRANSPOSE", "RESHAPE", "PAD")]
    assert computed == [
        "CONV_2D", "DEPTHWISE_CONV_2D", "CONV_2D", "ADD", "MAX_POOL_2D", "MEAN", "FULLY_CONNECTED",
    ]  # fmt: skip
    for node in model.main.nodes[1:-1]:
        assert node.inputs[0].dtype == node.outputs[0].dtype == "INT8"
        if node.op in ("CONV_2D", "FULLY_CONNECTED"):
            quant = node.inputs[1].quant
            assert node.inputs[1].dtype == "INT8" and not quant.zero_point.any()
            assert quant.scale.size == (1 if axis is None else node.outputs[0].shape[-1])
    for seed in range(5):
        x = np.random.default_rng(seed).normal(size=(1, 3, 16, 16)).astype(np.float32)
        wanted, found = results(source, model, {"x": x})
        assert wanted.std() > 5 * 0.02
        assert np.abs(wanted - found).max() <= 2.01 * 0.02


def test_the_weights_are_the_source_s_numbers():
    source, q = network(np.int8, 0)
    model, _ = imported(source)
    conv = next(node for node in model.main.nodes if node.op == "CONV_2D")
    numbers = dict(q.constants)
    np.testing.assert_array_equal(conv.inputs[1].data, numbers["w1_q"].transpose(0, 2, 3, 1))
    np.testing.assert_allclose(conv.inputs[1].quant.scale, numbers["w1_s"], rtol=1e-6)
    np.testing.assert_array_equal(conv.inputs[2].data, numbers["b1_q"])


@pytest.mark.parametrize("kind", [np.int8, np.uint8])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case[0])
def test_an_op_computes_in_int8(case, kind):
    q = Qdq(kind)
    out, ours = one(q, case)
    source = q.model((1, 4, 6, 6), out)
    model, ops = imported(source)
    (node,) = [node for node in model.main.nodes if node.op == ours]
    assert {v.dtype for v in (*node.inputs, *node.outputs) if v is not None} <= {"INT8", "INT32"}
    assert node.outputs[0].dtype == "INT8" and ops.count("DEQUANTIZE") == 1
    for seed in range(20):
        x = np.random.default_rng(seed).normal(size=(1, 4, 6, 6)).astype(np.float32)
        wanted, found = results(source, model, {"x": x})
        assert np.abs(wanted - found).max() <= 1.01 * case[3][0]


def test_what_only_moves_numbers_moves_int8():
    q = Qdq()
    x = q.around("x", 0.02, 3)
    q.add("Slice", [x, *(q.constant(f"i{n}", np.array([n])) for n in (1, 7, 3))], "s")
    q.add("DepthToSpace", [q.around("s", 0.02, 3)], "d", blocksize=2)
    q.add("Pad", [q.around("d", 0.02, 3), q.constant("p", np.array([0, 0, 1, 0, 0, 0, 2, 1]))], "e")
    q.add("Transpose", [q.around("e", 0.02, 3)], "t", perm=[0, 2, 3, 1])
    q.add("Relu", [q.around("t", 0.02, 3)], "r")
    source = q.model((1, 4, 6, 8), q.around("r", 0.02, -128))
    model, ops = imported(source)
    assert "RELU" in ops and {"QUANTIZE", "DEQUANTIZE"} == {ops[0], ops[-1]}
    assert not BORDER & set(ops[1:-1])
    x = q.rng.normal(size=(1, 4, 6, 8)).astype(np.float32)
    wanted, found = results(source, model, {"x": x})
    assert np.abs(wanted - found).max() <= 1.01 * 0.02


def test_what_has_no_int8_form_stays_float():
    q = Qdq()
    x = q.around("x", 0.02)
    w = q.constant("w", q.rng.normal(size=(4, 3, 3, 3)).astype(np.float32))  # of no scale
    q.add("Conv", [x, w], "c")
    source = q.model((1, 3, 8, 8), q.around("c", 0.05))
    model, _ = imported(source)
    (conv,) = [node for node in model.main.nodes if node.op == "CONV_2D"]
    assert {v.dtype for v in (*conv.inputs, *conv.outputs) if v is not None} == {"FLOAT32"}
    x = q.rng.normal(size=(1, 3, 8, 8)).astype(np.float32)
    wanted, found = results(source, model, {"x": x})
    assert np.abs(wanted - found).max() <= 1.01 * 0.05


@pytest.mark.parametrize(
    ("op", "ours", "into"),
    [
        ("Sigmoid", "LOGISTIC", (0.001, -128)),
        ("Softmax", "SOFTMAX", (0.003, -128)),
        ("AveragePool", "AVERAGE_POOL_2D", (0.01, 3)),
        ("Exp", "EXP", (0.1, 0)),
    ],
)
def test_other_scales_and_ops_stay_float(op, ours, into):
    q = Qdq()
    attributes = {"kernel_shape": [2, 2]} if op == "AveragePool" else {}
    q.add(op, [q.around("x", 0.02, 3)], "t", **attributes)
    model, _ = imported(q.model((1, 4, 6, 6), q.around("t", *into)))
    (node,) = [node for node in model.main.nodes if node.op == ours]
    assert node.inputs[0].dtype == node.outputs[0].dtype == "FLOAT32"


def test_a_float_reader_keeps_the_float_result():
    q = Qdq()
    q.add("Relu", [q.around("x", 0.02, 3)], "t")
    both = q.add("Add", ["t", q.around("t", 0.1, -128)], "both")
    source = q.model((1, 4), both)
    model, _ = imported(source)
    assert {n.inputs[0].dtype for n in model.main.nodes if n.op == "RELU"} == {"FLOAT32"}
    x = np.array([[0.5, -1, 0.123, 2]], np.float32)
    wanted, found = results(source, model, {"x": x})
    np.testing.assert_allclose(found, wanted, rtol=1e-6)


@pytest.mark.parametrize("element", [TensorProto.INT8, TensorProto.UINT8])
def test_inputs_and_outputs_of_8_bits_keep_their_type(element):
    kind = np.int8 if element == TensorProto.INT8 else np.uint8
    q = Qdq(kind)
    scale, zero = q.constant("s", np.float32(0.02)), q.constant("z", kind(100))
    x = q.add("DequantizeLinear", ["x", scale, zero], "x_dq")
    q.add("Conv", [x, q.weights("w", 4, 3, 3, 3, axis=0)], "c")
    q.add("QuantizeLinear", ["c", q.constant("so", np.float32(0.1)), zero], "y")
    source = model_of(q.nodes, [("x", (1, 3, 8, 8))], [("y", (1, 4, 6, 6))], q.constants)
    source.ir_version = 9
    for info in (source.graph.input[0], source.graph.output[0]):
        info.type.tensor_type.elem_type = element
    model, _ = imported(source)
    (conv,) = [node for node in model.main.nodes if node.op == "CONV_2D"]
    assert conv.outputs[0].dtype == "INT8"
    info = np.iinfo(kind)
    x = q.rng.integers(info.min, info.max + 1, (1, 3, 8, 8)).astype(kind)
    wanted, found = results(source, model, {"x": x})
    assert wanted.dtype == found.dtype == kind
    assert np.abs(wanted.astype(int) - found).max() <= 1


def test_the_proof_says_what_it_allows(tmp_path):
    source, _ = network(np.uint8, 0)
    made = convert(OnnxSource(source.SerializeToString()), tmp_path / "q.tflite", check="layers")
    assert made.proof.passed and made.proof.first_departure is None
    (output,) = made.proof.outputs
    assert output.steps == pytest.approx(8**0.5)  # QUANTIZE and seven ops
    assert output.allowed == pytest.approx(output.steps * 0.02)
    assert "2.8 8-bit steps (0.0566) are allowed" in str(made.proof)


def test_the_proof_still_fails_beyond_those_steps():
    class Broken(OnnxSource):
        def convert(self):
            model = super().convert()
            values = [v for v in model.main.values() if v.data is not None]
            (bias,) = [v for v in values if v.shape == (10,) and v.dtype == "FLOAT32"]
            bias.data = bias.data + np.float32(5 * 0.02)
            return model

    source, _ = network(np.uint8, 0)
    with pytest.raises(converter.ConversionError, match="does not compute what its source does"):
        convert(Broken(source.SerializeToString()))


def test_floats_without_quantization_around_are_left_alone():
    b = Builder()
    x = b.input((1, 4))
    assert holds(b.model(b.op("RELU", [x], (1, 4))), compute_in_int8)


def test_scales_are_found_where_numbers_are_multiples():
    rng = np.random.default_rng(3)
    numbers = rng.integers(-90, 91, (5, 50))
    scales = rng.uniform(0.001, 1, 5)
    found = whole_scales((numbers * scales[:, None]).astype(np.float32), 127)
    ratio = scales / found
    np.testing.assert_allclose(ratio, np.rint(ratio), atol=1e-4)
    assert whole_scales(rng.normal(size=(1, 50)).astype(np.float32), 127) is None
    np.testing.assert_array_equal(whole_scales(np.zeros((2, 3), np.float32), 127), [1, 1])
