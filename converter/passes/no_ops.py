# SPDX-License-Identifier: Apache-2.0
"""Nodes that give back what they get, and chains of two that one node can do."""

from __future__ import annotations

import numpy as np

from converter import ir
from converter.passes.rewriting import (
    Row,
    apply_rows,
    bypass,
    constant_operand,
    feeds_only,
    is_float,
    replace_constant,
    same_shape,
    same_type,
)

_UNIT_RESHAPES = ("RESHAPE", "SQUEEZE", "EXPAND_DIMS")
_NAMES = """
    RELU RELU6 RELU_N1_TO_1 RELU_0_TO_1 LOGISTIC TANH HARD_SWISH ELU LEAKY_RELU GELU NEG ABS SQUARE
    SQRT RSQRT EXP LOG SIN COS FLOOR CEIL ROUND
"""
_ELEMENTWISE = frozenset(_NAMES.split())


def remove_no_ops(graph: ir.Graph) -> bool:
    """Drop nodes that change nothing; merge chains of RESHAPE and of TRANSPOSE."""
    return apply_rows("remove_no_ops", graph, ROWS)


def _keeps_everything(graph: ir.Graph, node: ir.Node) -> bool:
    """RESHAPE, SQUEEZE, CAST... to the very same shape and type."""
    x = node.inputs[0]
    if x is None or not same_shape(x, node.outputs[0]) or not same_type(x, node.outputs[0]):
        return False
    return bypass(graph, node, x)


def _reshape(graph: ir.Graph, node: ir.Node) -> bool:
    """RESHAPE reads what the reshape before it reads, also past what works on each element."""
    if _keeps_everything(graph, node):
        return True
    x = node.inputs[0]
    before = x.producer if x is not None else None
    if before is None or before.inputs[0] is None:
        return False
    if before.op in _UNIT_RESHAPES and same_type(before.inputs[0], node.outputs[0]):
        node.set_input(0, before.inputs[0])
        return True
    return before.op in _ELEMENTWISE and _reshape_before(graph, before, node)


def _reshape_before(graph: ir.Graph, element: ir.Node, node: ir.Node) -> bool:
    """Reshape, `element`, `node` (a RESHAPE): the element's op comes last, so the two meet."""
    (middle,), (out,) = element.outputs, node.outputs
    x = element.inputs[0]
    before = x.producer if x is not None else None
    if x is None or before is None or before.op not in _UNIT_RESHAPES:
        return False
    if not feeds_only(graph, x, element) or not feeds_only(graph, middle, node):
        return False
    source = before.inputs[0]
    if source is None or not is_float(source, x, middle, out):
        return False
    new = ir.Value(f"{x.name}/reshaped", x.dtype, out.shape, shape_signature=out.shape_signature)
    node.set_input(0, source)  # not x: what is one reshape less must not wait for a later round
    element.set_input(0, None)
    graph.set_output_of(node, 0, new)
    graph.set_output_of(element, 0, out)
    element.set_input(0, new)
    graph.nodes.remove(element)
    graph.nodes.insert(graph.index(node) + 1, element)
    return True


def merge_transpose(graph: ir.Graph, node: ir.Node) -> bool:
    x, perm = node.inputs[0], permutation(node)
    if x is None or perm is None:
        return False
    if np.array_equal(perm, np.arange(perm.size)) and same_type(x, node.outputs[0]):
        return bypass(graph, node, x)
    before = x.producer
    if before is None or before.op != "TRANSPOSE":
        return False
    source, first = before.inputs[0], permutation(before)
    if source is None or first is None or first.size != perm.size or not same_type(source, x):
        return False
    shared = len(x.users) > 1 or graph.is_output(x)
    if shared and _only_units(x, perm) and not _only_units(source, first[perm]):
        return False  # this one moves no elements, the two together would
    node.set_input(0, source)
    replace_constant(node, 1, first[perm])
    return True


def _only_units(value: ir.Value, perm: np.ndarray) -> bool:
    """Whether transposing `value` by `perm` moves axes of size 1 only."""
    dims = value.shape_signature or value.shape
    moving = [int(i) for i in perm if dims[int(i)] != 1]
    return moving == sorted(moving)


def permutation(node: ir.Node) -> np.ndarray | None:
    """The constant order of axes of a TRANSPOSE; None if it is computed or no permutation."""
    x, perm = node.inputs
    if x is None or perm is None or perm.data is None or perm.data.ndim != 1:
        return None
    return perm.data if sorted(perm.data) == list(range(len(x.shape))) else None


