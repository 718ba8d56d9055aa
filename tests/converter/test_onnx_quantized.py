# SPDX-License-Identifier: Apache-2.0
"""QDQ models (QuantizeLinear and DequantizeLinear around float ops) become int8 ops."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest
from ai_edge_litert.interpreter import Interpreter
from graph_building import Builder
from onnx import TensorProto, helper, numpy_helper
from onnx_models import model_of
from pass_checks import holds

import converter
import runtime
from converter.conversion import convert
from converter.passes.quantized import compute_in_int8
from converter.passes.whole_numbers import whole_scales
from converter.sources import OnnxSource

NODE = helper.make_node
BORDER = {"QUANTIZE", "DEQUANTIZE"}


class Qdq:
    """Grows the nodes of a QDQ model; `kind` is the type of its activations."""

    def __init__(self, kind=np.uint8, seed=0):
        self.kind, self.rng = kind, np.random.default_rng(seed)
        self.nodes, self.constants, self.scales = [], [], {}

    def add(self, op, inputs, name, **attributes):
        self.nodes.append(NODE(op, inputs, [name], name, **attributes))
        return name

    def constant(self, name, data):
        self.constants.append((name, np.asarray(data)))
        return name

    def around(self, name, scale, zero=0):
        """QuantizeLinear and DequantizeLinear behind `name`; `zero` is that of int8."""
        point = self.kind(zero if self.kind is np.int8 else zero + 128)
        self.constant(f"{name}_s", np.float32(scale))
        self.constant(f"{name}_z", point)
        self.add("QuantizeLinear", [name, f"{name}_s", f"{name}_z"], f"{name}_q")
        self.add("DequantizeLinear", [f"{name}_q", f"{name}_s", f"{name}_z"], f"{name}_dq")
        self.scales[f"{name}_dq"] = scale
        return f"{name}_dq"

    def weights(self, name, *shape, axis=None):
        """int8 numbers behind a DequantizeLinear, with a scale per place of `axis`."""
        scale = self.rng.uniform(0.002, 0.004, () if axis is None else shape[axis])
        self.constant(f"{name}_q", self.rng.integers(-127, 128, shape).astype(np.int8))
        self.constant(f"{name}_s", scale.astype(np.float32))
        self.constant(f"{name}_z", np.zeros(scale.shape, np.int8))
        inputs = [f"{name}_q", f"{name}_s", f"{name}_z"]
        return self.add("DequantizeLinear", inputs, name, axis=axis or 0)

    def bias(self, name, count, x, weights):
        """int32 numbers of scale x * weights."""
        scale = self.scales[x] * dict(self.constants)[f"{weights}_s"]
        self.constant(f"{name}_q", self.rng.integers(-3000, 3000, count).astype(np.int32))
        self.constant(f"{name}_s", np.float32(scale))
        return self.add("DequantizeLinear", [f"{name}_q", f"{name}_s"], name, axis=0)

    def model(self, dims, output, out_dims=None):
        self.nodes.append(NODE("Identity", [output], ["y"]))
        made = model_of(self.nodes, [("x", dims)], [("y", out_dims)], self.constants, 17)
        made.ir_version = 9
        return made


def results(source, model, feeds):
    """(ONNX Runtime's, ours); LiteRT's is held to be ours."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(source.SerializeToString(), options)
    (wanted,) = session.run(None, feeds)
    content = converter.write_tflite(model)
    found = runtime.Interpreter(model_content=content).get_signature_runner()(**feeds)["y"]
    theirs = Interpreter(model_content=content).get_signature_runner()(**feeds)["y"]
    np.testing.assert_array_equal(found, theirs)
    return wanted, found


def imported(source):
    model = converter.from_onnx(source)
    converter.optimize(model, check=True)
    return model, [node.op for node in model.main.nodes]


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


def one(q, case):
    """The case's op on x of [1, 4, 6, 6], in q's steps; its int8 op."""
    op, scale, zero, into, ours, attributes = case
    x = q.around("x", scale, zero)
    inputs = {
        "Add": lambda: [x, q.around(q.add("Neg", ["x"], "n"), 0.01, 7)],
        "Clip": lambda: [x, *(q.constant(f"c{n}", np.float32(n)) for n in (0, 6))],
        "Concat": lambda: [x, q.around(q.add("Neg", ["x"], "n"), 0.01, 7)],
        "Conv": lambda: [x, q.weights("w", 6, 4, 3, 3, axis=0)],
        "ConvTranspose": lambda: [x, q.weights("w", 4, 6, 2, 2, axis=1)],
        "MatMul": lambda: [x, q.weights("w", 6, 9, axis=1)],
        "Div": lambda: [x, q.constant("k", np.float32(1.7))],
        "Max": lambda: [x, q.around(q.add("Neg", ["x"], "n"), 0.01, 7)],
        "Mul": lambda: [x, q.around(q.add("Neg", ["x"], "n"), 0.01, 7)],
        "PRelu": lambda: [x, q.weights("slope", 4, 1, 1)],
        "Resize": lambda: [x, "", q.constant("sizes", np.array([1, 1, 2, 2], np.float32))],
        "Sub": lambda: [q.constant("k", np.float32([1.5])), x],
    }
    q.add(op, inputs[op]() if op in inputs else [x], "t", **attributes)
    return q.around("t", *into), ours


CASES = [
    ("Add", 0.02, 3, (0.03, -4), "ADD", {}),
    ("AveragePool", 0.02, 3, (0.02, 3), "AVERAGE_POOL_2D", {"kernel_shape": [2, 2]}),
    ("Concat", 0.02, 3, (0.025, 1), "CONCATENATION", {"axis": 1}),
    ("Conv", 0.02, 3, (0.05, 9), "CONV_2D", {"pads": [1, 1, 1, 1]}),
    ("Conv", 0.02, 3, (0.05, 9), "CONV_2D", {"pads": [1, 1, 1, 1], "strides": [2, 2]}),
    ("Conv", 0.02, 3, (0.04, 9), "CONV_2D", {"dilations": [2, 2]}),
    ("ConvTranspose", 0.02, 3, (0.03, 9), "TRANSPOSE_CONV", {"strides": [2, 2]}),
    ("GlobalAveragePool", 0.02, 3, (0.01, 0), "MEAN", {}),
    ("HardSwish", 0.04, 3, (0.03, -110), "HARD_SWISH", {}),
    ("LeakyRelu", 0.02, 3, (0.018, -90), "LEAKY_RELU", {"alpha": 0.1}),
    ("MaxPool", 0.02, 3, (0.02, 3), "MAX_POOL_2D", {"kernel_shape": [3, 3]}),
    ("MatMul", 0.02, 3, (0.02, 9), "FULLY_CONNECTED", {}),
    ("Mul", 0.02, 3, (0.03, 9), "MUL", {}),
    ("ReduceMean", 0.02, 3, (0.01, 5), "MEAN", {"axes": [1], "keepdims": 1}),
    ("Relu", 0.02, 3, (0.015, -128), "RELU", {}),
    ("Resize", 0.02, 3, (0.02, 3), "RESIZE_NEAREST_NEIGHBOR",
     {"mode": "nearest", "nearest_mode": "floor",
      "coordinate_transformation_mode": "asymmetric"}),
    ("Resize", 0.02, 3, (0.02, 3), "RESIZE_BILINEAR", {"mode": "linear"}),
    ("Clip", 0.08, 3, (0.024, -128), "RELU6", {}),
    ("Sigmoid", 0.05, 3, (1 / 256, -128), "LOGISTIC", {}),
    ("Softmax", 0.05, 3, (1 / 256, -128), "SOFTMAX", {"axis": 3}),
    ("Sub", 0.02, 3, (0.03, 9), "SUB", {}),
    ("Tanh", 0.02, 3, (1 / 128, 0), "TANH", {}),
    # a QUANTIZE behind them gives what has another scale than TFLite lets them give
    ("Sigmoid", 0.05, 3, (0.0045, -128), "LOGISTIC", {}),
    ("Sigmoid", 0.02, 3, (0.0035, -110), "LOGISTIC", {}),
    ("Softmax", 0.05, 3, (0.0041, -128), "SOFTMAX", {"axis": 3}),
    ("Tanh", 0.02, 3, (0.0074, 1), "TANH", {}),
    ("AveragePool", 0.02, 3, (0.03, 5), "AVERAGE_POOL_2D", {"kernel_shape": [2, 2]}),
    ("MaxPool", 0.02, 3, (0.015, 5), "MAX_POOL_2D", {"kernel_shape": [3, 3]}),
    ("MaxPool", 0.02, 3, (0.02, 3), "MAX_POOL_2D",
     {"kernel_shape": [3, 3], "pads": [1, 0, 0, 1], "strides": [2, 2]}),
    ("Resize", 0.02, 3, (0.025, 9), "RESIZE_BILINEAR", {"mode": "linear"}),
    ("Max", 0.02, 3, (0.025, 1), "MAXIMUM", {}),
    ("Div", 0.02, 3, (0.012, 2), "MUL", {}),
    ("Elu", 0.02, 3, (0.015, -60), "ELU", {}),
    ("PRelu", 0.02, 3, (0.015, -60), "PRELU", {}),
]  # fmt: skip


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


@pytest.mark.parametrize("kind", [np.int8, np.uint8])
@pytest.mark.parametrize("op", ["Conv", "DepthwiseConv", "ConvTranspose", "MatMul"])
def test_weights_with_a_zero_point_compute_in_uint8(op, kind):
    q = Qdq(kind)
    x = q.around("x", 0.02, 3)
    shape = {"Conv": (6, 4, 3, 3), "DepthwiseConv": (4, 1, 3, 3), "MatMul": (6, 9)}
    w = q.constant("w_q", q.rng.integers(0, 256, shape.get(op, (4, 6, 2, 2))).astype(np.uint8))
    q.constant("w_s", np.float32(0.003)), q.constant("w_z", np.uint8(91))
    w = q.add("DequantizeLinear", [w, "w_s", "w_z"], "w")
    attributes = {"group": 4} if op == "DepthwiseConv" else {}
    q.add(op.removeprefix("Depthwise"), [x, w], "c", **attributes)
    first = q.around("c", 0.05, 9)
    q.add("Relu", [first], "r")
    source = q.model((1, 4, 6, 6), q.around("r", 0.05, -128))
    model, _ = imported(source)
    names = {"Conv": "CONV_2D", "DepthwiseConv": "DEPTHWISE_CONV_2D", "MatMul": "FULLY_CONNECTED"}
    (node,) = [n for n in model.main.nodes if n.op == names.get(op, "TRANSPOSE_CONV")]
    assert node.inputs[1].dtype == node.outputs[0].dtype == "UINT8"
    np.testing.assert_array_equal(
        np.unique(node.inputs[1].data), np.unique(dict(q.constants)["w_q"])
    )
    for seed in range(10):
        x = np.random.default_rng(seed).normal(size=(1, 4, 6, 6)).astype(np.float32)
        wanted, found = results(source, model, {"x": x})
        assert np.abs(wanted - found).max() <= 1.01 * 0.05


def test_neighbours_with_such_weights_stay_in_uint8():
    q = Qdq()
    x = q.around("x", 0.02, 3)
    for i in range(3):
        q.constant(f"w{i}_q", q.rng.integers(0, 256, (4, 4, 1, 1)).astype(np.uint8))
        q.constant(f"w{i}_s", np.float32(0.003)), q.constant(f"w{i}_z", np.uint8(70))
        w = q.add("DequantizeLinear", [f"w{i}_q", f"w{i}_s", f"w{i}_z"], f"w{i}")
        q.add("Conv", [x, w], f"c{i}")
        x = q.around(f"c{i}", 0.02, 9)
    _, ops = imported(q.model((1, 4, 6, 6), x))
    assert [op for op in ops if op != "TRANSPOSE"] == [
        "QUANTIZE", "QUANTIZE", "CONV_2D", "CONV_2D", "CONV_2D", "QUANTIZE", "DEQUANTIZE",
    ]  # fmt: skip


def test_products_of_two_activations():
    q = Qdq()
    x = q.around("x", 0.02, 3)
    q.add("Transpose", [x], "t", perm=[0, 1, 3, 2])
    q.add("MatMul", [x, q.around("t", 0.02, 3)], "m")
    source = q.model((1, 4, 6, 7), q.around("m", 0.1, -70))
    model, _ = imported(source)
    (node,) = [n for n in model.main.nodes if n.op == "BATCH_MATMUL"]
    assert {v.dtype for v in (*node.inputs, *node.outputs)} == {"INT8"}
    x = q.rng.normal(size=(1, 4, 6, 7)).astype(np.float32)
    wanted, found = results(source, model, {"x": x})
    assert np.abs(wanted - found).max() <= 1.01 * 0.1


def test_bounds_are_taken_of_integers_and_dropped_where_they_are_the_type_s():
    q = Qdq()
    x = q.around("x", 0.02, 3)
    w = q.weights("w", 4, 4, 1, 1, axis=0)
    q.add("Conv", [x, w], "c")
    bounds = [q.constant(f"c{n}", np.float32(n)) for n in (-1.0, 0.5)]
    q.add("Clip", ["c", *bounds], "k")
    source = q.model((1, 4, 6, 6), q.around("k", 1.5 / 255, 42))
    model, ops = imported(source)
    assert [op for op in ops if op not in ("TRANSPOSE", *BORDER)] == ["CONV_2D"]
    q.nodes.pop()  # the Identity of the model
    y = q.around("k", 0.02, 0)
    source = q.model((1, 4, 6, 6), y)
    q = Qdq()
    x = q.around("x", 0.02, 3)
    q.add("Clip", [x, *(q.constant(f"c{n}", np.float32(n)) for n in (-1.0, 0.5))], "k")
    other = q.model((1, 4, 6, 6), q.around("k", 0.02, 3))
    model, ops = imported(other)
    assert ops.count("MAXIMUM") == ops.count("MINIMUM") == 1
    kinds = [n.outputs[0].dtype for n in model.main.nodes if n.op in ("MAXIMUM", "MINIMUM")]
    assert kinds == ["INT8", "INT8"]
    x = q.rng.normal(size=(1, 4, 6, 6)).astype(np.float32)
    np.testing.assert_array_equal(*results(other, model, {"x": x}))


class Qdq16(Qdq):
    """Activations of 16 bits with zero point 0."""

    def __init__(self, kind=np.int16, seed=0):
        super().__init__(kind, seed)

    def around(self, name, scale, zero=0):
        del zero
        self.constant(f"{name}_s", np.float32(scale / 256))
        self.constant(f"{name}_z", self.kind(0 if self.kind is np.int16 else 1 << 15))
        self.add("QuantizeLinear", [name, f"{name}_s", f"{name}_z"], f"{name}_q")
        self.add("DequantizeLinear", [f"{name}_q", f"{name}_s", f"{name}_z"], f"{name}_dq")
        self.scales[f"{name}_dq"] = scale / 256
        return f"{name}_dq"

    def model(self, dims, output, out_dims=None):
        made = super().model(dims, output, out_dims)
        made.opset_import[0].version = 21
        made.ir_version = 10
        for node in made.graph.node:  # of opset 18 and newer
            axes = [a for a in node.attribute if a.name == "axes"]
            if node.op_type == "ReduceMean" and axes:
                made.graph.initializer.append(numpy_helper.from_array(np.array(axes[0].ints), "ax"))
                node.attribute.remove(axes[0])
                node.input.append("ax")
        return made


OTHERS = {"ELU", "HARD_SWISH", "LOGISTIC", "PRELU", "SOFTMAX", "TANH"}
CASES_16 = [case for case in CASES if case[4] not in OTHERS]
CASES_16 += [
    ("Sigmoid", 0.05, 0, (1 / 128, 0), "LOGISTIC", {}),
    ("Softmax", 0.05, 0, (1 / 127, 0), "SOFTMAX", {"axis": 3}),
    ("Tanh", 0.02, 0, (1 / 120, 0), "TANH", {}),
]


@pytest.mark.parametrize("kind", [np.int16, np.uint16])
@pytest.mark.parametrize("case", CASES_16, ids=lambda case: case[0])
def test_an_op_computes_in_int16(case, kind):
    q = Qdq16(kind)
    out, ours = one(q, case)
    source = q.model((1, 4, 6, 6), out)
    model, _ = imported(source)
    step = case[3][0] / 256
    nodes = [n for n in model.main.nodes if n.op == ours]
    assert nodes and {n.outputs[0].dtype for n in nodes} == {"INT16"}
    for seed in range(5):
        x = np.random.default_rng(seed).normal(size=(1, 4, 6, 6)).astype(np.float32)
        wanted, found = results(source, model, {"x": x})
        # products are scaled by 16 bits of a factor, curves are lines between points
        assert np.abs(wanted - found).max() <= 1.01 * step + 5e-5 * np.abs(wanted).max()


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
