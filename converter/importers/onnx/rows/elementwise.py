# SPDX-License-Identifier: Apache-2.0
"""Rows for operations on each element."""

from __future__ import annotations

import numpy as np

from converter import ir
from converter.importers import rows
from converter.importers.forms import activations, basic, bitwise, elementwise
from converter.importers.forms.basic import binary, scalar, unary
from converter.importers.forms.elementwise import affine, arithmetic, compare
from converter.importers.no_form import NoForm
from converter.importers.onnx import types
from converter.importers.onnx.context import Context, Row, Rows


def _of(form: str) -> Row:
    """A function of :mod:`converter.importers.forms.elementwise` of one input."""
    return lambda c: getattr(elementwise, form)(c.b, c.input(0))


def _variadic(op: str) -> Row:
    return lambda c: elementwise.fold(c.b, op, c.inputs())


def _mean(c: Context) -> ir.Value:
    total = elementwise.fold(c.b, "ADD", c.inputs())
    return affine(c.b, total, 1 / c.n_inputs, 0)


def _identity(c: Context) -> ir.Value:
    return c.input(0)


def _cast(c: Context) -> ir.Value:
    x, kind = c.input(0), types.inner_type(c.attr("to"))
    if "STRING" in (x.dtype, kind) and x.dtype != kind:
        raise NoForm("turns texts into numbers or back, which devices cannot: do it outside")
    if c.attr("to") in types.NARROW:
        return _narrow(c, x, c.attr("to"))
    if c.attr("to") == types.BFLOAT16 and kind == "FLOAT32":
        return elementwise.to_bfloat16(c.b, basic.cast(c.b, x, "FLOAT32"))
    narrow = types.ROUNDED.get(c.attr("to"))
    if narrow and x.dtype == "FLOAT32":  # what is computed in float32 still has these numbers
        return basic.cast(c.b, basic.cast(c.b, x, narrow), "FLOAT32")
    return basic.cast(c.b, x, kind)


def _narrow(c: Context, x: ir.Value, element: int) -> ir.Value:
    """Integers narrower than a byte: truncated, and what is beyond their limits wraps around."""
    kind, low, high = types.NARROW[element]
    if c.graph.narrow.get(x) == element:
        return x
    whole = basic.cast(c.b, basic.cast(c.b, x, "INT32"), "FLOAT32")
    moved = affine(c.b, whole, 1, -low)
    wrapped = elementwise.remainder(c.b, moved, scalar(c.b, high - low + 1, moved))
    y = basic.cast(c.b, affine(c.b, wrapped, 1, low), kind)
    c.graph.narrow[y] = element
    return y


def _clip(c: Context) -> ir.Value:
    x = c.input(0)
    bounds = []
    for index, name in ((1, "min"), (2, "max")):
        given = c.optional(index)
        known = None if given is None else c.b.known(given)
        if known is not None and known.size == 1:
            bounds.append(known.reshape(()).item())
        else:
            bounds.append(c.attr(name) if given is None else given)
    if not any(isinstance(bound, ir.Value) for bound in bounds):
        return elementwise.clamp(c.b, x, *_meant(x, bounds))
    for op, bound in zip(("MAXIMUM", "MINIMUM"), bounds, strict=True):
        if bound is not None:
            limit = bound if isinstance(bound, ir.Value) else scalar(c.b, bound, x)
            x = arithmetic(c.b, op, x, limit)
    return x


def _meant(x: ir.Value, bounds: list[float | None]) -> list[float | None]:
    """Bounds without those that every float fulfils."""
    if x.dtype != "FLOAT32":
        return bounds
    limit = float(np.finfo(np.float32).max)
    return [None if bound is None or abs(bound) >= limit else bound for bound in bounds]


def _leaky_relu(c: Context) -> ir.Value:
    return c.b.emit("LEAKY_RELU", [c.input(0)], alpha=float(c.attr("alpha", 0.01)))


def _elu(c: Context) -> ir.Value:
    return activations.elu(c.b, c.input(0), c.attr("alpha", 1.0))


def _selu(c: Context) -> ir.Value:
    alpha, gamma = c.attr("alpha", 1.6732632423543772), c.attr("gamma", 1.0507009873554805)
    return activations.elu(c.b, c.input(0), alpha * gamma, gamma)


