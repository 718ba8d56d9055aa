# SPDX-License-Identifier: Apache-2.0
"""Models of several subgraphs, and of values that only run time sizes."""

from __future__ import annotations

from typing import Any

import numpy as np
from flatbuffers import flexbuffers

from converter import ir, write_tflite


class Sub:
    """Builds one subgraph."""

    def __init__(self, name: str) -> None:
        self.graph = ir.Graph(name)

    def input(self, shape: Any, dtype: str = "FLOAT32", **kwargs: Any) -> ir.Value:
        name = f"{self.graph.name}_x{len(self.graph.inputs)}"
        return self.graph.add_input(name, dtype, shape, **kwargs)

    def op(self, op: str, inputs: Any, *outs: tuple[Any, ...], **options: Any) -> Any:
        """Adds a node; each of `outs` is (shape, dtype or "FLOAT32", shape signature or None)."""
        position = len(self.graph.nodes)
        values = [
            value
            if isinstance(value, ir.Value)
            else ir.Value.constant(f"{self.graph.name}_c{position}_{i}", np.asarray(value))
            for i, value in enumerate(inputs)
        ]
        results = []
        for i, out in enumerate(outs):
            shape, dtype, signature = (
                (*out, "FLOAT32", None)[:3] if len(out) == 1 else (*out, None)[:3]
            )
            results.append(
                ir.Value(
                    f"{self.graph.name}_{position}_{i}", dtype, shape, shape_signature=signature
                )
            )
        self.graph.add_node(op, values, results, options)
        return results[0] if len(results) == 1 else results

    def ends(self, *outputs: ir.Value) -> ir.Graph:
        self.graph.outputs = list(outputs)
        return self.graph


def serialize(*graphs: ir.Graph, signatures: Any = ()) -> bytes:
    model = ir.Model(list(graphs))
    model.signatures = list(signatures)
    return write_tflite(model)


def branches(shape: Any = (3,)) -> bytes:
    """y = x + x if c else x * x."""
    main, yes, no = Sub("main"), Sub("yes"), Sub("no")
    c, x = main.input((1,), "BOOL"), main.input(shape)
    a, b = yes.input(shape), no.input(shape)
    yes.ends(yes.op("ADD", [a, a], (shape,)))
    no.ends(no.op("MUL", [b, b], (shape,)))
    y = main.op("IF", [c, x], (shape,), then_subgraph_index=1, else_subgraph_index=2)
    return serialize(main.ends(y), yes.graph, no.graph)


def loop(limit: int = 10, shape: Any = (2,)) -> bytes:
    """i, x = 0, x; while i < limit: i, x = i + 1, x + x."""
    main, condition, body = Sub("main"), Sub("condition"), Sub("body")
    i, x = main.input((1,), "INT32"), main.input(shape)
    ci, _ = condition.input((1,), "INT32"), condition.input(shape)
    condition.ends(condition.op("LESS", [ci, np.int32([limit])], ((1,), "BOOL")))
    bi, bx = body.input((1,), "INT32"), body.input(shape)
    step = body.op("ADD", [bi, np.int32([1])], ((1,), "INT32"))
    body.ends(step, body.op("ADD", [bx, bx], (shape,)))
    outs = main.op(
        "WHILE", [i, x], ((1,), "INT32"), (shape,), cond_subgraph_index=1, body_subgraph_index=2
    )
    return serialize(main.ends(*outs), condition.graph, body.graph)


def swapping_loop() -> bytes:
    """i, a, b = 0, a, b; while i < 3: i, a, b = i + 1, b, a. Outputs that are inputs, crossed."""
    main, condition, body = Sub("main"), Sub("condition"), Sub("body")
    i, a, b = main.input((1,), "INT32"), main.input((4,)), main.input((4,))
    ci = condition.input((1,), "INT32")
    condition.input((4,)), condition.input((4,))
    condition.ends(condition.op("LESS", [ci, np.int32([3])], ((1,), "BOOL")))
    bi, ba, bb = body.input((1,), "INT32"), body.input((4,)), body.input((4,))
    body.ends(body.op("ADD", [bi, np.int32([1])], ((1,), "INT32")), bb, ba)
    outs = main.op(
        "WHILE",
        [i, a, b],
        *(((1,), "INT32"), ((4,),), ((4,),)),
        cond_subgraph_index=1,
        body_subgraph_index=2,
    )
    return serialize(main.ends(*outs), condition.graph, body.graph)


