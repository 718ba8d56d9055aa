# SPDX-License-Identifier: Apache-2.0
"""Which operators work with their axes in another order, and how they then name their axes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from converter import ir
from converter.passes.layout_axes import Axes, Ids, Perm, matching_axes, perm_of, set_target, sizes
from converter.passes.rewriting import replace_constant


def axes_of(node: ir.Node) -> Axes | None:
    """How the axes of `node`'s operands belong together; None where their order is fixed."""
    row = ROWS.get(node.op)
    return row(node) if row is not None else None


def _rank(value: ir.Value | None) -> int:
    return len(value.shape) if value is not None else 0


def _ints(node: ir.Node, index: int) -> np.ndarray | None:
    """The constant numbers of input `index`."""
    value = node.inputs[index] if index < len(node.inputs) else None
    return None if value is None or value.data is None else value.data


def _same(node: ir.Node, adjust: Callable[[ir.Node, Perm], None] | None = None) -> Axes:
    """One input and outputs of its rank."""
    rank = _rank(node.inputs[0])
    ids: Ids = list(range(rank))
    return Axes(rank, {0: ids}, [ids] * len(node.outputs), adjust=adjust)


def _elementwise(node: ir.Node) -> Axes | None:
    (out,) = node.outputs
    rank = len(out.shape)
    inputs: dict[int, Ids] = {}
    for i, value in enumerate(node.inputs):
        if value is None or (value.data is not None and value.size == 1):
            continue
        if len(value.shape) < rank and sizes(value).count(-1) > 1:
            return None  # a RESHAPE aligns it, which has but one dynamic size
        inputs[i] = list(range(rank - len(value.shape), rank))
    return Axes(rank, inputs, [list(range(rank))], broadcasts=True)


def _select(node: ir.Node) -> Axes | None:
    same = {v.shape for v in node.inputs if v is not None} == {node.outputs[0].shape}
    return _elementwise(node) if same else None


def _axis_option(node: ir.Node, rank: int) -> int:
    axis = int(node.option("axis"))
    return axis + rank if axis < 0 else axis


def _renamed_axis(axis: int) -> Callable[[ir.Node, Perm], None]:
    """The option `axis`, which is the place of an axis, as it is in another order."""

    def adjust(node: ir.Node, order: Perm) -> None:
        node.options["axis"] = order.index(axis)

    return adjust


def _concatenation(node: ir.Node) -> Axes | None:
    rank = _rank(node.outputs[0])
    ids: Ids = list(range(rank))
    inputs = dict.fromkeys(range(len(node.inputs)), ids)
    return Axes(rank, inputs, [ids], adjust=_renamed_axis(_axis_option(node, rank)))


def _pack(node: ir.Node) -> Axes | None:
    rank = _rank(node.outputs[0])
    axis = _axis_option(node, rank)
    kept: Ids = [i for i in range(rank) if i != axis]
    inputs = dict.fromkeys(range(len(node.inputs)), kept)
    return Axes(rank, inputs, [list(range(rank))], adjust=_renamed_axis(axis))


def _unpack(node: ir.Node) -> Axes | None:
    rank = _rank(node.inputs[0])
    axis = _axis_option(node, rank)
    kept: Ids = [i for i in range(rank) if i != axis]
    outputs = [kept] * len(node.outputs)
    return Axes(rank, {0: list(range(rank))}, outputs, adjust=_renamed_axis(axis))


def _with_axis_input(data: int, at: int) -> Callable[[ir.Node], Axes | None]:
    """SPLIT and the like: input `at` is the constant number of an axis of input `data`."""

    def row(node: ir.Node) -> Axes | None:
        rank, numbers = _rank(node.inputs[data]), _ints(node, at)
        if numbers is None or numbers.size == 0:
            return None

        def adjust(node: ir.Node, order: Perm) -> None:
            _rename(node, at, order)

        ids: Ids = list(range(rank))
        return Axes(rank, {data: ids}, [ids] * len(node.outputs), adjust=adjust)

    return row


def _rename(node: ir.Node, at: int, order: Perm) -> None:
    """Give the axes that input `at` names their places in `order`."""
    old = _ints(node, at)
    assert old is not None
    new = np.array([order.index(int(a) % len(order)) for a in old.reshape(-1)], old.dtype)
    replace_constant(node, at, np.sort(new).reshape(old.shape))


