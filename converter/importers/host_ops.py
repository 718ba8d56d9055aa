# SPDX-License-Identifier: Apache-2.0
"""One row per TensorFlow op type: how it is written in TFLite's ops.

A row is a function ``(Context) -> list[ir.Value]``, one value per output of the op. It raises
:class:`NoForm`, with what to do, where this use of the op has no form.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from converter import ir
from converter.importers.no_form import NoForm


class Context:
    """One op of the source graph, its inputs as IR values, and the graph being built."""

    def __init__(self, importer: Any, op: Any) -> None:
        self.importer = importer
        self.op = op

    def attr(self, name: str, default: Any = None) -> Any:
        """Attribute `name` (bytes as str), `default` where the op lacks it."""
        try:
            value = self.op.get_attr(name)
        except (ValueError, KeyError):
            return default
        return value.decode() if isinstance(value, bytes) else value

    def input(self, index: int) -> ir.Value:
        return self.importer.value(self.op.inputs[index])

    def inputs(self) -> list[ir.Value]:
        return [self.importer.value(tensor) for tensor in self.op.inputs]

    def rank(self, index: int) -> int:
        """Rank of input `index`; NoForm where the source does not know it."""
        rank = self.op.inputs[index].shape.ndims
        if rank is None:
            raise NoForm("does not know the rank of its input: give it with set_shape")
        return int(rank)

    def array(self, index: int, what: str) -> np.ndarray:
        """Input `index` as an array; NoForm if it is computed from the model's inputs."""
        value = self.input(index)
        if value.data is None:
            raise NoForm(f"its {what} is computed at run time: make it a constant")
        return value.data

    def constant(self, data: Any, name: str, dtype: Any = None) -> ir.Value:
        return ir.Value.constant(f"{self.op.name}/{name}", np.asarray(data, dtype))

    def ints(self, index: int, what: str) -> ir.Value:
        """Input `index` (axes, shape, sizes) as int32, whichever integer type the source has."""
        value = self.input(index)
        if value.dtype == "INT32":
            return value
        if value.data is not None:
            return self.constant(value.data, what, np.int32)
        out = ir.Value(f"{self.op.name}/{what}", "INT32", value.shape)
        return self.node("CAST", [value], [out], in_data_type=value.dtype, out_data_type="INT32")[0]

    def node(
        self,
        op: str,
        inputs: Sequence[ir.Value],
        outputs: Sequence[ir.Value],
        **options: Any,
    ) -> list[ir.Value]:
        """Append a node with these outputs."""
        self.importer.graph.add_node(op, inputs, outputs, options, name=self.op.name)
        return list(outputs)

    def emit(self, op: str, inputs: Sequence[ir.Value], **options: Any) -> list[ir.Value]:
        """Append the node that makes the source op's own outputs."""
        outputs = [self.importer.new_value(tensor) for tensor in self.op.outputs]
        return self.node(op, inputs, outputs, **options)

    def between(self, suffix: str, like: ir.Value, shape: Sequence[int] | None = None) -> ir.Value:
        """A value between two nodes that stand for one source op."""
        shape = like.shape if shape is None else shape
        return ir.Value(f"{self.op.name}/{suffix}", like.dtype, shape)


Row = Callable[[Context], list[ir.Value]]


def _plain(op: str, **options: Any) -> Row:
    """Same inputs, same order."""
    return lambda c: c.emit(op, c.inputs(), **options)


def _alias(c: Context) -> list[ir.Value]:
    return [c.input(0)]


def _atan2(c: Context) -> list[ir.Value]:
    y, x = c.inputs()
    if y.shape != x.shape:
        raise NoForm("has operands of two shapes: broadcast one of them first")
    return c.emit("ATAN2", [y, x])


def _bias_add(c: Context) -> list[ir.Value]:
    if c.attr("data_format", "NHWC") not in ("NHWC", "N...C"):
        raise NoForm("has data_format NCHW: build the network with NHWC")
    return c.emit("ADD", c.inputs())


def _reduce(op: str) -> Row:
    def row(c: Context) -> list[ir.Value]:
        return c.emit(
            op,
            [c.input(0), c.ints(1, "axes")],
            keep_dims=bool(c.attr("keep_dims", c.attr("keepdims", False))),
        )

    return row


def _arg(op: str) -> Row:
    def row(c: Context) -> list[ir.Value]:
        kind = ir.dtype_name(c.op.outputs[0].dtype.as_numpy_dtype)
        return c.emit(op, [c.input(0), c.ints(1, "axis")], output_type=kind)

    return row


def _matmul(c: Context) -> list[ir.Value]:
    a, b = c.inputs()
    transpose_a, transpose_b = (bool(c.attr(f"transpose_{x}", False)) for x in "ab")
    if b.data is None or transpose_a:
        return c.emit("BATCH_MATMUL", [a, b], adj_x=transpose_a, adj_y=transpose_b)
    weights = b.data if transpose_b else b.data.T  # FULLY_CONNECTED wants [outputs, inputs]
    named = ir.Value.constant(b.name, weights)
    return c.emit("FULLY_CONNECTED", [a, named], fused_activation_function="NONE")


