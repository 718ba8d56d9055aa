# SPDX-License-Identifier: Apache-2.0
"""Recurrent operators, variables, tables and control flow: models of more than one operator."""

from __future__ import annotations

from unittest import mock

import numpy as np
from conformance.op_rows import ANY, INDICES, PACKED, given, of, out, row, tensor, values
from single_op import Arg, OpModel

from converter import ir, write_tflite

REALS = ["FLOAT32"]
WEIGHTS = ["FLOAT32", "INT8q", "UINT8q"]


def _state(shape, type_="FLOAT32", **how):
    return tensor(type_, shape, variable=True, **how)


def _w(type_, shape):
    return tensor(
        type_,
        shape,
        const=True,
        low=-1,
        high=1,
        **({} if type_ == "FLOAT32" else {"zero": 0, "scale": 0.01}),
    )


def _b(count):
    return tensor("FLOAT32", (count,), const=True, low=-1, high=1)


@row("RNN UNIDIRECTIONAL_SEQUENCE_RNN", REALS, WEIGHTS)
def rnn(op, x, w):
    shape = (2, 3) if op == "RNN" else (2, 4, 3)
    args = [tensor(x, shape), _w(w, (5, 3)), _w(w, (5, 5)), _b(5), _state((2, 5))]
    return of(op, args, out(x), fused_activation_function="TANH")


@row("BIDIRECTIONAL_SEQUENCE_RNN", REALS, WEIGHTS)
def bidirectional_rnn(op, x, w):
    half = [_w(w, (5, 3)), _w(w, (5, 5)), _b(5), _state((2, 5))]
    args = [tensor(x, (2, 4, 3)), *half, *half, None, None, None]
    return of(op, args, [out(x), out(x)], fused_activation_function="TANH")


@row("SVDF", REALS, WEIGHTS)
def svdf(op, x, w):
    args = [tensor(x, (2, 3)), _w(w, (8, 3)), _w(w, (8, 6)), _b(4), _state((2, 48))]
    return of(op, args, out(x), rank=2)


@row("SVDF", ["INT8q"], ["INT8q"], ["INT16", "INT8"])
def svdf_int8(op, x, w, state):
    args = [
        tensor(x, (2, 3)),
        tensor(w, (8, 3), const=True, zero=0, scale=0.02),
        tensor(f"{state}q", (8, 6), const=True, zero=0, scale=0.02),
        tensor("INT32q", (4,), const=True, low=-9, high=9, scale=0.001),
        _state((2, 48), f"{state}q", scale=0.05, zero=0),
    ]
    return of(op, args, out(x), rank=2, fused_activation_function="RELU")


def _lstm_inputs(x, w, peephole=False):
    gates = [_w(w, (5, 3)) for _ in range(4)]
    recurrent = [_w(w, (5, 5)) for _ in range(4)]
    peepholes = [None] * 3
    return [x, *gates, *recurrent, *peepholes, *(_b(5) for _ in range(4)), None, None]


@row("UNIDIRECTIONAL_SEQUENCE_LSTM LSTM", REALS, WEIGHTS)
def lstm(op, x, w):
    shape = (2, 3) if op == "LSTM" else (2, 4, 3)
    args = [*_lstm_inputs(tensor(x, shape), w), _state((2, 5)), _state((2, 5))]
    return of(op, args, out(x), fused_activation_function="TANH")


@row("LSTM", ["FLOAT32", "UINT8q"], ["BASIC"])
def basic_lstm(op, x, kernel):
    """The kernel of five inputs and four outputs."""
    if x == "FLOAT32":
        args = [tensor(x, (2, 3)), _state((2, 5)), _w(x, (20, 8)), _b(20), _state((2, 5))]
        outs = [out(x)] * 4
    else:
        half = {"scale": 1 / 128, "zero": 128}
        args = [
            tensor(x, (2, 3), **half),
            tensor(x, (2, 5), variable=True, **half),
            tensor(x, (20, 8), const=True, scale=0.01, zero=120),
            tensor("INT32q", (20,), const=True, scale=0.01 / 128, zero=0),
            tensor("INT16q", (2, 5), variable=True, scale=1 / 2048, zero=0),
        ]
        outs = [
            out(x, **half),
            out("INT16q", scale=1 / 2048),
            out(x, **half),
            out("INT16q", scale=1 / 4096),
        ]
    return of(op, args, outs, kernel_type=kernel, fused_activation_function="TANH")


@row("BIDIRECTIONAL_SEQUENCE_LSTM", REALS, WEIGHTS)
def bidirectional_lstm(op, x, w):
    first = _lstm_inputs(tensor(x, (4, 2, 3)), w)
    second = _lstm_inputs(None, w)[1:]
    states = [_state((2, 5)) for _ in range(4)]
    args = [*first, *second, *states, *([None] * 9)]
    return of(op, args, [out(x), out(x)], fused_activation_function="TANH")