def _pad(graph: ir.Graph, node: ir.Node) -> bool:
    x, paddings = node.inputs[:2]
    if x is None or paddings is None or paddings.data is None or np.any(paddings.data):
        return False
    return same_type(x, node.outputs[0]) and bypass(graph, node, x)


def _neutral(number: int, right_only: bool = False) -> Row:
    """Arithmetic with the operand that changes nothing, where it does not broadcast either."""

    def row(graph: ir.Graph, node: ir.Node) -> bool:
        found = constant_operand(node)
        if found is None or (right_only and found[0] is not node.inputs[0]):
            return False
        x, constant = found
        out = node.outputs[0]
        if x.is_quantized or out.is_quantized or constant.dtype.hasobject:
            return False
        if node.option("fused_activation_function") != "NONE" or not np.all(constant == number):
            return False
        # A constant of higher rank or larger size would broadcast the other operand.
        if constant.ndim > len(x.shape) or not same_shape(x, out) or not same_type(x, out):
            return False
        return bypass(graph, node, x)

    return row


def _select(graph: ir.Graph, node: ir.Node) -> bool:
    condition, *branches = node.inputs
    if condition is None or condition.data is None or condition.data.size == 0:
        return False
    if not (np.all(condition.data) or not np.any(condition.data)):
        return False
    chosen = branches[0] if np.all(condition.data) else branches[1]
    out = node.outputs[0]
    if chosen is None or not same_shape(chosen, out) or not same_type(chosen, out):
        return False
    return bypass(graph, node, chosen)


def _slice(graph: ir.Graph, node: ir.Node) -> bool:
    x, begin = node.inputs[:2]
    if x is None or begin is None or begin.data is None or np.any(begin.data):
        return False
    return _keeps_everything(graph, node)


def _strided_slice(graph: ir.Graph, node: ir.Node) -> bool:
    """A slice of all there is, forwards."""
    begin, _, strides = node.inputs[1:]
    if begin is None or strides is None or begin.data is None or strides.data is None:
        return False
    if np.any(strides.data <= 0) or node.option("ellipsis_mask") or node.option("new_axis_mask"):
        return False
    x = node.inputs[0]
    if x is None or (-1 in (x.shape_signature or ()) and not _takes_whole(node, x)):
        return False
    return _keeps_everything(graph, node)


def _takes_whole(node: ir.Node, x: ir.Value) -> bool:
    """Every dynamic axis is taken from its begin to its end, each element."""
    begin_mask, end_mask = int(node.option("begin_mask")), int(node.option("end_mask"))
    strides = node.inputs[3]
    assert strides is not None and strides.data is not None
    dynamic = [i for i, d in enumerate(x.shape_signature or ()) if d == -1]
    return all(begin_mask >> i & end_mask >> i & 1 and strides.data[i] == 1 for i in dynamic)


def _concatenation(graph: ir.Graph, node: ir.Node) -> bool:
    if len(node.inputs) != 1 or node.option("fused_activation_function") != "NONE":
        return False
    return _keeps_everything(graph, node)


def _div(graph: ir.Graph, node: ir.Node) -> bool:
    """Division by powers of two is multiplication by others, to the last bit."""
    if _neutral(1, right_only=True)(graph, node):
        return True
    x, divisor = node.inputs
    if x is None or divisor is None or divisor.data is None or not is_float(x, divisor):
        return False
    if not is_float(node.outputs[0]) or divisor.size == 0 or x.data is not None:
        return False
    parts, exponents = np.frexp(divisor.data)
    # Exponents of which both the divisor and its reciprocal are normal numbers.
    if not np.all(np.abs(parts) == 0.5) or np.abs(exponents).max() > 120:
        return False
    node.op, node.options_type = "MUL", None
    replace_constant(node, 1, (1 / divisor.data).astype(np.float32))
    return True


ROWS: dict[str, Row] = {
    "ADD": _neutral(0),
    "SUB": _neutral(0, right_only=True),
    "MUL": _neutral(1),
    "DIV": _div,
    "CAST": _keeps_everything,
    "CONCATENATION": _concatenation,
    "PAD": _pad,
    "PADV2": _pad,
    "QUANTIZE": _keeps_everything,
    "RESHAPE": _reshape,
    "SELECT": _select,
    "SELECT_V2": _select,
    "SLICE": _slice,
    "STRIDED_SLICE": _strided_slice,
    "SQUEEZE": _keeps_everything,
    "TRANSPOSE": merge_transpose,
}
