# SPDX-License-Identifier: Apache-2.0
"""Rows for If, Loop and Scan, whose bodies are graphs that see the values around them."""

from __future__ import annotations

import numpy as np
import onnx

from converter import ir
from converter.importers.builder import Builder
from converter.importers.forms import basic, control, movement
from converter.importers.no_form import NoForm
from converter.importers.onnx import loading
from converter.importers.onnx.context import Context, Listed, Rows

_MOST_UNROLLED = 64
_MOST_STEPS = 1 << 20  # of a loop that gathers results


def body_values(
    c: Context, b: Builder, graph: onnx.GraphProto, inputs: list[ir.Value], label: str
) -> list[ir.Value]:
    """Convert a body into `b`, its inputs bound to `inputs`; its outputs."""
    inner = c.graph.inside(b, f"{c.b.scope}/{label}/")
    inner.hold(graph.initializer)
    # An If has no inputs; some writers list what its branches read of the graph around them.
    for info, value in zip(graph.input if inputs else [], inputs, strict=True):
        inner.values[info.name] = value
    scope, count = b.scope, len(c.graph.obstacles)
    inner.convert(loading.in_order(graph.node))
    b.scope = scope
    if len(c.graph.obstacles) > count:
        raise NoForm(f"has a {label} with obstacles of its own")
    return [inner.value(info.name) for info in graph.output]


def _if(c: Context) -> list[ir.Value]:
    graphs = c.attr("then_branch"), c.attr("else_branch")
    known = c.b.known(c.input(0))
    if known is not None:
        graph, label = (graphs[0], "then") if known.reshape(()) else (graphs[1], "else")
        return body_values(c, c.b, graph, [], label)

    def tensors(b: Builder, graph: onnx.GraphProto, label: str) -> list[ir.Value]:
        found = body_values(c, b, graph, [], label)
        if any(isinstance(value, Listed) for value in found):
            raise NoForm("gives a sequence or the other: give tensors, or a constant condition")
        return found

    return control.branch(
        c.b,
        c.input(0),
        lambda b: tensors(b, graphs[0], "then"),
        lambda b: tensors(b, graphs[1], "else"),
    )


def _loop(c: Context) -> list[ir.Value]:
    """Unrolled where the count is known and nothing else ends the loop, else a WHILE."""
    graph = c.attr("body")
    states = [c.any(i) for i in range(2, c.n_inputs)]
    scanned = len(graph.output) - 1 - len(states)
    trips = c.b.known(c.input(0)) if c.has(0) else None
    going = c.b.known(c.input(1)) if c.has(1) else np.array(True)
    if going is not None and not going.reshape(()):
        trips = np.array(0)
    if trips is not None and trips <= _MOST_UNROLLED and (_never_ends(graph) or trips == 0):
        return _unrolled(c, graph, states, scanned, int(trips.reshape(())))
    if any(isinstance(v, Listed) for v in states):
        raise NoForm(
            "carries a sequence through a number of steps that is known only when the model runs:"
            " give the loop a constant trip count"
        )
    return _while(c, graph, states, scanned)


def _never_ends(graph: onnx.GraphProto) -> bool:
    """Whether the body hands its condition on, or says true."""
    condition, name = graph.input[1].name, graph.output[0].name
    makers = {output: node for node in graph.node for output in node.output}
    while name in makers and makers[name].op_type == "Identity":
        name = makers[name].input[0]
    if name == condition:
        return True
    maker = makers.get(name)
    if maker is not None and maker.op_type == "Constant":
        value = next((a.t for a in maker.attribute if a.name == "value"), None)
        return value is not None and bool(onnx.numpy_helper.to_array(value).reshape(-1)[0])
    return any(
        t.name == name and bool(onnx.numpy_helper.to_array(t).reshape(-1)[0])
        for t in graph.initializer
    )


def _unrolled(
    c: Context, graph: onnx.GraphProto, states: list[ir.Value], scanned: int, trips: int
) -> list[ir.Value]:
    if trips == 0 and scanned:
        raise NoForm("runs no step, so that its results have no shape: leave the loop out")
    gathered: list[list[ir.Value]] = [[] for _ in range(scanned)]
    for i in range(trips):
        place = c.b.constant(i, "step", np.int64)
        on = c.b.constant(True, "on")
        values = body_values(c, c.b, graph, [place, on, *states], f"step {i}")
        states = values[1 : len(states) + 1]
        for parts, value in zip(gathered, values[len(states) + 1 :], strict=True):
            parts.append(basic.unsqueeze(c.b, value, [0]))
    return [*states, *(basic.concat(c.b, parts, 0) for parts in gathered)]