@row("UNIDIRECTIONAL_SEQUENCE_LSTM", ["INT8q"], ["INT8q"])
def lstm_int8(op, x, w):
    """As converters write it: int16 cell state, intermediates with the gates' scales."""

    def weight(shape):
        return tensor(w, shape, const=True, zero=0, scale=0.01)

    def bias():
        return tensor("INT32q", (5,), const=True, scale=0.01 / 128, zero=0)

    image = tensor(x, (2, 4, 3), scale=1 / 128, zero=0)
    args = [image, *(weight((5, 3)) for _ in range(4)), *(weight((5, 5)) for _ in range(4))]
    args += [None] * 3 + [bias() for _ in range(4)] + [None, None]
    args += [
        _state((2, 5), "INT8q", scale=1 / 128, zero=0),
        _state((2, 5), "INT16q", scale=2**-11, zero=0),
    ]
    args += [None] * 4
    middle = [ir.Value(f"i{i}", "INT16", (0,), quant=_quant(2**-12)) for i in range(4)]
    middle.append(ir.Value("i4", "INT8", (0,), quant=_quant(1 / 128)))
    return of(
        op,
        args,
        out(x, scale=1 / 128, zero=0),
        intermediates=middle,
        fused_activation_function="TANH",
    )


def _quant(scale, zero=0):
    return ir.Quantization(np.float32([scale]), np.int64([zero]))


def _model(graphs, feeds, op):
    with mock.patch("converter.writer.verify"):
        return OpModel(op, write_tflite(ir.Model(graphs)), feeds)


def _fed(graph: ir.Graph, name: str, arg: Arg) -> ir.Value:
    quant = None if arg.scale is None else _quant(arg.scale, arg.zero)
    return graph.add_input(name, arg.type, arg.value.shape, quant=quant)


def _branch(name: str, op: str, arg: Arg) -> ir.Graph:
    graph = ir.Graph(name)
    x = _fed(graph, f"{name}_x", arg)
    y = ir.Value(f"{name}_y", arg.type, arg.value.shape, quant=x.quant)
    more = {"new_shape": np.int32(arg.value.shape)} if op == "RESHAPE" else {}
    graph.add_node(op, [x], [y], more)
    graph.outputs = [y]
    return graph


@row("IF", ANY)
def if_(op, type_):
    arg, main = tensor(type_, (2, 3)), ir.Graph("main")
    condition = main.add_input("condition", "BOOL", ())
    x = _fed(main, "x", arg)
    y = ir.Value("y", arg.type, arg.value.shape, quant=x.quant)
    main.add_node(op, [condition, x], [y], {"then_subgraph_index": 1, "else_subgraph_index": 2})
    main.outputs = [y]
    graphs = [main, _branch("then", "RESHAPE", arg), _branch("else", "RESHAPE", arg)]
    return _model(graphs, [np.array(True), arg.value], op)


@row("WHILE", ANY)
def while_(op, type_):
    """Doubles a counter's steps three times and carries a tensor along."""
    arg, main = tensor(type_, (2, 3)), ir.Graph("main")
    count = main.add_input("count", "INT32", ())
    x = _fed(main, "x", arg)
    ends = [ir.Value("n", "INT32", ()), ir.Value("y", arg.type, arg.value.shape, quant=x.quant)]
    main.add_node(op, [count, x], ends, {"cond_subgraph_index": 1, "body_subgraph_index": 2})
    main.outputs = ends
    condition = ir.Graph("condition")
    n = condition.add_input("c_n", "INT32", ())
    _fed(condition, "c_x", arg)
    less = ir.Value("less", "BOOL", ())
    condition.add_node("LESS", [n, ir.Value.constant("three", np.int32(3))], [less])
    condition.outputs = [less]
    body = ir.Graph("body")
    n = body.add_input("b_n", "INT32", ())
    carried = _fed(body, "b_x", arg)
    more = ir.Value("more", "INT32", ())
    body.add_node("ADD", [n, ir.Value.constant("one", np.int32(1))], [more])
    body.outputs = [more, carried]
    return _model([main, condition, body], [np.int32(0), arg.value], op)


def _handle(graph, kind, **options):
    handle = ir.Value(f"handle_{kind}", "RESOURCE", ())
    graph.add_node(kind, [], [handle], options)
    return handle


