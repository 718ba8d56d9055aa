# SPDX-License-Identifier: Apache-2.0
"""Rows for SpaceToBatchND and BatchToSpaceND, and for the dilated convolutions that TensorFlow
writes as a convolution between the two.
"""

from __future__ import annotations

import numpy as np

from converter import ir
from converter.importers.forms import basic
from converter.importers.forms.convolution import pad_with, same_pads
from converter.importers.tensorflow.context import Context, Rows

_AXES = ("d", "h", "w")
_CONVOLUTIONS = ("CONV_2D", "DEPTHWISE_CONV_2D", "CONV_3D")
_ACTIVATIONS = ("RELU", "RELU6", "RELU_N1_TO_1", "TANH", "LOGISTIC")


def _space_to_batch(c: Context) -> ir.Value:
    dims: list[int | None] = [None] * basic.rank(c.b, c.input(0))
    return c.b.emit("SPACE_TO_BATCH_ND", [c.input(0), c.ints(1), c.ints(2)], dims=dims)


def _batch_to_space(c: Context) -> ir.Value:
    x, block, crops = c.input(0), c.ints(1), c.ints(2)
    dilated = _dilated(c, x, block, crops)
    if dilated is not None:
        return dilated
    dims: list[int | None] = [None] * basic.rank(c.b, x)
    return c.b.emit("BATCH_TO_SPACE_ND", [x, block, crops], dims=dims)


def _dilated(c: Context, x: ir.Value, block: ir.Value, crops: ir.Value) -> ir.Value | None:
    """SPACE_TO_BATCH_ND, a convolution, BATCH_TO_SPACE_ND as one dilated convolution, with what
    else is done to each element in between; None where it is anything else. Over one axis (rank 3)
    the convolution has an axis of size 1 more.
    """
    flat = basic.rank(c.b, x) == 3
    chain: list[ir.Node] = []
    node = x.producer
    while node is not None and len(chain) < 8 and (_is_per_channel(node) or _drops_axis(c, node)):
        chain.append(node)
        node = node.inputs[0].producer if node.inputs[0] is not None else None
    steps = [step for step in chain if _is_per_channel(step)]
    if node is None or node.op not in _CONVOLUTIONS or len(chain) - len(steps) != flat:
        return None
    spread = _producer(node.inputs[0])
    if flat and spread is not None:
        spread = _producer(spread.inputs[0]) if _adds_axis(c, spread) else None
    if spread is None or spread.op != "SPACE_TO_BATCH_ND":
        return None
    origin, own_block, paddings = (v for v in spread.inputs if v is not None)
    rates, own_rates = c.b.known(block), c.b.known(own_block)
    pads = _net_pads(c, paddings, crops)
    if rates is None or own_rates is None or pads is None or not _is_plain(node):
        return None
    if not np.array_equal(rates, own_rates) or rates.size != len(pads):
        return None
    if flat:
        origin = basic.unsqueeze(c.b, origin, [1])
        pads, rates = [(0, 0), *pads], np.array([1, *rates.reshape(-1)])
    factors = [int(r) for r in rates.reshape(-1)]
    if len(factors) != basic.rank(c.b, origin) - 2:  # some axes of it alone
        return None
    y = _dilated_once(c, node, origin, pads, factors)
    y = basic.squeeze(c.b, y, [1]) if flat else y
    for step in reversed(steps):
        options = {k: v for k, v in step.options.items() if v is not None}
        y = c.b.emit(step.op, [y, *step.inputs[1:]], **options)
    return y


def _dilated_once(
    c: Context, node: ir.Node, x: ir.Value, pads: list[tuple[int, int]], rates: list[int]
) -> ir.Value:
    """The convolution `node` over `x`, dilated."""
    weights = node.inputs[1]
    assert weights is not None
    sizes = c.b.fixed_dims(weights, "its filter")
    kernel = sizes[:3] if node.op == "CONV_3D" else sizes[1:3]
    same = [same_pads(1, k, 1, rate) for k, rate in zip(kernel, rates, strict=True)]
    padding = "SAME" if pads == same else "VALID"
    if padding == "VALID":
        x = pad_with(c.b, x, [(0, 0), *pads, (0, 0)])
    options = {k: v for k, v in node.options.items() if v is not None}
    options["padding"] = padding
    for axis, rate in zip(_AXES[-len(rates) :], rates, strict=True):
        options[f"dilation_{axis}_factor"] = rate
    return c.b.emit(node.op, [x, *node.inputs[1:]], **options)


def _producer(value: ir.Value | None) -> ir.Node | None:
    return None if value is None else value.producer


def _is_plain(node: ir.Node) -> bool:
    numbers = [name for axis in _AXES for name in (f"stride_{axis}", f"dilation_{axis}_factor")]
    plain = all(node.options.get(name, 1) in (1, None) for name in numbers)
    return plain and node.options["padding"] == "VALID"


def _drops_axis(c: Context, node: ir.Node) -> bool:
    """[batch, 1, width, channels] to [batch, width, channels]"""
    source = node.inputs[0]
    if node.op not in ("RESHAPE", "SQUEEZE") or source is None:
        return False
    wide = c.b.pair(source)
    narrow = c.b.pair(node.outputs[0])
    return len(wide[0]) == 4 and all(
        n == (w[0], *w[2:]) and w[1] == 1 for n, w in zip(narrow, wide, strict=True)
    )


def _adds_axis(c: Context, node: ir.Node) -> bool:
    source = node.inputs[0]
    if node.op not in ("RESHAPE", "EXPAND_DIMS") or source is None:
        return False
    pairs = zip(c.b.pair(node.outputs[0]), c.b.pair(source), strict=True)
    return all(len(n) == 3 and w == (n[0], 1, *n[1:]) for w, n in pairs)


def _is_per_channel(node: ir.Node) -> bool:
    """An op that does the same wherever an element lies: an activation, or a constant vector."""
    if node.op in _ACTIVATIONS:
        return True
    if node.op not in ("ADD", "MUL") or len(node.inputs) != 2:
        return False
    term = node.inputs[1]
    return term is not None and term.data is not None and term.data.ndim <= 1


def _net_pads(c: Context, paddings: ir.Value, crops: ir.Value) -> list[tuple[int, int]] | None:
    """Paddings less crops, where both samples give the same."""
    added, cut = c.b.samples(paddings), c.b.samples(crops)
    if added is None or cut is None:
        return None
    nets = [a.astype(int) - b for a, b in zip(added, cut, strict=True)]
    if nets[0].ndim != 2 or not np.array_equal(*nets):
        return None
    return [(int(p), int(q)) for p, q in nets[0]]


ROWS: Rows = {
    "BatchToSpaceND": _batch_to_space,
    "SpaceToBatchND": _space_to_batch,
}
