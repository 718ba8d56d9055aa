# SPDX-License-Identifier: Apache-2.0
"""Tiny models, built with the converter's IR, that tests of the runtime's core run."""

from __future__ import annotations

import numpy as np

from converter import ir, write_tflite


def quantization(scale: float, zero: int = 0) -> ir.Quantization:
    """Per-tensor parameters."""
    return ir.Quantization(np.array([scale], np.float32), np.array([zero], np.int64))


class Builder:
    """Builds one graph op by op; shapes are given."""

    def __init__(self, name: str = "main") -> None:
        self.graph = ir.Graph(name)
        self.count = 0

    def input(self, shape, dtype="FLOAT32", **kwargs) -> ir.Value:
        return self.graph.add_input(f"x{len(self.graph.inputs)}", dtype, shape, **kwargs)

    def constant(self, data, **kwargs) -> ir.Value:
        self.count += 1
        return ir.Value.constant(f"{self.graph.name}_c{self.count}", data, **kwargs)

    def op(self, op, inputs, shape, dtype="FLOAT32", quant=None, **options) -> ir.Value:
        inputs = [v if v is None or isinstance(v, ir.Value) else self.constant(v) for v in inputs]
        out = ir.Value(f"{op.lower()}_{len(self.graph.nodes)}", dtype, shape, quant=quant)
        self.graph.add_node(op, inputs, [out], options, name=out.name)
        return out

    def dense(self, x, units, rng, activation="NONE") -> ir.Value:
        weights = rng.standard_normal((units, x.shape[-1])).astype(np.float32)
        bias = rng.standard_normal(units).astype(np.float32)
        return self.op(
            "FULLY_CONNECTED",
            [x, weights, bias],
            (x.shape[0], units),
            fused_activation_function=activation,
        )

    def model(self, *outputs, signature: bool = True) -> ir.Model:
        self.graph.outputs = list(outputs)
        model = ir.Model([self.graph])
        if signature:
            inputs = {value.name: i for i, value in enumerate(self.graph.inputs)}
            names = {f"y{i}": i for i in range(len(outputs))}
            model.signatures.append(ir.Signature("serving_default", inputs, names))
        return model


def dense_stack(
    widths=(4, 8, 8, 3),
    batch: int = 1,
    seed: int = 0,
    signature: bool = True,
    dynamic: bool = False,
) -> bytes:
    """A chain of FULLY_CONNECTED layers, RELU between them."""
    rng, b = np.random.default_rng(seed), Builder()
    signature_shape = (-1, widths[0]) if dynamic else None
    x = b.input((batch, widths[0]), shape_signature=signature_shape)
    for i, width in enumerate(widths[1:], 1):
        x = b.dense(x, width, rng, "RELU" if i < len(widths) - 1 else "NONE")
    return write_tflite(b.model(x, signature=signature))


def dense_int8(inputs: int = 6, units: int = 5, seed: int = 0) -> bytes:
    """One int8 FULLY_CONNECTED layer."""
    rng, b = np.random.default_rng(seed), Builder()
    x = b.input((2, inputs), "INT8", quant=quantization(0.05, 3))
    weights = b.constant(
        rng.integers(-127, 128, (units, inputs)).astype(np.int8), quant=quantization(0.02)
    )
    bias = b.constant(
        rng.integers(-500, 500, units).astype(np.int32), quant=quantization(0.05 * 0.02)
    )
    y = b.op("FULLY_CONNECTED", [x, weights, bias], (2, units), "INT8", quantization(0.1, -4))
    return write_tflite(b.model(y))


def dense_float16(inputs: int = 64, units: int = 96, seed: int = 0) -> tuple[bytes, bytes]:
    """One layer twice: weights stored as float16 behind DEQUANTIZE, and the same as float32."""
    rng, made = np.random.default_rng(seed), []
    half = rng.standard_normal((units, inputs)).astype(np.float16)
    bias = rng.standard_normal(units).astype(np.float16)
    for stored in (np.float16, np.float32):
        b = Builder()
        x, parameters = b.input((2, inputs)), []
        for values in (half, bias):
            if stored == np.float16:
                parameters.append(b.op("DEQUANTIZE", [values], values.shape))
            else:
                parameters.append(values.astype(np.float32))
        made.append(write_tflite(b.model(b.op("FULLY_CONNECTED", [x, *parameters], (2, units)))))
    return made[0], made[1]


def branches(seed: int = 0) -> bytes:
    """Two outputs, a value used twice, and one that nobody uses."""
    rng, b = np.random.default_rng(seed), Builder()
    x, other = b.input((2, 6)), b.input((2, 3))
    shared = b.dense(x, 5, rng, "RELU")
    left, right = b.dense(shared, 4, rng), b.dense(shared, 3, rng)
    b.dense(other, 7, rng)
    return write_tflite(b.model(left, right))