@row("VAR_HANDLE ASSIGN_VARIABLE READ_VARIABLE", ANY)
def variable(op, type_):
    arg, main = tensor(type_, (2, 3)), ir.Graph("main")
    x = _fed(main, "x", arg)
    handle = _handle(main, "VAR_HANDLE", container="c", shared_name="v")
    main.add_node("ASSIGN_VARIABLE", [handle, x], [])
    y = ir.Value("y", arg.type, arg.value.shape, quant=x.quant)
    main.add_node("READ_VARIABLE", [handle], [y])
    main.outputs = [y]
    return _model([main], [arg.value], op)


@row("CALL_ONCE", ["FLOAT32", "INT32", "INT64"])
def call_once(op, type_):
    main, setup = ir.Graph("main"), ir.Graph("setup")
    main.add_node(op, [], [], {"init_subgraph_index": 1})
    handle = _handle(main, "VAR_HANDLE", container="c", shared_name="v")
    y = ir.Value("y", type_, (2, 3))
    main.add_node("READ_VARIABLE", [handle], [y])
    main.outputs = [y]
    inner = ir.Value("handle_setup", "RESOURCE", ())
    setup.add_node("VAR_HANDLE", [], [inner], {"container": "c", "shared_name": "v"})
    setup.add_node("ASSIGN_VARIABLE", [inner, ir.Value.constant("init", values(type_, (2, 3)))], [])
    return _model([main, setup], [], op)


@row(
    "HASHTABLE HASHTABLE_IMPORT HASHTABLE_FIND HASHTABLE_SIZE",
    ["STRING", "INT64"],
    ["STRING", "INT64"],
)
def hashtable(op, key, value):
    main, setup = ir.Graph("main"), ir.Graph("setup")
    keys = np.array([b"a", b"b", b"c"], object) if key == "STRING" else np.int64([5, 6, 7])
    held = np.array([b"x", b"y", b"z"], object) if value == "STRING" else np.int64([1, 2, 3])
    missing = np.array([b"?"], object) if value == "STRING" else np.int64([-1])
    options = {"table_id": 4, "key_dtype": key, "value_dtype": value}
    main.add_node("CALL_ONCE", [], [], {"init_subgraph_index": 1})
    asked = main.add_input("asked", key, (2,))
    table = _handle(main, "HASHTABLE", **options)
    found, size = ir.Value("found", value, (2,)), ir.Value("size", "INT64", (1,))
    default = ir.Value.constant("default", missing, dtype=value)
    main.add_node("HASHTABLE_FIND", [table, asked, default], [found])
    main.add_node("HASHTABLE_SIZE", [table], [size])
    main.outputs = [found, size]
    inner = ir.Value("handle_setup", "RESOURCE", ())
    setup.add_node("HASHTABLE", [], [inner], options)
    constants = [ir.Value.constant("k", keys, dtype=key), ir.Value.constant("v", held, dtype=value)]
    setup.add_node("HASHTABLE_IMPORT", [inner, *constants], [])
    feed = keys[:2].copy()
    return _model([main, setup], [feed], op)


_EMPTY_MAP = bytes([0, 0, 1, 0, 1, 0, 0, 4, 36, 1])  # a FlexBuffer


@row("STABLEHLO_COMPOSITE", ANY)
def composite(op, type_):
    arg, main = tensor(type_, (2, 3)), ir.Graph("main")
    x = _fed(main, "x", arg)
    y = ir.Value("y", arg.type, arg.value.shape, quant=x.quant)
    options = {"name": "my.identity", "decomposition_subgraph_index": 1, "version": 1}
    options["composite_attributes"] = np.frombuffer(_EMPTY_MAP, np.uint8)
    main.add_node(op, [x], [y], options)
    main.outputs = [y]
    return _model([main, _branch("inner", "RESHAPE", arg)], [arg.value], op)


def _body(op: str, type_: str) -> ir.Graph:
    """What a STABLEHLO_ operator does with two numbers."""
    graph = ir.Graph("body")
    a, b = (graph.add_input(name, type_, ()) for name in "ab")
    y = ir.Value("c", type_, ())
    graph.add_node(op, [a, b], [y])
    graph.outputs = [y]
    return graph


def _with_body(op, inputs, shape, body, **options):
    main = ir.Graph("main")
    values = [_fed(main, f"x{i}", arg) for i, arg in enumerate(inputs)]
    y = ir.Value("y", inputs[0].type, shape, quant=values[0].quant)
    main.add_node(op, values, [y], options)
    main.outputs = [y]
    return _model([main, _body(body, inputs[0].type)], [arg.value for arg in inputs], op)


_BODIES = ["ADD", "MULTIPLY", "MAXIMUM", "MINIMUM"]
_WHOLE = [type_ for type_ in ANY if type_ not in PACKED]