def loop_of_states() -> bytes:
    """i, x, y, w; while i < 3: x has row i raised, y = y @ w.T. The body writes x where it lies, y
    in a place of its own, and passes w on, which is a constant."""
    main, condition, body = Sub("main"), Sub("condition"), Sub("body")
    w = ir.Value.constant("w", np.eye(4, k=1, dtype=np.float32))
    given = [main.input((1,), "INT32"), main.input((3, 4)), main.input((2, 4)), w]
    shapes = [v.shape for v in given]
    kinds = (((1,), "INT32"), *((shape,) for shape in shapes[1:]))
    own = [[sub.input((1,), "INT32"), *map(sub.input, shapes[1:])] for sub in (condition, body)]
    condition.ends(condition.op("LESS", [own[0][0], np.int32([3])], ((1,), "BOOL")))
    i, x, y, weights = own[1]
    step = body.op("ADD", [i, np.int32([1])], ((1,), "INT32"))
    row = body.op("GATHER", [x, i], ((1, 4),), axis=0)
    more = body.op("ADD", [row, np.float32([1])], ((1, 4),))
    place = body.op("CONCATENATION", [i, np.int32([0])], ((2,), "INT32"), axis=0)
    written = body.op("DYNAMIC_UPDATE_SLICE", [x, more, place], ((3, 4),))
    dense = body.op("FULLY_CONNECTED", [y, weights, np.zeros(4, np.float32)], ((2, 4),))
    body.ends(step, written, dense, weights)
    outs = main.op("WHILE", given, *kinds, cond_subgraph_index=1, body_subgraph_index=2)
    return serialize(main.ends(*outs), condition.graph, body.graph)


def growing_loop(limit: int = 4) -> bytes:
    """i, x = 0, x; while i < limit: i, x = i + 1, concat(x, x[:1] + 1). The shape of x changes."""
    main, condition, body = Sub("main"), Sub("condition"), Sub("body")
    i, x = main.input((1,), "INT32"), main.input((1,), shape_signature=(-1,))
    ci = condition.input((1,), "INT32")
    condition.input((1,), shape_signature=(-1,))
    condition.ends(condition.op("LESS", [ci, np.int32([limit])], ((1,), "BOOL")))
    bi, bx = body.input((1,), "INT32"), body.input((1,), shape_signature=(-1,))
    step = body.op("ADD", [bi, np.int32([1])], ((1,), "INT32"))
    head = body.op("SLICE", [bx, np.int32([0]), np.int32([1])], ((1,),))
    more = body.op("ADD", [head, np.float32([1])], ((1,),))
    grown = body.op("CONCATENATION", [bx, more], ((2,), "FLOAT32", (-1,)), axis=0)
    body.ends(step, grown)
    outs = main.op(
        "WHILE",
        [i, x],
        ((1,), "INT32"),
        ((1,), "FLOAT32", (-1,)),
        cond_subgraph_index=1,
        body_subgraph_index=2,
    )
    doubled = main.op("ADD", [outs[1], outs[1]], ((1,), "FLOAT32", (-1,)))
    return serialize(main.ends(outs[0], doubled), condition.graph, body.graph)


def twice_called(shapes: Any = ((2, 3), (4, 3))) -> bytes:
    """One composite's decomposition, with packed weights, called for two shapes."""
    main, part = Sub("main"), Sub("part")
    xs = [main.input(shape) for shape in shapes]
    rng = np.random.default_rng(5)
    weights = rng.standard_normal((4, 3)).astype(np.float32)
    p = part.input(shapes[0], shape_signature=(-1, 3))
    part.ends(
        part.op(
            "FULLY_CONNECTED", [p, weights, np.float32([1, 2, 3, 4])], ((2, 4), "FLOAT32", (-1, 4))
        )
    )
    ys = [main.op("STABLEHLO_COMPOSITE", [x], ((x.shape[0], 4),), **_part()) for x in (*xs, xs[0])]
    return serialize(main.ends(*ys), part.graph)


def _part() -> dict[str, Any]:
    attributes = np.frombuffer(bytes(flexbuffers.Dumps({})), np.uint8)
    calls = {"decomposition_subgraph_index": 1, "composite_attributes": attributes}
    return {"name": "test.part", **calls}


