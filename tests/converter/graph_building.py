# SPDX-License-Identifier: Apache-2.0
"""Small graphs built by hand, and LiteRT as the engine that runs what is written."""

from __future__ import annotations

import numpy as np
from ai_edge_litert.interpreter import Interpreter

from converter import ir, write_tflite


class Builder:
    """Builds one graph op by op; shapes are given, since nothing infers them here."""

    def __init__(self):
        self.graph = ir.Graph("main")
        self.count = 0

    def input(self, shape, dtype="FLOAT32", **kwargs):
        return self.graph.add_input(f"x{len(self.graph.inputs)}", dtype, shape, **kwargs)

    def constant(self, data, **kwargs):
        self.count += 1
        return ir.Value.constant(f"c{self.count}", data, **kwargs)

    def op(self, op, inputs, shape, dtype="FLOAT32", quant=None, **options):
        """Append an op, return its output value."""
        inputs = [v if v is None or isinstance(v, ir.Value) else self.constant(v) for v in inputs]
        name = f"{op.lower()}_{len(self.graph.nodes) + 1}"
        out = ir.Value(name, dtype, shape, quant=quant)
        self.graph.add_node(op, inputs, [out], options, name=out.name)
        return out

    def model(self, *outputs):
        self.graph.outputs = list(outputs)
        model = ir.Model([self.graph])
        inputs = {value.name: i for i, value in enumerate(self.graph.inputs)}
        names = {f"y{i}": i for i in range(len(outputs))}
        model.signatures.append(ir.Signature("serving_default", inputs, names))
        return model


def conv(b, x, weights, bias=None, stride=1, padding="SAME", activation="NONE"):
    """CONV_2D of NHWC `x` with OHWI `weights`."""
    n, h, w, _ = x.shape
    o, kh, kw, _ = weights.shape
    if padding == "SAME":
        h, w = -(-h // stride), -(-w // stride)
    else:
        h, w = (h - kh) // stride + 1, (w - kw) // stride + 1
    inputs = [x, weights] if bias is None else [x, weights, bias]
    return b.op(
        "CONV_2D",
        inputs,
        (n, h, w, o),
        padding=padding,
        stride_w=stride,
        stride_h=stride,
        fused_activation_function=activation,
    )


def small_model(seed=0):
    """Convolution, pooling, reshape and a dense layer: a few hundred bytes of weights."""
    rng = np.random.default_rng(seed)
    b = Builder()
    x = b.input((1, 6, 6, 2), shape_signature=(-1, 6, 6, 2))
    y = conv(b, x, normal(rng, 3, 3, 3, 2), normal(rng, 3), activation="RELU")
    y = b.op(
        "MAX_POOL_2D",
        [y],
        (1, 3, 3, 3),
        padding="VALID",
        stride_w=2,
        stride_h=2,
        filter_width=2,
        filter_height=2,
    )
    y = b.op("RESHAPE", [y, np.array([-1, 27], np.int32)], (1, 27))
    y = b.op("FULLY_CONNECTED", [y, normal(rng, 4, 27), normal(rng, 4)], (1, 4))
    y = b.op("SOFTMAX", [y], (1, 4), beta=1.0)
    return b.model(y)


def normal(rng, *shape):
    return rng.standard_normal(shape).astype(np.float32)


def random_array(rng, shape, dtype):
    dtype = np.dtype(dtype)
    if dtype.kind == "f":
        return rng.standard_normal(shape).astype(dtype)
    if dtype == np.bool_:
        return rng.integers(0, 2, shape).astype(bool)
    info = np.iinfo(dtype)
    return rng.integers(info.min, info.max, shape, dtype=dtype, endpoint=True)


def run_litert(data, seed=0):
    """Outputs of the model bytes `data` on seeded random inputs, in LiteRT."""
    interpreter = Interpreter(model_content=bytes(data), num_threads=1)
    interpreter.allocate_tensors()
    rng = np.random.default_rng(seed)
    for detail in interpreter.get_input_details():
        array = random_array(rng, tuple(detail["shape"]), detail["dtype"])
        interpreter.set_tensor(detail["index"], array)
    interpreter.invoke()
    return [interpreter.get_tensor(d["index"]) for d in interpreter.get_output_details()]


def run(model, seed=0):
    return run_litert(write_tflite(model), seed)
