# SPDX-License-Identifier: Apache-2.0
"""QDQ models of ONNX, grown node by node, and their results in three engines."""

from __future__ import annotations

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from onnx import helper, numpy_helper
from onnx_models import engine_of, model_of

import converter
import runtime

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
    (wanted,) = engine_of(source, optimize=False).run(None, feeds)
    content = converter.write_tflite(model)
    found = runtime.Interpreter(model_content=content).get_signature_runner()(**feeds)["y"]
    theirs = Interpreter(model_content=content).get_signature_runner()(**feeds)["y"]
    np.testing.assert_array_equal(found, theirs)
    return wanted, found


def imported(source):
    model = converter.from_onnx(source)
    converter.optimize(model, check=True)
    return model, [node.op for node in model.main.nodes]


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