def _reduction(node: ir.Node) -> Axes | None:
    rank, over = _rank(node.inputs[0]), _ints(node, 1)
    if over is None or rank == 0 or np.any(over < -rank) or np.any(over >= rank):
        return None
    gone = {int(a) % rank for a in over.reshape(-1)}
    keep = node.op not in ("ARG_MAX", "ARG_MIN") and bool(node.option("keep_dims"))
    kept: Ids = [i for i in range(rank) if keep or i not in gone]

    def adjust(node: ir.Node, order: Perm) -> None:
        _rename(node, 1, order)

    return Axes(rank, {0: list(range(rank))}, [kept], adjust=adjust)


def _rows_by_axis(*at: int) -> Callable[[ir.Node], Axes | None]:
    """PAD, SLICE, TILE: inputs `at` have one row of numbers for each axis."""

    def row(node: ir.Node) -> Axes | None:
        rank = _rank(node.inputs[0])
        tables = [_ints(node, i) for i in at]
        if any(t is None or t.shape[:1] != (rank,) for t in tables):
            return None
        if len(node.outputs[0].shape) != rank:
            return None

        def adjust(node: ir.Node, order: Perm) -> None:
            for i in at:
                table = _ints(node, i)
                assert table is not None
                replace_constant(node, i, table[list(order)])

        return _same(node, adjust)

    return row


def _strided_slice(node: ir.Node) -> Axes | None:
    rank = _rank(node.inputs[0])
    tables = [_ints(node, i) for i in (1, 2, 3)]
    if any(t is None or t.shape != (rank,) for t in tables):
        return None
    if node.option("ellipsis_mask") or node.option("new_axis_mask"):
        return None
    shrunk = int(node.option("shrink_axis_mask"))
    kept: Ids = [i for i in range(rank) if not shrunk >> i & 1]

    def adjust(node: ir.Node, order: Perm) -> None:
        for i in (1, 2, 3):
            table = _ints(node, i)
            assert table is not None
            replace_constant(node, i, table[list(order)])
        for name in ("begin_mask", "end_mask", "shrink_axis_mask"):
            bits = int(node.option(name))
            node.options[name] = sum((bits >> a & 1) << i for i, a in enumerate(order))

    return Axes(rank, {0: list(range(rank))}, [kept], adjust=adjust)


def _gather(node: ir.Node) -> Axes | None:
    rank, indices = _rank(node.inputs[0]), _rank(node.inputs[1])
    axis = _axis_option(node, rank)
    if int(node.option("batch_dims")) != 0 or not 0 <= axis < rank:
        return None

    out: Ids = [*range(axis), *[axis] * indices, *range(axis + 1, rank)]
    return Axes(rank, {0: list(range(rank))}, [out], adjust=_renamed_axis(axis))


def _pinned(count: int, inputs: int = 1) -> Callable[[ir.Node], Axes | None]:
    """The last `count` axes stay: SOFTMAX, products."""

    def row(node: ir.Node) -> Axes | None:
        rank = _rank(node.outputs[0])
        if any(_rank(v) != rank for v in node.inputs[:inputs]):
            return None
        ids: Ids = list(range(rank))
        data = dict.fromkeys(range(inputs), ids)
        return Axes(rank, data, [ids] * len(node.outputs), pinned=min(count, rank))

    return row


def _batch_matmul(node: ir.Node) -> Axes | None:
    x, y = node.inputs
    if x is None or y is None or sizes(x)[:-2] != sizes(y)[:-2]:
        return None
    return _pinned(2, inputs=2)(node)


def _fully_connected(node: ir.Node) -> Axes | None:
    return _pinned(1)(node) if node.option("keep_num_dims") else None


