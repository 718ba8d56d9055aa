# SPDX-License-Identifier: Apache-2.0
"""Axes of size 1 stay until they meet the node that wants them back.

A convolution over one axis is one over two, of which the first has size 1; what stands between two
of them (batch norm, activations, residual sums) would be kept from folding by the reshapes around.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from converter import ir
from converter.passes.layout_axes import set_target, sizes
from converter.passes.rewriting import Row, apply_rows, replace_constant

_UNARY = """
    ABS CEIL COS ELU EXP FLOOR GELU HARD_SWISH LEAKY_RELU LOG LOGISTIC NEG RELU RELU6 RELU_0_TO_1
    RELU_N1_TO_1 ROUND RSQRT SIN SQRT SQUARE TANH
"""
_BINARY = "ADD DIV MAXIMUM MINIMUM MUL POW PRELU SQUARED_DIFFERENCE SUB"
_PADS = ("PAD", "PADV2", "MIRROR_PAD")
_SQUEEZES = ("RESHAPE", "SQUEEZE")
_THROUGH = frozenset((*_UNARY.split(), *_BINARY.split(), *_PADS, "CONCATENATION"))
_READERS = _THROUGH | {"RESHAPE", "EXPAND_DIMS", "SQUEEZE"}


def sink_squeezes(graph: ir.Graph) -> bool:
    """Let a node work on what a reshape drops an axis of size 1 from, and drop it behind."""
    row: Row = _sink
    return apply_rows("sink_squeezes", graph, dict.fromkeys(_THROUGH, row))


def _sink(graph: ir.Graph, node: ir.Node) -> bool:
    (out,) = node.outputs
    rank = len(out.shape)
    data = [0] if node.op in _PADS else list(range(len(node.inputs)))
    computed = [i for i in data if node.inputs[i] is not None and not _is_constant(node, i)]
    axis = _dropped_axis(graph, [node.inputs[i] for i in computed], rank)
    values = (*node.inputs, out)
    if axis is None or sizes(out).count(-1) > 1 or any(_has_axis_scales(v) for v in values):
        return False
    constants = [i for i in data if i not in computed]
    if node.op == "CONCATENATION":
        if constants:
            return False
        old = int(node.option("axis")) % rank
        node.options["axis"] = old + (old >= axis)
    elif node.op in _PADS:
        amounts = node.inputs[1]
        if amounts is None or amounts.data is None or amounts.shape != (rank, 2):
            return False
        replace_constant(node, 1, np.insert(amounts.data, axis, 0, axis=0))
    for i in computed:
        value = node.inputs[i]
        assert value is not None and value.producer is not None
        node.set_input(i, value.producer.inputs[0])
    for i in constants:
        _expand(node, i, rank, axis)
    signature = out.shape_signature
    wide = ir.Value(
        f"{out.name}/wide",
        out.dtype,
        _inserted(out.shape, axis),
        shape_signature=None if signature is None else _inserted(signature, axis),
        quant=out.quant,
    )
    graph.set_output_of(node, 0, wide)
    reshape = graph.add_node("RESHAPE", [wide], [out], after=node, name=node.name)
    target = list(sizes(out))
    if axis > 0 and -1 not in target and 0 not in target:
        target[0] = -1  # a batch can still be resized
    set_target(reshape, target)
    return True


def _is_constant(node: ir.Node, index: int) -> bool:
    value = node.inputs[index]
    return value is not None and value.data is not None


def _has_axis_scales(value: ir.Value | None) -> bool:
    return value is not None and value.quant is not None and value.quant.scale.size > 1


def _inserted(dims: Sequence[int], axis: int) -> list[int]:
    return [*dims[:axis], 1, *dims[axis:]]


def _dropped_axis(graph: ir.Graph, values: Sequence[ir.Value | None], rank: int) -> int | None:
    """The one axis that was dropped of all `values`; None if it was not, or for other readers."""
    axes: set[int] | None = None
    for value in values:
        before = value.producer if value is not None else None
        if value is None or before is None or before.op not in _SQUEEZES:
            return None
        source = before.inputs[0]
        if source is None or len(value.shape) != rank or len(source.shape) != rank + 1:
            return None
        if graph.is_output(value) or any(user.op not in _READERS for user in value.users):
            return None
        wide, dims = sizes(source), sizes(value)
        here = {i for i, d in enumerate(wide) if d == 1 and wide[:i] + wide[i + 1 :] == dims}
        axes = here if axes is None else axes & here
    return min(axes) if axes else None


def _expand(node: ir.Node, index: int, rank: int, axis: int) -> None:
    """Give a constant the axis, unless its own axes all stand behind it."""
    value = node.inputs[index]
    assert value is not None and value.data is not None
    if len(value.shape) <= rank - axis:
        return
    full = [1] * (rank - len(value.shape)) + list(value.shape)
    constant = ir.Value(
        value.name,
        value.dtype,
        _inserted(full, axis),
        data=value.data.reshape(_inserted(full, axis)),
        quant=value.quant,
    )
    node.set_input(index, constant)
