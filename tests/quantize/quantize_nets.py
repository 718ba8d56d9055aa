# SPDX-License-Identifier: Apache-2.0
"""Small float nets to quantize, and LiteRT as the engine that has the last word."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from ai_edge_litert.interpreter import Interpreter as LiteRT
from ai_edge_litert.interpreter import OpResolverType

import converter
from converter.ir import Graph, Model, Signature, Value

PLAIN_KERNELS = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES


class Net:
    """Builds one graph op by op; `model` lets LiteRT find the shapes."""

    def __init__(self) -> None:
        self.graph = Graph()
        self.names = 0

    def name(self, stem: str) -> str:
        self.names += 1
        return f"{stem}_{self.names}"

    def input(self, *shape: int, **kwargs) -> Value:
        return self.graph.add_input(f"x{len(self.graph.inputs)}", "FLOAT32", shape, **kwargs)

    def constant(self, data) -> Value:
        return Value.constant(self.name("c"), data)

    def op(self, op: str, inputs: Sequence, *, outputs: int = 1, dtype="FLOAT32", **options):
        """Append `op`; arrays among `inputs` become constants. One value, or a list of several."""
        inputs = [self.constant(v) if isinstance(v, np.ndarray) else v for v in inputs]
        name = self.name(op.lower())
        made = [Value(f"{name}:{i}" if i else name, dtype, ()) for i in range(outputs)]
        self.graph.add_node(op, inputs, made, options)
        return made[0] if outputs == 1 else made

    def conv(self, x, weights, bias=None, activation="NONE", stride=1, padding="SAME"):
        return self.op(
            "CONV_2D",
            [x, weights, bias],
            padding=padding,
            stride_w=stride,
            stride_h=stride,
            fused_activation_function=activation,
        )

    def depthwise(self, x, weights, bias=None, activation="NONE", stride=1, multiplier=1):
        return self.op(
            "DEPTHWISE_CONV_2D",
            [x, weights, bias],
            padding="SAME",
            stride_w=stride,
            stride_h=stride,
            depth_multiplier=multiplier,
            fused_activation_function=activation,
        )

    def dense(self, x, weights, bias=None, activation="NONE"):
        return self.op("FULLY_CONNECTED", [x, weights, bias], fused_activation_function=activation)

    def pool(self, op, x, size=2, activation="NONE"):
        return self.op(
            op,
            [x],
            padding="VALID",
            stride_w=size,
            stride_h=size,
            filter_width=size,
            filter_height=size,
            fused_activation_function=activation,
        )

    def model(self, *outputs: Value) -> Model:
        self.graph.outputs = list(outputs)
        model = Model([self.graph])
        inputs = {f"in{i}": i for i in range(len(self.graph.inputs))}
        model.signatures.append(
            Signature("classify", inputs, {f"out{i}": i for i in range(len(outputs))})
        )
        settle_shapes(model)
        return model


def settle_shapes(model: Model) -> None:
    """Take every tensor's shape from LiteRT."""
    interpreter = LiteRT(
        model_content=converter.write_tflite(model), experimental_op_resolver_type=PLAIN_KERNELS
    )
    interpreter.allocate_tensors()
    shapes = {d["name"]: d["shape"] for d in interpreter.get_tensor_details()}
    for value in model.main.values():
        value.shape = tuple(int(n) for n in shapes[value.name])


def conv_net(seed: int = 0, classes: int = 10) -> Model:
    """[1,16,16,3] -> conv relu6, depthwise relu, residual add, pools, dense, softmax."""
    rng = np.random.default_rng(seed)

    def weights(*shape: int) -> np.ndarray:
        fan_in = np.prod(shape[1:]) if shape[0] != 1 else np.prod(shape[1:3])
        return (rng.standard_normal(shape) * np.sqrt(2 / fan_in)).astype(np.float32)

    net = Net()
    x = net.input(1, 16, 16, 3)
    a = net.conv(x, weights(16, 3, 3, 3), weights(16) * 0.1, "RELU6")
    b = net.depthwise(a, weights(1, 3, 3, 16), weights(16) * 0.1, "RELU")
    c = net.conv(b, weights(16, 1, 1, 16), weights(16) * 0.1)
    d = net.op("ADD", [a, c], fused_activation_function="RELU")
    e = net.pool("MAX_POOL_2D", d)
    f = net.conv(e, weights(24, 3, 3, 16), weights(24) * 0.1, "RELU", stride=2)
    g = net.pool("AVERAGE_POOL_2D", f)
    h = net.op("RESHAPE", [g, np.array([1, -1], np.int32)])
    i = net.dense(h, weights(classes, 2 * 2 * 24), weights(classes) * 0.1)
    return net.model(net.op("SOFTMAX", [i], beta=1.0))


def samples(model: Model, count: int, seed: int = 1, spread: float = 1.0) -> list[list[np.ndarray]]:
    """`count` tuples of normal float32 inputs for `model`."""
    rng = np.random.default_rng(seed)
    return [
        [(rng.standard_normal(v.shape) * spread).astype(np.float32) for v in model.main.inputs]
        for _ in range(count)
    ]


def run(interpreter_class, model: Model | bytes, arrays, **kwargs) -> list[np.ndarray]:
    """Outputs of one inference; float arrays are quantized for int8 inputs."""
    content = model if isinstance(model, bytes) else converter.write_tflite(model)
    interpreter = interpreter_class(model_content=content, **kwargs)
    interpreter.allocate_tensors()
    for detail, array in zip(interpreter.get_input_details(), arrays, strict=True):
        if detail["dtype"] == np.int8:
            scale, zero_point = detail["quantization"]
            array = np.clip(np.rint(array / scale) + zero_point, -128, 127).astype(np.int8)
        interpreter.set_tensor(detail["index"], array)
    interpreter.invoke()
    return [interpreter.get_tensor(d["index"]) for d in interpreter.get_output_details()]


def real(array: np.ndarray, value: Value) -> np.ndarray:
    """The float meaning of an output."""
    if value.quant is None:
        return array
    return (array.astype(np.float64) - value.quant.zero_point[0]) * value.quant.scale[0]
