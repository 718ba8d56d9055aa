# SPDX-License-Identifier: Apache-2.0
"""Lets a node work with its axes in another order, between transposes there and back."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from converter import ir
from converter.passes.layout_axes import (
    Axes,
    Perm,
    inverse,
    is_identity,
    perm_of,
    set_target,
    sizes,
)


def change_layout(graph: ir.Graph, node: ir.Node, axes: Axes, order: Perm) -> None:
    """Let `node` work with its axes in `order`, between transposes there and back."""
    for i, ids in axes.inputs.items():
        value = node.inputs[i]
        assert value is not None
        perm = perm_of(ids, order)
        if axes.broadcasts:
            node.set_input(i, _aligned(graph, node, value, ids, perm, order))
        elif not is_identity(perm):
            node.set_input(i, _transposed(graph, node, value, perm))
    if axes.adjust is not None:
        axes.adjust(node, order)
    at = node
    for i, ids in enumerate(axes.outputs):
        perm = perm_of(ids, order)
        if is_identity(perm):
            continue
        old = node.outputs[i]
        new = permuted(old, perm)
        graph.set_output_of(node, i, new)
        constant = ir.Value.constant(f"{old.name}/perm", np.array(inverse(perm), np.int32))
        at = graph.add_node("TRANSPOSE", [new, constant], [old], after=at, name=node.name)


def permuted(value: ir.Value, perm: Perm) -> ir.Value:
    """A new value like `value` with its axes in another order (its data, if it has any, too)."""
    signature, quant = value.shape_signature, value.quant
    if quant is not None and quant.scale.size > 1:
        quant = replace(quant, axis=perm.index(quant.axis))
    return ir.Value(
        value.name if value.data is not None else f"{value.name}/moved",
        value.dtype,
        [value.shape[i] for i in perm],
        data=None if value.data is None else np.ascontiguousarray(value.data.transpose(perm)),
        shape_signature=None if signature is None else [signature[i] for i in perm],
        quant=quant,
    )


def _transposed(graph: ir.Graph, node: ir.Node, value: ir.Value, perm: Perm) -> ir.Value:
    new = permuted(value, perm)
    if value.data is None:
        constant = ir.Value.constant(f"{value.name}/perm", np.array(perm, np.int32))
        graph.add_node("TRANSPOSE", [value, constant], [new], before=node, name=node.name)
    return new


def _aligned(
    graph: ir.Graph,
    node: ir.Node,
    value: ir.Value,
    ids: list[int | None],
    perm: Perm,
    order: Perm,
) -> ir.Value:
    """`value` with its axes where those of the result, now in `order`, are."""
    if not is_identity(perm):
        value = _transposed(graph, node, value, perm)
    order_here = [a for a in order if a in ids]
    if not order_here or tuple(order_here) == order[-len(order_here) :]:
        return value
    begin = min(order.index(a) for a in order_here)
    where = [order_here.index(a) if a in ids else None for a in order[begin:]]

    def spread(dims: tuple[int, ...]) -> list[int]:
        return [1 if i is None else dims[i] for i in where]

    quant = value.quant
    if quant is not None and quant.scale.size > 1:
        quant = replace(quant, axis=where.index(quant.axis))
    dims, shape = spread(sizes(value)), spread(value.shape)
    data = None if value.data is None else value.data.reshape(shape)
    name = value.name if data is not None else f"{value.name}/aligned"
    signature = dims if -1 in dims else None
    new = ir.Value(name, value.dtype, shape, data=data, shape_signature=signature, quant=quant)
    if data is None:
        reshape = graph.add_node("RESHAPE", [value], [new], before=node, name=node.name)
        set_target(reshape, dims)
    return new