def _squeeze(node: ir.Node) -> Axes | None:
    x, (out,) = node.inputs[0], node.outputs
    gone = [int(a) % max(_rank(x), 1) for a in node.option("squeeze_dims") or ()]
    if x is None or not gone or len(set(gone)) != len(x.shape) - len(out.shape):
        return None
    kept: list[int] = [i for i in range(len(x.shape)) if i not in gone]
    ids: Ids = [kept.index(i) if i in kept else None for i in range(len(x.shape))]

    def adjust(node: ir.Node, order: Perm) -> None:
        perm = perm_of(ids, order)
        node.options["squeeze_dims"] = np.array(sorted(perm.index(a) for a in set(gone)), np.int32)

    return Axes(len(kept), {0: ids}, [list(range(len(kept)))], adjust=adjust)


def _expand_dims(node: ir.Node) -> Axes | None:
    rank, where = _rank(node.outputs[0]), _ints(node, 1)
    if where is None or where.size != 1:
        return None
    axis = int(where.reshape(-1)[0]) % rank
    out: Ids = [*range(axis), None, *range(axis, rank - 1)]

    def adjust(node: ir.Node, order: Perm) -> None:
        assert where is not None
        replace_constant(node, 1, np.full(where.shape, perm_of(out, order).index(axis), np.int32))

    return Axes(rank - 1, {0: list(range(rank - 1))}, [out], adjust=adjust)


def _reshape(node: ir.Node) -> Axes | None:
    x, (out,) = node.inputs[0], node.outputs
    if x is None or (len(node.inputs) > 1 and _ints(node, 1) is None):
        return None
    groups = matching_axes(sizes(x), sizes(out))
    if groups is None:
        return None
    count, left, right = groups

    said = _ints(node, 1) if len(node.inputs) > 1 else None
    target = list(sizes(out))
    if -1 not in target and said is not None and said.shape == (len(target),) and -1 in said:
        target[said.tolist().index(-1)] = -1  # so that inputs can still be resized

    def adjust(node: ir.Node, order: Perm) -> None:
        set_target(node, [target[i] for i in perm_of(right, order)])

    return Axes(count, {0: left}, [right], adjust=adjust)


_UNARY = """
    RELU RELU6 RELU_N1_TO_1 RELU_0_TO_1 LOGISTIC TANH HARD_SWISH ELU LEAKY_RELU GELU NEG ABS SQUARE
    SQRT RSQRT EXP LOG SIN COS FLOOR CEIL ROUND SIGN CAST QUANTIZE DEQUANTIZE LOGICAL_NOT ZEROS_LIKE
"""
_BINARY = """
    ADD SUB MUL DIV POW MAXIMUM MINIMUM SQUARED_DIFFERENCE FLOOR_DIV FLOOR_MOD EQUAL NOT_EQUAL LESS
    LESS_EQUAL GREATER GREATER_EQUAL LOGICAL_AND LOGICAL_OR PRELU SELECT_V2 ATAN2
"""
_REDUCTIONS = "MEAN SUM REDUCE_MAX REDUCE_MIN REDUCE_PROD REDUCE_ANY REDUCE_ALL ARG_MAX ARG_MIN"
ROWS: dict[str, Callable[[ir.Node], Axes | None]] = {
    **dict.fromkeys(_UNARY.split(), _elementwise),
    **dict.fromkeys(_BINARY.split(), _elementwise),
    **dict.fromkeys(_REDUCTIONS.split(), _reduction),
    **dict.fromkeys(("SOFTMAX", "LOG_SOFTMAX", "L2_NORMALIZATION", "TOPK_V2"), _pinned(1)),
    **dict.fromkeys(("PAD", "PADV2", "MIRROR_PAD", "TILE"), _rows_by_axis(1)),
    "ADD_N": _select,
    "BATCH_MATMUL": _batch_matmul,
    "BROADCAST_TO": _rows_by_axis(1),
    "CONCATENATION": _concatenation,
    "CUMSUM": _with_axis_input(0, 1),
    "EXPAND_DIMS": _expand_dims,
    "FULLY_CONNECTED": _fully_connected,
    "GATHER": _gather,
    "PACK": _pack,
    "RESHAPE": _reshape,
    "REVERSE_V2": _with_axis_input(0, 1),
    "SELECT": _select,
    "SLICE": _rows_by_axis(1, 2),
    "SPLIT": _with_axis_input(1, 0),
    "SPLIT_V": _with_axis_input(0, 2),
    "SQUEEZE": _squeeze,
    "STRIDED_SLICE": _strided_slice,
    "UNPACK": _unpack,
}