@row("STABLEHLO_SCATTER", _WHOLE, INDICES, _BODIES)
def scatter_body(op, type_, index, body):
    args = [tensor(type_, (4, 3)), given(index, [[2], [0], [2]]), tensor(type_, (3, 3))]
    named = {"update_window_dims": [1], "inserted_window_dims": [0]}
    named |= {"scatter_dims_to_operand_dims": [0]}
    options = {name: np.int64(dims) for name, dims in named.items()}
    options |= {"index_vector_dim": 1, "update_computation_subgraph_index": 1}
    return _with_body(op, args, (4, 3), f"STABLEHLO_{body}", **options)


@row("STABLEHLO_REDUCE_WINDOW", _WHOLE, _BODIES)
def reduce_window_body(op, type_, body):
    args = [tensor(type_, (4, 6), low=1), tensor(type_, (), low=1)]
    sizes = {"window_dimensions": [2, 3], "window_strides": [1, 2], "window_dilations": [1, 1]}
    sizes |= {"base_dilations": [1, 1], "padding": [0, 1, 0, 0]}
    options = {name: np.int64(size) for name, size in sizes.items()}
    return _with_body(op, args, (4, 2), f"STABLEHLO_{body}", body_subgraph_index=1, **options)


@row("STABLEHLO_CASE", _WHOLE)
def case(op, type_):
    arg, main = tensor(type_, (2, 3)), ir.Graph("main")
    index = main.add_input("index", "INT32", (1,))
    x = _fed(main, "x", arg)
    y = ir.Value("y", arg.type, arg.value.shape, quant=x.quant)
    main.add_node(op, [index, x], [y], {"branch_subgraph_indices": np.int32([1, 2, 3])})
    main.outputs = [y]
    graphs = [main, *(_branch(name, "RESHAPE", arg) for name in ("one", "two", "three"))]
    return _model(graphs, [np.int32([1]), arg.value], op)


@row("DENSIFY", ["FLOAT32", "INT8q", "FLOAT16"])
def densify(op, type_):
    graph = ir.Graph("main")
    dense = values(type_, (4, 4)) * np.eye(4).astype(bool)
    arg = tensor(type_, (4, 4), const=True)
    packed = ir.Value(
        "sparse",
        arg.type,
        (4, 4),
        data=np.diagonal(dense).copy(),
        quant=None if arg.scale is None else _quant(arg.scale, arg.zero),
    )
    packed.sparsity = diagonal_sparsity(4)
    whole = ir.Value("whole", arg.type, (4, 4), quant=packed.quant)
    graph.add_node(op, [packed], [whole])
    y = ir.Value("y", arg.type, (4, 4), quant=packed.quant)
    graph.add_node("MAXIMUM", [_fed(graph, "x", arg), whole], [y])
    graph.outputs = [y]
    return _model([graph], [arg.value], op)


def diagonal_sparsity(n: int) -> dict:
    """SparsityParameters (rows dense, columns compressed) of a diagonal matrix."""
    return {
        "traversal_order": np.int32([0, 1]),
        "dim_metadata": [
            {"format": "DENSE", "dense_size": n},
            {
                "format": "SPARSE_CSR",
                "array_segments": ("Int32Vector", {"values": np.arange(n + 1, dtype=np.int32)}),
                "array_indices": ("Int32Vector", {"values": np.arange(n, dtype=np.int32)}),
            },
        ],
    }


@row("FULLY_CONNECTED CONV_2D", ["FLOAT32", "INT8q"], ["sparse-weights"])
def sparse_weights(op, type_, _):
    graph, x = ir.Graph("main"), tensor(type_, (1, 4) if op == "FULLY_CONNECTED" else (1, 2, 2, 4))
    held = values(type_, (4,))
    how = None if x.scale is None else _quant(0.02)
    shape = (4, 4) if op == "FULLY_CONNECTED" else (4, 1, 1, 4)
    w = ir.Value("w", x.type, shape, data=held, quant=how)
    w.sparsity = diagonal_sparsity(4)
    if op == "CONV_2D":
        one = {"format": "DENSE", "dense_size": 1}
        first, last = w.sparsity["dim_metadata"]
        w.sparsity = {
            "traversal_order": np.int32([0, 1, 2, 3]),
            "dim_metadata": [first, one, one, last],
        }
    y = ir.Value(
        "y", x.type, x.value.shape, quant=None if x.scale is None else _quant(x.scale, x.zero)
    )
    options = {} if op == "FULLY_CONNECTED" else {"padding": "VALID", "stride_h": 1, "stride_w": 1}
    bias = ir.Value.constant("b", np.zeros(4, np.float32 if x.scale is None else np.int32))
    graph.add_node(op, [_fed(graph, "x", x), w, bias], [y], options)
    graph.outputs = [y]
    return _model([graph], [x.value], op)