def _celu(c: Context) -> ir.Value:
    alpha = c.attr("alpha", 1.0)
    return activations.elu(c.b, c.input(0), alpha, 1.0, 1 / alpha)


def _hard_sigmoid(c: Context) -> ir.Value:
    scaled = affine(c.b, c.input(0), c.attr("alpha", 0.2), c.attr("beta", 0.5))
    return elementwise.clamp(c.b, scaled, 0.0, 1.0)


def _gelu(c: Context) -> ir.Value:
    return c.b.emit("GELU", [c.input(0)], approximate=c.attr("approximate", "none") == "tanh")


def _swish(c: Context) -> ir.Value:
    x = c.input(0)
    gate = unary(c.b, "LOGISTIC", affine(c.b, x, c.attr("alpha", 1.0), 0))
    return binary(c.b, "MUL", x, gate)


def _mish(c: Context) -> ir.Value:
    return activations.mish(c.b, c.input(0))


def _thresholded_relu(c: Context) -> ir.Value:
    x = c.input(0)
    above = compare(c.b, "GREATER", x, scalar(c.b, c.attr("alpha", 1.0), x))
    return binary(c.b, "MUL", x, basic.cast(c.b, above, x.dtype))


def _prelu(c: Context) -> ir.Value:
    return activations.prelu(c.b, c.input(0), c.input(1))


def _reciprocal(c: Context) -> ir.Value:
    x = c.input(0)
    return binary(c.b, "DIV", scalar(c.b, 1, x), x)


def _mod(c: Context) -> ir.Value:
    form = elementwise.fmod if c.attr("fmod", 0) else elementwise.remainder
    return form(c.b, c.input(0), c.input(1))


def _where(c: Context) -> ir.Value:
    condition, x, y = c.inputs()
    return elementwise.select(c.b, condition, x, y)


def _is_inf(c: Context) -> ir.Value:
    ends = bool(c.attr("detect_negative", 1)), bool(c.attr("detect_positive", 1))
    return elementwise.is_inf(c.b, c.input(0), *ends)


def _shift(c: Context) -> ir.Value:
    form = bitwise.shifted_left if c.attr("direction") == "LEFT" else bitwise.shifted_right
    return form(c.b, *basic.broadcast_together(c.b, c.inputs()))


def _bitwise(op: str) -> Row:
    return lambda c: bitwise.of_two(c.b, op, c.input(0), c.input(1))


def _bitwise_not(c: Context) -> ir.Value:
    return bitwise.inverted(c.b, c.input(0))


def _bit_cast(c: Context) -> ir.Value:
    x, element = c.input(0), c.attr("to")
    if types.is_widened(element) or (c.graph.widens and x.dtype == "FLOAT32"):
        raise NoForm("reads the bits of floats that devices hold in another width: use float32")
    return c.b.emit("BITCAST", [x], dtype=types.inner_type(element))


def _shrink(c: Context) -> ir.Value:
    """x + bias below -lambd, x - bias above lambd, else 0"""
    x, bias, limit = c.input(0), c.attr("bias", 0.0), c.attr("lambd", 0.5)
    kind, x = x.dtype, basic.cast(c.b, x, "FLOAT32")
    above = compare(c.b, "GREATER", x, scalar(c.b, limit, x))
    below = compare(c.b, "LESS", x, scalar(c.b, -limit, x))
    low = elementwise.select(c.b, below, affine(c.b, x, 1, bias), scalar(c.b, 0, x))
    return basic.cast(c.b, elementwise.select(c.b, above, affine(c.b, x, 1, -bias), low), kind)


def _softsign(c: Context) -> ir.Value:
    x = c.input(0)
    return binary(c.b, "DIV", x, affine(c.b, unary(c.b, "ABS", x), 1, 1))


def _power(c: Context) -> ir.Value:
    return elementwise.power(c.b, c.input(0), c.input(1))


