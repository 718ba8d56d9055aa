# SPDX-License-Identifier: Apache-2.0
"""Branches and loops: IF and WHILE, whose bodies are graphs of their own."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from converter import ir
from converter.importers.builder import Builder, Dims
from converter.importers.forms import basic
from converter.importers.forms.basic import binary, int32s
from converter.importers.no_form import NoForm
from converter.passes.composites import composite_options
from converter.passes.recurrent import fuse_loop

MOST_UNROLLED = 32  # steps that are written out one after the other

# (builder, this step's slices, states) -> (states, what this step adds to the results)
Step = Callable[[Builder, list[ir.Value], list[ir.Value]], tuple[list[ir.Value], list[ir.Value]]]


def branch(
    b: Builder,
    condition: ir.Value,
    then: Callable[[Builder], Sequence[ir.Value]],
    other: Callable[[Builder], Sequence[ir.Value]],
) -> list[ir.Value]:
    """IF: the values of `then` where `condition` holds, else those of `other`."""
    bodies = [b.body("then"), b.body("else")]
    results = [list(make(body)) for make, body in zip((then, other), bodies, strict=True)]
    if [v.dtype for v in results[0]] != [v.dtype for v in results[1]]:
        raise NoForm("has branches that give different types: cast them to one")
    union = list(dict.fromkeys(v for body in bodies for v in body.captures))
    given = [b.captured(v) for v in union]  # which may be of a graph around this one
    for body, values in zip(bodies, results, strict=True):
        body.graph.inputs = [
            body.captures.get(v) or body.input_like(own)
            for v, own in zip(union, given, strict=True)
        ]
        body.graph.outputs = [_made(body, v) for v in values]
    dims = [_either(bodies[0].pair(p), bodies[1].pair(q)) for p, q in zip(*results, strict=True)]
    then_index, else_index = (b.add_body(body) for body in bodies)
    outputs = [(v.dtype, d) for v, d in zip(results[0], dims, strict=True)]
    condition = basic.reshape(b, condition, []) if basic.rank(b, condition) else condition
    return b.append(
        "IF",
        [condition, *given],
        outputs,
        {"then_subgraph_index": then_index, "else_subgraph_index": else_index},
    )


def loop(
    b: Builder,
    states: Sequence[ir.Value],
    condition: Callable[[Builder, list[ir.Value]], ir.Value],
    step: Callable[[Builder, list[ir.Value]], Sequence[ir.Value]],
    dims: Sequence[Dims] | None = None,
) -> list[ir.Value]:
    """WHILE: `step` again and again on the states while `condition` holds; the last states.

    `dims` are the states' shapes where they change on the way; without them shapes stay.
    """
    shapes = list(dims) if dims is not None else [b.pair(v) for v in states]
    test, body = b.body("condition"), b.body("body")
    own = [
        [inner.input_like(v, d) for v, d in zip(states, shapes, strict=True)]
        for inner in (test, body)
    ]
    verdict = condition(test, own[0])
    following = list(step(body, own[1]))
    for before, after in zip(states, following, strict=True):
        if before.dtype != after.dtype:
            raise NoForm(f"turns a state of {before.dtype} into {after.dtype}: cast it")
    union = list(dict.fromkeys(v for inner in (test, body) for v in inner.captures))
    given = [b.captured(v) for v in union]  # which may be of a graph around this one
    for inner, values in ((test, own[0]), (body, own[1])):
        captured = (
            inner.captures.get(v) or inner.input_like(own_value)
            for v, own_value in zip(union, given, strict=True)
        )
        inner.graph.inputs = [*values, *captured]
    test.graph.outputs = [_made(test, verdict)]
    invariants = body.graph.inputs[len(states) :]
    body.graph.outputs = [*(_made(body, v) for v in following), *invariants]
    test_index, body_index = b.add_body(test), b.add_body(body)
    carried = [(v.dtype, d) for v, d in zip(states, shapes, strict=True)]
    outputs = b.append(
        "WHILE",
        [*states, *given],
        [*carried, *((v.dtype, b.pair(v)) for v in given)],
        {"cond_subgraph_index": test_index, "body_subgraph_index": body_index},
    )
    return outputs[: len(states)]


def composite(
    b: Builder,
    name: str,
    inputs: Sequence[ir.Value],
    attributes: Mapping[str, float | int],
    parts: Callable[[Builder, list[ir.Value]], Sequence[ir.Value]],
) -> list[ir.Value]:
    """STABLEHLO_COMPOSITE of `inputs`: for engines that have `name` whole one op, for others what
    `parts` makes of stand-ins for the inputs.
    """
    body = b.body(f"{name}.impl")
    results = list(parts(body, [body.input_like(v) for v in inputs]))
    assert not body.captures, f"{name} is not made of its inputs alone"
    body.graph.outputs = [_made(body, v) for v in results]
    outputs = [(v.dtype, body.pair(v)) for v in results]
    options = composite_options(name, b.add_body(body), attributes)
    return b.append("STABLEHLO_COMPOSITE", inputs, outputs, options)


def scan(
    b: Builder,
    sequences: Sequence[ir.Value],
    states: Sequence[ir.Value],
    step: Step,
    reverse: bool = False,
) -> tuple[list[ir.Value], list[ir.Value]]:
    """`step` over the first axis of `sequences`, from the front or the back: the last states, and
    the steps' results, stacked along a first axis in the order of the sequences.

    Few steps are written out, many are a WHILE.
    """
    length = b.dims(sequences[0])[0]
    if length is None or length > MOST_UNROLLED:
        return _looped(b, sequences, states, step, reverse)
    fused = _fused(b, sequences, states, step, reverse)
    return fused or _unrolled(b, sequences, list(states), step, length, reverse)


def _fused(
    b: Builder,
    sequences: Sequence[ir.Value],
    states: Sequence[ir.Value],
    step: Step,
    reverse: bool,
) -> tuple[list[ir.Value], list[ir.Value]] | None:
    """The scan as the op of the recurrent layer that it is; None where it is none. What a trial has
    called stays behind, and is dropped with the finished model.
    """
    if b.outer is not None:
        return None
    count = len(b.graph.nodes)
    found = None
    with contextlib.suppress(NoForm):  # though its steps may be written out
        found = _looped(b, sequences, states, step, reverse)
    loops = [node for node in b.graph.nodes[count:] if node.op == "WHILE"]
    is_loop = found is not None and len(loops) == 1
    if is_loop and fuse_loop(b.graph, loops[0], b.bodies, is_growing=True):
        return found
    for node in reversed(b.graph.nodes[count:]):
        b.graph.remove_node(node)
    return None


def _unrolled(
    b: Builder,
    sequences: Sequence[ir.Value],
    states: list[ir.Value],
    step: Step,
    length: int,
    reverse: bool,
) -> tuple[list[ir.Value], list[ir.Value]]:
    results: list[list[ir.Value]] = []
    for i in reversed(range(length)) if reverse else range(length):
        slices = [basic.squeeze(b, basic.slice_axis(b, x, 0, i, i + 1), [0]) for x in sequences]
        states, added = step(b, slices, states)
        results.append(added)
    if reverse:
        results.reverse()
    stacked = [
        basic.concat(b, [basic.unsqueeze(b, v, [0]) for v in values], 0)
        for values in zip(*results, strict=True)
    ]
    return states, stacked


def _looped(
    b: Builder,
    sequences: Sequence[ir.Value],
    states: Sequence[ir.Value],
    step: Step,
    reverse: bool,
) -> tuple[list[ir.Value], list[ir.Value]]:
    length = basic.reshape(b, basic.slice_axis(b, basic.shape_of(b, sequences[0]), 0, 0, 1), [])
    shapes = _shapes_of_results(b, sequences, states, step)
    sizes: list[ir.Value | None] = [None] * len(shapes)
    if any(first != second for _, (first, second), _ in shapes):
        sizes = _computed_sizes(b, sequences, states, step, [s for _, _, s in shapes])
    zero, one = b.constant(0, "zero", np.int32), b.constant(1, "one", np.int32)
    start, way = (binary(b, "SUB", length, one), -1) if reverse else (zero, 1)
    results = [
        zeros(b, length, dtype, dims, own)
        for (dtype, dims, _), own in zip(shapes, sizes, strict=True)
    ]
    count = len(states)

    def going(inner: Builder, values: list[ir.Value]) -> ir.Value:
        place = values[0]
        if reverse:
            return inner.emit(
                "GREATER_EQUAL", [place, inner.constant(0, "zero", np.int32)], dtype="BOOL"
            )
        return inner.emit("LESS", [place, inner.captured(length)], dtype="BOOL")

    def body(inner: Builder, values: list[ir.Value]) -> list[ir.Value]:
        place, now, filled = values[0], values[1 : count + 1], values[count + 1 :]
        slices = [inner.emit("GATHER", [inner.captured(x), place], axis=0) for x in sequences]
        after, added = step(inner, slices, now)
        kept = [
            written(inner, whole, part, place) for whole, part in zip(filled, added, strict=True)
        ]
        return [
            binary(inner, "ADD", place, inner.constant(way, "way", np.int32)),
            *after,
            *kept,
        ]

    found = loop(b, [start, *states, *results], going, body)
    return found[1 : count + 1], found[count + 1 :]


def _shapes_of_results(
    b: Builder, sequences: Sequence[ir.Value], states: Sequence[ir.Value], step: Step
) -> list[tuple[str, Dims, int | None]]:
    """Types and shapes of what one step adds, and which state it is, if one; from a step that is
    thrown away.
    """
    trial = b.body("trial")
    slices = []
    for x in sequences:
        first, second = b.pair(x)
        slices.append(trial.input_like(x, (first[1:], second[1:])))
    after, added = step(trial, slices, [trial.input_like(v) for v in states])
    places = {value: i for i, value in enumerate(after)}
    return [(v.dtype, trial.pair(v), places.get(v)) for v in added]


def _computed_sizes(
    b: Builder,
    sequences: Sequence[ir.Value],
    states: Sequence[ir.Value],
    step: Step,
    places: Sequence[int | None],
) -> list[ir.Value | None]:
    """The shapes, INT32, of what one step adds: those of a state that it is (states keep their
    shapes), else those of a first step on its own.
    """
    added: list[ir.Value] = []
    if None in places:
        zero = b.constant(0, "zero", np.int32)
        _, added = step(b, [b.emit("GATHER", [x, zero], axis=0) for x in sequences], list(states))
    return [
        basic.shape_of(b, added[i] if place is None else states[place])
        for i, place in enumerate(places)
    ]


def zeros(
    b: Builder, length: ir.Value, dtype: str, dims: Dims, sizes: ir.Value | None = None
) -> ir.Value:
    """[length, *dims] of zeros; `sizes` are the dims where they are computed."""
    own = int32s(b, dims[0], "dims") if sizes is None else sizes
    shape = basic.concat(b, [basic.reshape(b, length, [1]), own], 0)
    zero = b.constant(0, "zero", ir.numpy_dtype(dtype))
    known = [p if p == q else None for p, q in zip(*dims, strict=True)]
    return b.emit("FILL", [shape, zero], dtype=dtype, dims=[None, *known])


def written(b: Builder, whole: ir.Value, part: ir.Value, place: ir.Value) -> ir.Value:
    """`whole` with `part` at whole[place]."""
    rank = basic.rank(b, whole)
    at = basic.reshape(b, place, [1])
    if rank > 1:
        at = basic.concat(b, [at, int32s(b, [0] * (rank - 1), "rest")], 0)
    return b.emit("DYNAMIC_UPDATE_SLICE", [whole, basic.unsqueeze(b, part, [0]), at])


def _made(b: Builder, value: ir.Value) -> ir.Value:
    """`value` as a node of the body makes it: a constant or an input cannot be its output."""
    if value.producer is not None and value.data is None:
        return value
    sizes = [-1 if d is None else d for d in b.dims(value)]
    shape = basic.shape_of(b, value) if sizes.count(-1) > 1 else int32s(b, sizes, "shape")
    return b.append("RESHAPE", [value, shape], [(value.dtype, b.pair(value))], {})[0]


def _either(left: Dims, right: Dims) -> Dims:
    """A shape that holds for both branches; sizes in which they differ are dynamic."""
    if len(left[0]) != len(right[0]):
        raise NoForm("has branches that give different ranks")
    low = tuple(p if p == q else 2 for p, q in zip(left[0], right[0], strict=True))
    high = tuple(p if p == q else 3 for p, q in zip(left[1], right[1], strict=True))
    return low, high
