# SPDX-License-Identifier: Apache-2.0
"""Operators that work element by element, and reductions."""

from __future__ import annotations

import numpy as np
from conformance.op_rows import (
    ANY,
    COMPLEX,
    INDICES,
    NUMBERS,
    PACKED,
    QUANTIZED,
    given,
    of,
    out,
    row,
    tensor,
)

from converter.tensor_types import numpy_dtype

# Outputs whose scale the operator fixes: (scale, zero point) by type.
_FIXED = {
    "LOGISTIC": {"INT8q": (1 / 256, -128), "UINT8q": (1 / 256, 0), "INT16q": (1 / 32768, 0)},
    "TANH": {"INT8q": (1 / 128, 0), "UINT8q": (1 / 128, 128), "INT16q": (1 / 32768, 0)},
    "SOFTMAX": {"INT8q": (1 / 256, -128), "UINT8q": (1 / 256, 0), "INT16q": (1 / 32768, 0)},
    "LOG_SOFTMAX": {"INT8q": (16 / 256, 127), "UINT8q": (16 / 256, 255)},
    "L2_NORMALIZATION": {"INT8q": (1 / 128, 0), "UINT8q": (1 / 128, 128)},
}
_OPTIONS = {
    "LEAKY_RELU": {"alpha": 0.25},
    "SOFTMAX": {"beta": 1.0},
    "LOCAL_RESPONSE_NORMALIZATION": {"radius": 2, "bias": 1.0, "alpha": 0.5, "beta": 0.5},
}


def _result(op, type_, **how):
    scale, zero = _FIXED.get(op, {}).get(type_, (None, 0))
    return out(type_, **({} if scale is None else {"scale": scale, "zero": zero}), **how)


@row(
    "ABS NEG EXP LOG SQRT RSQRT SIN COS SIGN CEIL FLOOR ROUND SQUARE GELU ELU RELU RELU6 "
    "RELU_N1_TO_1 RELU_0_TO_1 LEAKY_RELU LOGISTIC TANH HARD_SWISH SOFTMAX LOG_SOFTMAX "
    "L2_NORMALIZATION LOCAL_RESPONSE_NORMALIZATION LOGICAL_NOT ZEROS_LIKE",
    ANY,
)
def unary(op, type_):
    low = 1 if op in ("LOG", "SQRT", "RSQRT") else -4
    x = tensor(type_, (1, 2, 3, 8), low=low, high=9)
    if op == "RSQRT" and x.value.dtype.kind == "i" and x.scale is not None:
        x.value = np.maximum(x.value, x.zero + 1)
    return of(op, [x], _result(op, type_), **_OPTIONS.get(op, {}))


@row("REAL IMAG COMPLEX_ABS", COMPLEX)
def complex_parts(op, type_):
    return of(op, [tensor(type_)], out("FLOAT32" if type_ == "COMPLEX64" else "FLOAT64"))


def _other_scale(op, type_):
    return {"scale": 0.1} if type_ == "INT8q" and op in ("ADD", "SUB", "MUL", "DIV") else {}


@row(
    "ADD SUB MUL DIV FLOOR_DIV FLOOR_MOD POW MAXIMUM MINIMUM SQUARED_DIFFERENCE ATAN2 BITWISE_XOR "
    "RIGHT_SHIFT LOGICAL_AND LOGICAL_OR",
    ANY,
)
def binary(op, type_):
    a = tensor(type_, (2, 3, 4))
    b = tensor(type_, (2, 3, 4) if op == "ATAN2" else (3, 4), low=1, high=4)
    if op == "DIV" and b.scale is not None:
        b.value = np.maximum(b.value, b.zero + 1)
    more = {"pot_scale_int16": False} if op in ("ADD", "SUB") else {}
    return of(op, [a, b], _result(op, type_, **_other_scale(op, type_)), **more)


@row(
    "ADD SUB MUL DIV", ["FLOAT32", "INT8q", "UINT8q", "INT16q", "INT32", "INT64"], ["TANH", "RELU"]
)
def binary_activation(op, type_, activation):
    b = tensor(type_, (2, 3, 4), low=1, high=4)
    if op == "DIV" and b.scale is not None:
        b.value = np.maximum(b.value, b.zero + 1)
    more = {"pot_scale_int16": False} if op in ("ADD", "SUB") else {}
    return of(
        op, [tensor(type_, (2, 3, 4)), b], out(type_), fused_activation_function=activation, **more
    )


@row("PRELU", ANY)
def prelu(op, type_):
    return of(op, [tensor(type_), tensor(type_, (1, 1, 4), const=True)], out(type_))