def _dropout(c: Context) -> list[ir.Value]:
    x = c.input(0)
    given = c.optional(2)
    training = given is not None and bool(c.b.require(given, "training mode"))
    ratio = c.array(1, "ratio").reshape(()).item() if training and c.has(1) else 0.5
    if training and ratio != 0:
        raise NoForm("is in training mode: export the model for inference")
    if not c.wants(1):
        return [x]
    shape = basic.shape_of(c.b, x)
    return [x, c.b.emit("FILL", [shape, c.b.constant(True, "kept")], dtype="BOOL")]


def _constant(c: Context) -> ir.Value:
    kinds = {"value_float": np.float32, "value_int": np.int64, "value_string": object}
    for name in ("value", *kinds, *(f"{kind}s" for kind in kinds)):
        found = c.attr(name)
        if found is not None:
            array = np.asarray(found, kinds.get(name.removesuffix("s")))
            c.graph.held[c.node.output[0]] = array
            return c.graph.value(c.node.output[0])
    sparse = c.attr("sparse_value")
    if sparse is None:
        raise NoForm("has no value: the file is damaged")
    c.graph.held[c.node.output[0]] = types.dense_of(sparse, c.graph.folder)
    return c.graph.value(c.node.output[0])


ROWS: Rows = {
    "Abs": _of("absolute"),
    "Acos": _of("acos"),
    "Acosh": _of("acosh"),
    "Add": rows.binary("ADD"),
    "And": rows.plain("LOGICAL_AND"),
    "Asin": _of("asin"),
    "Asinh": _of("asinh"),
    "Atan": _of("atan"),
    "Atanh": _of("atanh"),
    "BitCast": _bit_cast,
    "BitShift": _shift,
    "BitwiseNot": _bitwise_not,
    "BitwiseAnd": _bitwise("AND"),
    "BitwiseOr": _bitwise("OR"),
    "BitwiseXor": _bitwise("XOR"),
    "Cast": _cast,
    "Ceil": rows.unary("CEIL"),
    "Celu": _celu,
    "Clip": _clip,
    "Constant": _constant,
    "Cos": rows.unary("COS"),
    "Cosh": _of("cosh"),
    "Div": rows.binary("DIV"),
    "Dropout": _dropout,
    "Elu": _elu,
    "Equal": rows.comparison("EQUAL"),
    "Erf": _of("erf"),
    "Exp": rows.unary("EXP"),
    "Floor": rows.unary("FLOOR"),
    "Gelu": _gelu,
    "Greater": rows.comparison("GREATER"),
    "GreaterOrEqual": rows.comparison("GREATER_EQUAL"),
    "HardSigmoid": _hard_sigmoid,
    "HardSwish": rows.unary("HARD_SWISH"),
    "Identity": _identity,
    "IsInf": _is_inf,
    "IsNaN": _of("is_nan"),
    "LeakyRelu": _leaky_relu,
    "Less": rows.comparison("LESS"),
    "LessOrEqual": rows.comparison("LESS_EQUAL"),
    "Log": rows.unary("LOG"),
    "Max": _variadic("MAXIMUM"),
    "Mean": _mean,
    "Min": _variadic("MINIMUM"),
    "Mish": _mish,
    "Mod": _mod,
    "Mul": rows.binary("MUL"),
    "Neg": rows.unary("NEG"),
    "Not": rows.plain("LOGICAL_NOT"),
    "Or": rows.plain("LOGICAL_OR"),
    "PRelu": _prelu,
    "Pow": _power,
    "Reciprocal": _reciprocal,
    "Relu": rows.unary("RELU"),
    "Round": rows.unary("ROUND"),
    "Selu": _selu,
    "Shrink": _shrink,
    "Sigmoid": rows.unary("LOGISTIC"),
    "Sign": _of("sign"),
    "Sin": rows.unary("SIN"),
    "Sinh": _of("sinh"),
    "Softplus": _of("softplus"),
    "Softsign": _softsign,
    "Sqrt": rows.unary("SQRT"),
    "Sub": rows.binary("SUB"),
    "Sum": _variadic("ADD"),
    "Swish": _swish,
    "Tan": _of("tan"),
    "Tanh": rows.unary("TANH"),
    "ThresholdedRelu": _thresholded_relu,
    "Where": _where,
    "Xor": rows.comparison("NOT_EQUAL"),
}