def _softmax(c: Context) -> list[ir.Value]:
    return c.emit("SOFTMAX", c.inputs(), beta=1.0)


def _leaky_relu(c: Context) -> list[ir.Value]:
    return c.emit("LEAKY_RELU", c.inputs(), alpha=float(c.attr("alpha", 0.2)))


def _reciprocal(c: Context) -> list[ir.Value]:
    x = c.input(0)
    return c.emit("DIV", [c.constant(1, "one", ir.numpy_dtype(x.dtype)), x])


def _cast(c: Context) -> list[ir.Value]:
    x = c.input(0)
    kind = ir.dtype_name(c.op.outputs[0].dtype.as_numpy_dtype)
    return [x] if kind == x.dtype else c.emit("CAST", [x], in_data_type=x.dtype, out_data_type=kind)


def _reshape(c: Context) -> list[ir.Value]:
    return c.emit("RESHAPE", [c.input(0), c.ints(1, "shape")])


def _squeeze(c: Context) -> list[ir.Value]:
    dims = c.attr("squeeze_dims", c.attr("axis", ())) or ()
    return c.emit("SQUEEZE", c.inputs(), squeeze_dims=np.array(dims, np.int32))


def _with_ints(op: str, *what: str) -> Row:
    """First input as it is, the others (axes, sizes...) as int32."""

    def row(c: Context) -> list[ir.Value]:
        return c.emit(op, [c.input(0), *(c.ints(i + 1, name) for i, name in enumerate(what))])

    return row


def _pad_v2(c: Context) -> list[ir.Value]:
    return c.emit("PADV2", [c.input(0), c.ints(1, "paddings"), c.input(2)])


def _mirror_pad(c: Context) -> list[ir.Value]:
    return c.emit("MIRROR_PAD", [c.input(0), c.ints(1, "paddings")], mode=c.attr("mode"))


def _concat(c: Context) -> list[ir.Value]:
    last = c.op.type == "ConcatV2"
    values = c.inputs()
    axis = int(c.array(len(values) - 1 if last else 0, "axis"))
    return c.emit("CONCATENATION", values[:-1] if last else values[1:], axis=axis)


def _pack(c: Context) -> list[ir.Value]:
    values = c.inputs()
    return c.emit("PACK", values, values_count=len(values), axis=int(c.attr("axis", 0)))


def _unpack(c: Context) -> list[ir.Value]:
    return c.emit("UNPACK", c.inputs(), num=len(c.op.outputs), axis=int(c.attr("axis", 0)))


def _split(c: Context) -> list[ir.Value]:
    return c.emit("SPLIT", [c.ints(0, "axis"), c.input(1)], num_splits=len(c.op.outputs))


def _split_v(c: Context) -> list[ir.Value]:
    inputs = [c.input(0), c.ints(1, "sizes"), c.ints(2, "axis")]
    return c.emit("SPLIT_V", inputs, num_splits=len(c.op.outputs))


def _strided_slice(c: Context) -> list[ir.Value]:
    masks = ("begin_mask", "end_mask", "ellipsis_mask", "new_axis_mask", "shrink_axis_mask")
    inputs = [c.input(0), *(c.ints(i + 1, what) for i, what in enumerate(("from", "to", "step")))]
    return c.emit("STRIDED_SLICE", inputs, **{mask: int(c.attr(mask, 0)) for mask in masks})


def _gather(c: Context) -> list[ir.Value]:
    axis = int(c.array(2, "axis")) if len(c.op.inputs) > 2 else 0
    batch_dims = int(c.attr("batch_dims", 0))
    return c.emit("GATHER", [c.input(0), c.input(1)], axis=axis, batch_dims=batch_dims)


def _select(c: Context) -> list[ir.Value]:
    op = "SELECT" if c.op.type == "Select" else "SELECT_V2"
    return c.emit(op, c.inputs())


def _one_hot(c: Context) -> list[ir.Value]:
    inputs = [c.input(0), c.ints(1, "depth"), c.input(2), c.input(3)]
    return c.emit("ONE_HOT", inputs, axis=int(c.attr("axis", -1)))


def _shape(c: Context) -> list[ir.Value]:
    return c.emit("SHAPE", c.inputs(), out_type=ir.dtype_name(c.op.outputs[0].dtype.as_numpy_dtype))


def _cumsum(c: Context) -> list[ir.Value]:
    options = {key: bool(c.attr(key, False)) for key in ("exclusive", "reverse")}
    return c.emit("CUMSUM", [c.input(0), c.ints(1, "axis")], **options)