@row("LESS GREATER GREATER_EQUAL LESS_EQUAL EQUAL NOT_EQUAL", ANY)
def comparison(op, type_):
    return of(op, [tensor(type_), tensor(type_, (3, 4))], out("BOOL"))


@row("CAST", ANY, [t for t in ANY if not t.endswith("q")])
def cast(op, from_, to):
    return of(op, [tensor(from_, low=0)], out(to))


_WIDE = [t for t in ANY if t not in PACKED and not t.endswith("q") and t != "STRING"]


@row("BITCAST", _WIDE, _WIDE)
def bitcast(op, from_, to):
    x = tensor(from_, (2, 2))
    size = numpy_dtype(to).itemsize
    mine = x.value.dtype.itemsize
    if size < mine:
        shape = (2, 2, mine // size)
    elif size > mine:
        x = tensor(from_, (2, size // mine))
        shape = (2,)
    else:
        shape = (2, 2)
    return of(op, [x], out(to, shape=shape))


@row("BUCKETIZE", ANY)
def bucketize(op, type_):
    return of(op, [tensor(type_)], out("INT32"), boundaries=np.float32([-1, 0, 2.5]))


@row("QUANTIZE", [*NUMBERS], [*QUANTIZED, "INT4q", "UINT4q", "INT2q", "FLOAT32", "FLOAT16"])
def quantize(op, from_, to):
    more = {"scale": 0.07} if from_ == to else {}
    return of(op, [tensor(from_)], out(to, **more))


@row("DEQUANTIZE", [*NUMBERS, *PACKED], ["FLOAT32", "FLOAT16"])
def dequantize(op, from_, to):
    return of(op, [tensor(from_)], out(to))


@row("DEQUANTIZE", ["INT8", "UINT8", "INT16", "INT32"], ["per-channel"])
def dequantize_channels(op, type_, _):
    x = tensor(type_, (2, 3), const=False, scale=[0.1, 0.2, 0.3], zero=0, axis=1)
    return of(op, [x], out("FLOAT32"))


@row("FAKE_QUANT", ["FLOAT32", "FLOAT16"])
def fake_quant(op, type_):
    return of(op, [tensor(type_)], out(type_), min=-1.0, max=2.0, num_bits=8)


@row("ADD_N", ANY)
def add_n(op, type_):
    return of(op, [tensor(type_), tensor(type_), tensor(type_)], out(type_))


@row("SUM MEAN REDUCE_PROD REDUCE_MAX REDUCE_MIN REDUCE_ANY REDUCE_ALL", ANY, INDICES)
def reduce(op, type_, axis):
    return of(
        op, [tensor(type_, low=1, high=3), given(axis, [1])], _result(op, type_), keep_dims=True
    )


@row("SUM MEAN REDUCE_PROD REDUCE_MAX REDUCE_MIN", ["INT8q", "UINT8q", "INT16q"], ["other-scale"])
def reduce_rescaled(op, type_, _):
    return of(op, [tensor(type_), given("INT32", [1])], out(type_, scale=0.11))


@row("CUMSUM", ANY, INDICES)
def cumsum(op, type_, axis):
    return of(op, [tensor(type_), given(axis, 1)], out(type_))


@row("ARG_MAX ARG_MIN", ANY, INDICES, INDICES)
def arg(op, type_, axis, to):
    return of(op, [tensor(type_), given(axis, 2)], out(to), output_type=to)


@row("TOPK_V2", ANY, ["INT16", "INT32"], ["INT16", "INT32"])
def top_k(op, type_, k, to):
    return of(op, [tensor(type_), given(k, 2)], [out(type_), out(to)])


@row("UNIQUE", ANY, INDICES)
def unique(op, type_, to):
    return of(op, [tensor(type_, (6,))], [out(type_), out(to)], idx_out_type=to)


@row("SEGMENT_SUM", ANY)
def segment_sum(op, type_):
    return of(op, [tensor(type_, (4, 3)), given("INT32", [0, 0, 1, 2])], out(type_))


@row("UNSORTED_SEGMENT_PROD UNSORTED_SEGMENT_MAX UNSORTED_SEGMENT_SUM UNSORTED_SEGMENT_MIN", ANY)
def unsorted_segment(op, type_):
    ids = given("INT32", [2, 0, 1, 0])
    return of(op, [tensor(type_, (4, 3)), ids, given("INT32", 3)], out(type_))


@row("REDUCE_WINDOW", ANY, ["ADD", "MUL", "MINIMUM", "MAXIMUM", "ALL", "ANY"])
def reduce_window(op, type_, function):
    start = tensor(type_, ())
    window = [given("INT64", v) for v in ([2, 1], [1, 1], [1, 1])]
    return of(op, [tensor(type_, (4, 3)), start, *window], out(type_), reduce_function=function)