def conv_float(seed: int = 0) -> bytes:
    """Convolutions, pooling, padding, joins and shape operators in float32, with values that only
    run time knows as indices."""
    rng, b = np.random.default_rng(seed), Builder()

    def random(*shape):
        return rng.standard_normal(shape).astype(np.float32)

    x, row = b.input((1, 6, 6, 2)), b.input((1,), "INT32")
    window = {"padding": "SAME", "stride_h": 1, "stride_w": 1}
    conv = b.op("CONV_2D", [x, random(4, 3, 3, 2), random(4)], (1, 6, 6, 4), **window)
    depthwise = b.op(
        "DEPTHWISE_CONV_2D",
        [conv, random(1, 3, 3, 4), random(4)],
        (1, 6, 6, 4),
        depth_multiplier=1,
        fused_activation_function="RELU6",
        **window,
    )
    summed = b.op("ADD", [conv, depthwise], (1, 6, 6, 4))
    pool = {"padding": "VALID", "stride_h": 2, "stride_w": 2, "filter_height": 2, "filter_width": 2}
    small = b.op("MAX_POOL_2D", [summed], (1, 3, 3, 4), **pool)
    padded = b.op("PAD", [small, np.int32([[0, 0], [0, 1], [1, 0], [0, 0]])], (1, 4, 4, 4))
    twice = b.op("CONCATENATION", [padded, padded], (1, 4, 4, 8), axis=3)
    turned = b.op("TRANSPOSE", [twice, np.int32([0, 2, 1, 3])], (1, 4, 4, 8))
    picked = b.op("GATHER", [turned, row], (1, 1, 4, 8), axis=1)
    mean = b.op("MEAN", [picked, np.int32([1, 2])], (1, 8), keep_dims=False)
    flat = b.op("RESHAPE", [mean, np.int32([2, 4])], (2, 4), new_shape=np.int32([2, 4]))
    scores = b.dense(flat, 3, rng)
    return write_tflite(b.model(b.op("SOFTMAX", [scores], scores.shape, beta=1.0)))


def conv_int8(seed: int = 0) -> bytes:
    """An int8 convolution with per-channel scales, a residual, and the ways in and out."""
    rng, b = np.random.default_rng(seed), Builder()
    x = b.op("QUANTIZE", [b.input((1, 5, 5, 3))], (1, 5, 5, 3), "INT8", quantization(0.04, -5))
    scales = np.array([0.01, 0.02, 0.03], np.float32)
    weights = b.constant(
        rng.integers(-127, 128, (3, 3, 3, 3)).astype(np.int8),
        quant=ir.Quantization(scales, np.zeros(3, np.int64), 0),
    )
    bias = b.constant(
        rng.integers(-300, 300, 3).astype(np.int32),
        quant=ir.Quantization(np.float32(0.04) * scales, np.zeros(3, np.int64), 0),
    )
    window = {"padding": "SAME", "stride_h": 1, "stride_w": 1}
    conv = b.op(
        "CONV_2D", [x, weights, bias], (1, 5, 5, 3), "INT8", quantization(0.08, 7), **window
    )
    residual = b.op("ADD", [x, conv], (1, 5, 5, 3), "INT8", quantization(0.1, 1))
    mean = b.op("MEAN", [residual, np.int32([1, 2])], (1, 3), "INT8", quantization(0.1, 1))
    score = b.op("LOGISTIC", [mean], (1, 3), "INT8", quantization(1 / 256, -128))
    return write_tflite(b.model(b.op("DEQUANTIZE", [score], (1, 3))))


def started_lstm(
    time: int = 5, batch: int = 2, features: int = 3, size: int = 4, given: bool = True
) -> bytes:
    """A FULLY_CONNECTED, an LSTM that starts at every call from states that BROADCAST_TO writes
    into its variables (inputs if `given`, else zeros), and its last hidden and cell state.
    """
    rng, b = np.random.default_rng(7), Builder()
    x = b.input((time, batch, features))
    starts = [b.input((batch, size)) if given else b.constant(np.float32(0)) for _ in range(2)]
    states = [ir.Value(f"s{i}", "FLOAT32", (batch, size), is_variable=True) for i in range(2)]
    shape = b.constant(np.int32([batch, size]))
    for start, state in zip(starts, states, strict=True):
        b.graph.add_node("BROADCAST_TO", [start, shape], [state])
    drawn = iter(rng.standard_normal((13, size, max(size, features)), np.float32) * 0.5)
    weights = [next(drawn)[:, :features] for _ in range(4)]
    weights += [next(drawn)[:, :size] for _ in range(4)]
    bias = [next(drawn)[0, :size] for _ in range(4)]
    flat = b.op("RESHAPE", [x, np.int32([time * batch, features])], (time * batch, features))
    dense = b.dense(flat, features, rng)
    seq = b.op("RESHAPE", [dense, np.int32([time, batch, features])], x.shape)
    holes = [None] * 3
    inputs = [seq, *weights, *holes, *bias, None, None, *states, *([None] * 4)]
    every = b.op(
        "UNIDIRECTIONAL_SEQUENCE_LSTM",
        inputs,
        (time, batch, size),
        fused_activation_function="TANH",
        time_major=True,
    )
    begin, sizes = np.int32([time - 1, 0, 0]), np.int32([1, batch, size])
    last = b.op("SLICE", [every, begin, sizes], (1, batch, size))
    hidden = b.op("RESHAPE", [last, np.int32([batch, size])], (batch, size))
    both = b.op("CONCATENATION", [hidden, states[1]], (batch, 2 * size), axis=1)
    return write_tflite(b.model(every, both))


def written_variable(limit: int = 3) -> bytes:
    """A body of WHILE that adds what the turn before wrote into a variable of its own."""
    main, body, test = Builder("main"), Builder("body"), Builder("test")
    one = np.float32([1, 1])
    for b in (main, body, test):
        b.input((2,))
    x = body.graph.inputs[0]
    kept = ir.Value("kept", "FLOAT32", (2,), is_variable=True)
    body.graph.outputs = [body.op("ADD", [body.op("ADD", [x, kept], (2,)), one], (2,))]
    body.graph.add_node("TILE", [x, body.constant(np.int32([1]))], [kept])
    first = test.op("REDUCE_MAX", [test.graph.inputs[0], np.int32([0])], ())
    test.graph.outputs = [test.op("LESS", [first, np.float32(limit)], (), "BOOL")]
    calls = {"cond_subgraph_index": 1, "body_subgraph_index": 2}
    y = main.op("WHILE", main.graph.inputs, (2,), **calls)
    model = main.model(y)
    model.graphs += [test.graph, body.graph]
    return write_tflite(model)