def constant_arguments(callers: int = 1) -> bytes:
    """reshape(x, shape) @ weights, where shape and weights are constants that the callers give."""
    main, part = Sub("main"), Sub("part")
    x = main.input((6,))
    inner = part.input((6,)), part.input((2,), "INT32"), part.input((4, 3))
    rows = part.op("RESHAPE", list(inner[:2]), ((2, 3), "FLOAT32", (-1, -1)))
    dense = [rows, inner[2], np.zeros(4, np.float32)]
    part.ends(part.op("FULLY_CONNECTED", dense, ((2, 4), "FLOAT32", (-1, 4))))
    ys = []
    for i in range(callers):
        rng = np.random.default_rng(i)
        weights = rng.standard_normal((4, 3)).astype(np.float32)
        call = [x, np.int32([2, 3]), weights]
        ys.append(main.op("STABLEHLO_COMPOSITE", call, ((2, 4),), **_part()))
    return serialize(main.ends(*ys), part.graph)


def constant_start() -> bytes:
    """i, x = 0, 1; while i < 3: i, x = i + 1, x + x. What starts as constants changes."""
    main, condition, body = Sub("main"), Sub("condition"), Sub("body")
    y = main.input((2,))
    ci, _ = condition.input((1,), "INT32"), condition.input((2,))
    condition.ends(condition.op("LESS", [ci, np.int32([3])], ((1,), "BOOL")))
    bi, bx = body.input((1,), "INT32"), body.input((2,))
    step = body.op("ADD", [bi, np.int32([1])], ((1,), "INT32"))
    body.ends(step, body.op("ADD", [bx, bx], ((2,),)))
    graphs = {"cond_subgraph_index": 1, "body_subgraph_index": 2}
    start = [np.int32([0]), np.float32([1, 2])]
    _, x = main.op("WHILE", start, ((1,), "INT32"), ((2,),), **graphs)
    return serialize(main.ends(main.op("ADD", [x, y], ((2,),))), condition.graph, body.graph)


def constant_state() -> bytes:
    """A recurrent layer in a subgraph whose input is its state, which the caller gives as zeros."""
    main, part = Sub("main"), Sub("part")
    x = main.input((2, 3))
    inner, state = part.input((2, 3)), part.input((2, 4))
    state.is_variable = True
    rng = np.random.default_rng(3)
    weights = [rng.standard_normal(s).astype(np.float32) for s in ((4, 3), (4, 4), (4,))]
    options = {"fused_activation_function": "TANH"}
    part.ends(part.op("RNN", [inner, *weights, state], ((2, 4),), **options))
    call = [x, np.zeros((2, 4), np.float32)]
    y = main.op("STABLEHLO_COMPOSITE", call, ((2, 4),), **_part())
    return serialize(main.ends(y), part.graph)


def counter() -> bytes:
    """A variable that CALL_ONCE sets to 10 and each run adds x to; two signatures see one value."""
    main, once, peek = Sub("main"), Sub("once"), Sub("peek")
    name = {"container": "", "shared_name": "total"}

    def handle(sub: Sub) -> Any:
        return sub.op("VAR_HANDLE", [], ((), "RESOURCE"), **name)

    once.op("ASSIGN_VARIABLE", [handle(once), np.float32([10, 10])])
    x = main.input((2,))
    main.op("CALL_ONCE", [], init_subgraph_index=1)
    before = main.op("READ_VARIABLE", [handle(main)], ((2,),))
    after = main.op("ADD", [before, x], ((2,),))
    main.op("ASSIGN_VARIABLE", [handle(main), after])
    scale = peek.input((1,))
    value = peek.op("READ_VARIABLE", [handle(peek)], ((2,),))
    y = peek.op("MUL", [value, scale], ((2,),))
    signatures = [
        ir.Signature("add", {"x": 0}, {"y": 0}, graph=0),
        ir.Signature("peek", {"scale": 0}, {"y": 0}, graph=2),
    ]
    return serialize(main.ends(after), once.ends(), peek.ends(y), signatures=signatures)


def computed_shape() -> bytes:
    """An input's values are the shape of a layer's input, and of a FILL."""
    sub = Sub("main")
    shape = sub.input((2,), "INT32")
    filled = sub.op("FILL", [shape, np.float32(3)], ((1, 2), "FLOAT32", (-1, -1)))
    flat = sub.op("RESHAPE", [filled, np.int32([-1, 1])], ((1, 1), "FLOAT32", (-1, 1)))
    weights = np.float32([[1], [2], [3]])
    dense = [flat, weights, np.float32([0, 0, 0])]
    return serialize(sub.ends(sub.op("FULLY_CONNECTED", dense, ((1, 3), "FLOAT32", (-1, 3)))))