def _while(
    c: Context, graph: onnx.GraphProto, states: list[ir.Value], scanned: int
) -> list[ir.Value]:
    """A WHILE. What it gathers is written into tensors of as many places as there may be steps."""
    limit = basic.reshape(c.b, c.input(0), []) if c.has(0) else None
    on = c.input(1) if c.has(1) else c.b.constant(True, "on")
    start = [c.b.constant(0, "step", np.int64), basic.reshape(c.b, on, []), *states]
    count = len(start)
    gathered = _places(c, graph, start, limit) if scanned else []

    def condition(b: Builder, values: list[ir.Value]) -> ir.Value:
        if limit is None:
            return values[1]
        below = b.emit("LESS", [values[0], b.captured(limit)], dtype="BOOL")
        return b.emit("LOGICAL_AND", [below, values[1]])

    def step(b: Builder, values: list[ir.Value]) -> list[ir.Value]:
        found = body_values(c, b, graph, values[:count], "body")
        after = basic.binary(b, "ADD", values[0], b.constant(1, "one", np.int64))
        written = [
            control.written(b, whole, part, basic.ints(b, values[0]))
            for whole, part in zip(values[count:], found[count - 1 :], strict=True)
        ]
        return [after, basic.reshape(b, found[0], []), *found[1 : count - 1], *written]

    steps, _, *found = control.loop(c.b, [*start, *gathered], condition, step)
    if not scanned or (_never_ends(graph) and not c.has(1)):
        return found
    zero, end = basic.int32s(c.b, [0], "zero"), basic.reshape(c.b, basic.ints(c.b, steps), [1])
    cut = [movement.cut(c.b, whole, zero, end, [0], [1]) for whole in found[count - 2 :]]
    return [*found[: count - 2], *cut]


def _places(
    c: Context, graph: onnx.GraphProto, start: list[ir.Value], limit: ir.Value | None
) -> list[ir.Value]:
    """Zeros [limit, ...] for each result that a loop gathers."""
    known = None if limit is None else c.b.known(limit)
    if limit is None or (known is not None and known > _MOST_STEPS):
        raise NoForm(
            "gathers the results of a number of steps that is known only when the model runs: give"
            " the loop a trip count"
        )
    trial = c.b.body("trial")
    found = body_values(c, trial, graph, [trial.input_like(v) for v in start], "trial")
    length = basic.ints(c.b, limit)
    length = basic.binary(c.b, "MAXIMUM", length, basic.scalar(c.b, 0, length))
    return [
        control.zeros(c.b, length, v.dtype, (trial.fixed_dims(v, "what it gathers"),) * 2)
        for v in found[len(start) - 1 :]
    ]


def _scan(c: Context) -> list[ir.Value]:
    graph, count = c.attr("body"), c.attr("num_scan_inputs")
    if c.opset < 9:
        return _scan_of_batches(c, graph, count)
    states = [c.input(i) for i in range(c.n_inputs - count)]
    sequences = [c.input(i) for i in range(c.n_inputs - count, c.n_inputs)]
    axes = c.attr("scan_input_axes") or [0] * count
    ways = c.attr("scan_input_directions") or [0] * count
    if len(set(ways)) > 1:
        raise NoForm("reads its sequences in different directions: reverse some of them outside")
    moved = [_to_front(c.b, x, axis) for x, axis in zip(sequences, axes, strict=True)]

    def step(
        b: Builder, slices: list[ir.Value], before: list[ir.Value]
    ) -> tuple[list[ir.Value], list[ir.Value]]:
        values = body_values(c, b, graph, [*before, *slices], "step")
        return values[: len(states)], values[len(states) :]

    last, results = control.scan(c.b, moved, states, step, bool(ways[0]))
    out_axes = c.attr("scan_output_axes") or [0] * len(results)
    out_ways = c.attr("scan_output_directions") or [0] * len(results)
    if any(bool(way) != bool(ways[0]) for way in out_ways):
        raise NoForm("writes its results in another direction than it reads: reverse them outside")
    found = [_from_front(c.b, v, axis) for v, axis in zip(results, out_axes, strict=True)]
    return [*last, *found]


def _scan_of_batches(c: Context, graph: onnx.GraphProto, count: int) -> list[ir.Value]:
    """Opset 8: the first axis is the batch, the second the sequence; one scan per batch."""
    if c.has(0):
        raise NoForm("has sequences of different lengths: export with opset 9 or newer")
    ways = c.attr("directions") or [0] * count
    if len(set(ways)) > 1:
        raise NoForm("reads its sequences in different directions: reverse some of them outside")
    values = [c.input(i) for i in range(1, c.n_inputs)]
    held = len(values) - count
    batch = c.b.dims(values[0])[0]
    if batch is None or batch > _MOST_UNROLLED:
        raise NoForm("has a batch that is dynamic or large: give it a fixed size, or use opset 9")

    def step(
        b: Builder, slices: list[ir.Value], before: list[ir.Value]
    ) -> tuple[list[ir.Value], list[ir.Value]]:
        found = body_values(c, b, graph, [*before, *slices], "step")
        return found[:held], found[held:]

    rows = []
    for i in range(batch):
        own = [basic.squeeze(c.b, basic.slice_axis(c.b, v, 0, i, i + 1), [0]) for v in values]
        last, results = control.scan(c.b, own[held:], own[:held], step, bool(ways[0]))
        rows.append([basic.unsqueeze(c.b, v, [0]) for v in (*last, *results)])
    return [basic.concat(c.b, list(parts), 0) for parts in zip(*rows, strict=True)]


def _to_front(b: Builder, x: ir.Value, axis: int) -> ir.Value:
    dims = basic.rank(b, x)
    axis = basic.axis_of(b, x, axis)
    return basic.transpose(b, x, [axis, *(i for i in range(dims) if i != axis)])


def _from_front(b: Builder, x: ir.Value, axis: int) -> ir.Value:
    dims = basic.rank(b, x)
    axis = basic.axis_of(b, x, axis)
    perm = list(range(1, dims))
    perm.insert(axis, 0)
    return basic.transpose(b, x, perm)


ROWS: Rows = {"If": _if, "Loop": _loop, "Scan": _scan}