def _batch_matmul(c: Context) -> list[ir.Value]:
    options = {"adj_x": bool(c.attr("adj_x", False)), "adj_y": bool(c.attr("adj_y", False))}
    return c.emit("BATCH_MATMUL", c.inputs(), **options)


def _fill(c: Context) -> list[ir.Value]:
    return c.emit("FILL", [c.ints(0, "dims"), c.input(1)])


ROWS: dict[str, Row] = {
    **dict.fromkeys(
        ("Identity", "StopGradient", "PreventGradient", "Snapshot", "CheckNumerics"), _alias
    ),
    "Abs": _plain("ABS"),
    "Add": _plain("ADD"),
    "AddV2": _plain("ADD"),
    "AddN": lambda c: c.emit("ADD_N", c.inputs()) if len(c.op.inputs) > 1 else _alias(c),
    "All": _reduce("REDUCE_ALL"),
    "Any": _reduce("REDUCE_ANY"),
    "Atan2": _atan2,
    "ArgMax": _arg("ARG_MAX"),
    "ArgMin": _arg("ARG_MIN"),
    "BatchMatMul": _batch_matmul,
    "BatchMatMulV2": _batch_matmul,
    "BiasAdd": _bias_add,
    "BroadcastTo": _with_ints("BROADCAST_TO", "shape"),
    "Cast": _cast,
    "Ceil": _plain("CEIL"),
    "Concat": _concat,
    "ConcatV2": _concat,
    "Cos": _plain("COS"),
    "Cumsum": _cumsum,
    "Div": _plain("DIV"),
    "Elu": _plain("ELU"),
    "Equal": _plain("EQUAL"),
    "Exp": _plain("EXP"),
    "ExpandDims": _with_ints("EXPAND_DIMS", "axis"),
    "Fill": _fill,
    "Floor": _plain("FLOOR"),
    "FloorDiv": _plain("FLOOR_DIV"),
    "FloorMod": _plain("FLOOR_MOD"),
    "Gather": _gather,
    "GatherNd": _plain("GATHER_ND"),
    "GatherV2": _gather,
    "Greater": _plain("GREATER"),
    "GreaterEqual": _plain("GREATER_EQUAL"),
    "LeakyRelu": _leaky_relu,
    "Less": _plain("LESS"),
    "LessEqual": _plain("LESS_EQUAL"),
    "Log": _plain("LOG"),
    "LogSoftmax": _plain("LOG_SOFTMAX"),
    "LogicalAnd": _plain("LOGICAL_AND"),
    "LogicalNot": _plain("LOGICAL_NOT"),
    "LogicalOr": _plain("LOGICAL_OR"),
    "MatMul": _matmul,
    "Max": _reduce("REDUCE_MAX"),
    "Maximum": _plain("MAXIMUM"),
    "Mean": _reduce("MEAN"),
    "Min": _reduce("REDUCE_MIN"),
    "Minimum": _plain("MINIMUM"),
    "MirrorPad": _mirror_pad,
    "Mul": _plain("MUL"),
    "Neg": _plain("NEG"),
    "NotEqual": _plain("NOT_EQUAL"),
    "OneHot": _one_hot,
    "Pack": _pack,
    "Pad": _with_ints("PAD", "paddings"),
    "PadV2": _pad_v2,
    "Pow": _plain("POW"),
    "Prod": _reduce("REDUCE_PROD"),
    "Range": _plain("RANGE"),
    "Rank": _plain("RANK"),
    "RealDiv": _plain("DIV"),
    "Reciprocal": _reciprocal,
    "Relu": _plain("RELU"),
    "Relu6": _plain("RELU6"),
    "Reshape": _reshape,
    "ReverseV2": _with_ints("REVERSE_V2", "axes"),
    "Round": _plain("ROUND"),
    "Rsqrt": _plain("RSQRT"),
    "Select": _select,
    "SelectV2": _select,
    "Shape": _shape,
    "Sigmoid": _plain("LOGISTIC"),
    "Sign": _plain("SIGN"),
    "Sin": _plain("SIN"),
    "Slice": _with_ints("SLICE", "begin", "size"),
    "Softmax": _softmax,
    "Split": _split,
    "SplitV": _split_v,
    "Sqrt": _plain("SQRT"),
    "Square": _plain("SQUARE"),
    "SquaredDifference": _plain("SQUARED_DIFFERENCE"),
    "Squeeze": _squeeze,
    "StridedSlice": _strided_slice,
    "Sub": _plain("SUB"),
    "Sum": _reduce("SUM"),
    "Tanh": _plain("TANH"),
    "Tile": _with_ints("TILE", "multiples"),
    "TopKV2": _with_ints("TOPK_V2", "k"),
    "Transpose": _with_ints("TRANSPOSE", "perm"),
    "Unpack": _unpack,
    "UnsortedSegmentSum": _with_ints("UNSORTED_SEGMENT_SUM", "ids", "count"),
    "Where": _plain("WHERE"),
    "ZerosLike": _plain("ZEROS_LIKE"),
}
