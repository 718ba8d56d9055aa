# SPDX-License-Identifier: Apache-2.0
"""Checks that a model is one: edges agree, order is topological, types, counts and scales fit."""

from __future__ import annotations

from collections import Counter

import numpy as np

from converter import ir, schema
from converter.errors import ConversionError

_ONE_INPUT = """
    RELU RELU6 RELU_N1_TO_1 RELU_0_TO_1 LOGISTIC TANH SOFTMAX LOG_SOFTMAX HARD_SWISH ELU LEAKY_RELU
    GELU NEG ABS SQUARE SQRT RSQRT EXP LOG SIN COS FLOOR CEIL ROUND CAST SQUEEZE QUANTIZE DEQUANTIZE
    SHAPE RANK LOGICAL_NOT ZEROS_LIKE SPACE_TO_DEPTH DEPTH_TO_SPACE L2_NORMALIZATION
    AVERAGE_POOL_2D MAX_POOL_2D L2_POOL_2D
"""
_TWO_INPUTS = """
    ADD SUB MUL DIV POW MAXIMUM MINIMUM SQUARED_DIFFERENCE FLOOR_DIV FLOOR_MOD EQUAL NOT_EQUAL LESS
    LESS_EQUAL GREATER GREATER_EQUAL LOGICAL_AND LOGICAL_OR PRELU BATCH_MATMUL TRANSPOSE PAD
    EXPAND_DIMS TILE ARG_MAX ARG_MIN GATHER GATHER_ND MEAN SUM REDUCE_MAX REDUCE_MIN REDUCE_PROD
    REDUCE_ANY REDUCE_ALL RESIZE_BILINEAR RESIZE_NEAREST_NEIGHBOR MIRROR_PAD BROADCAST_TO
"""
# Op -> (fewest inputs, most inputs, outputs); None is no limit. Ops not listed are not counted.
ARITY: dict[str, tuple[int, int | None, int]] = {
    **dict.fromkeys(_ONE_INPUT.split(), (1, 1, 1)),
    **dict.fromkeys(_TWO_INPUTS.split(), (2, 2, 1)),
    **dict.fromkeys(("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED"), (2, 3, 1)),
    **dict.fromkeys(("PADV2", "SLICE", "SELECT", "SELECT_V2", "RANGE"), (3, 3, 1)),
    **dict.fromkeys(("CONCATENATION", "PACK", "ADD_N"), (1, None, 1)),
    "RESHAPE": (1, 2, 1),
    "STRIDED_SLICE": (4, 4, 1),
    "TRANSPOSE_CONV": (3, 4, 1),
}

_INTEGER_RANGES = {
    "INT4": (-8, 7),
    "INT8": (-128, 127),
    "UINT8": (0, 255),
    "INT16": (-(2**15), 2**15 - 1),
}


def verify(model: ir.Model) -> None:
    """Raise ConversionError, naming the graph and node or tensor, at the first thing wrong."""
    if not model.graphs:
        raise ConversionError("the model has no graph; add one before writing it")
    owners: dict[int, ir.Graph] = {}
    for graph in model.graphs:
        for value in graph.values():
            if owners.setdefault(id(value), graph) is not graph:
                raise ConversionError(f"{value!r} belongs to two graphs; copy it into one of them")
        verify_graph(graph)
        for node in graph.nodes:
            _check_calls(model, graph, node)
    _check_call_cycles(model)
    _check_signatures(model)


def verify_graph(graph: ir.Graph) -> None:
    """Raise ConversionError at the first thing wrong in one graph; calls are not looked at."""
    known = {id(value) for value in graph.inputs}
    if len(known) != len(graph.inputs):
        raise _error(graph, "the same value is listed twice as an input")
    uses: dict[int, Counter[int]] = {}  # value -> node -> how often it reads the value
    for node in graph.nodes:
        _check_node(graph, node)
        for value in node.inputs:
            if value is None:
                continue
            uses.setdefault(id(value), Counter())[id(node)] += 1
            if id(value) in known or value.is_variable:
                continue  # a variable may be read before it is written, as the run before left it
            if value.producer is not None:
                raise _error(
                    graph,
                    f"{node.label} reads {value.name!r} before {value.producer.label} makes it; "
                    "put the nodes in topological order",
                )
            if not _stands_alone(value):
                raise _error(graph, f"{node.label} reads {value.name!r}, which nothing produces")
        for value in node.outputs:
            if id(value) in known or value.is_constant or value.producer is not node:
                raise _error(graph, f"{node.label} is not the one producer of {value.name!r}")
            if value in node.inputs:
                raise _error(graph, f"{node.label} reads {value.name!r}, which it writes")
            known.add(id(value))
    for value in graph.outputs:
        if id(value) not in known and not _stands_alone(value):
            raise _error(graph, f"nothing produces the output {value.name!r}")
    for value in graph.values():
        if Counter(map(id, value.users)) != uses.get(id(value), Counter()):
            raise _error(
                graph,
                f"the users of {value.name!r} do not match the nodes that read it; change inputs "
                "through Node.set_input only",
            )
        _check_value(graph, value)


def _error(graph: ir.Graph, message: str) -> ConversionError:
    return ConversionError(f"graph {graph.name!r}: {message}")


def _stands_alone(value: ir.Value) -> bool:
    return value.is_constant or value.is_variable


def _check_node(graph: ir.Graph, node: ir.Node) -> None:
    if node.op not in schema.ENUMS["BuiltinOperator"].values:
        raise _error(graph, f"{node.label} is no builtin op; use op CUSTOM with a custom_code")
    if node.op == "CUSTOM" and not node.custom_code:
        raise _error(graph, f"{node.label} is a custom op without a custom_code")
    table = node.options_type or schema.options_of(node.op)
    names = () if table in (None, "NONE") else tuple(f.name for f in schema.fields(str(table)))
    for option in node.options:
        if option not in names:
            raise _error(graph, f"{node.label} has no option {option!r} (it has {list(names)})")
    if node.op in ARITY:
        fewest, most, outputs = ARITY[node.op]
        count = len(node.inputs)
        if count < fewest or (most is not None and count > most) or len(node.outputs) != outputs:
            raise _error(
                graph,
                f"{node.label} has {count} inputs and {len(node.outputs)} outputs; it takes "
                f"{fewest} to {most or 'any number'}, and gives {outputs}",
            )


def _check_value(graph: ir.Graph, value: ir.Value) -> None:
    if value.dtype not in schema.ENUMS["TensorType"].values:
        raise _error(graph, f"{value.name!r} has the unknown type {value.dtype!r}")
    signature = value.shape_signature
    if any(dim < 0 for dim in value.shape):
        raise _error(graph, f"{value!r}: dimensions must be >= 0; -1 belongs in shape_signature")
    if signature and len(signature) != len(value.shape):
        raise _error(graph, f"{value!r}: shape_signature {signature} has another rank")
    if value.data is not None and value.sparsity is None:
        wanted = ir.numpy_dtype(value.dtype)
        if value.data.shape != value.shape or value.data.dtype != wanted:
            raise _error(
                graph,
                f"{value!r} holds {value.data.dtype}{list(value.data.shape)} data instead of "
                f"{wanted}{list(value.shape)}",
            )
    if value.quant is not None and value.quant.scale.size:
        _check_quantization(graph, value, value.quant)


def _check_quantization(graph: ir.Graph, value: ir.Value, quant: ir.Quantization) -> None:
    count = quant.scale.size
    if not np.all(np.isfinite(quant.scale)) or np.any(quant.scale <= 0):
        raise _error(graph, f"{value!r} has a scale that is not a positive number")
    if quant.zero_point.size not in (0, count):
        raise _error(graph, f"{value!r} has {count} scales and {quant.zero_point.size} zero points")
    if count > 1:
        if not 0 <= quant.axis < len(value.shape):
            raise _error(graph, f"{value!r} is quantized along axis {quant.axis}, which it lacks")
        if value.shape[quant.axis] != count:
            raise _error(
                graph,
                f"{value!r} has {count} scales along axis {quant.axis}, where its size is "
                f"{value.shape[quant.axis]}",
            )
    low, high = _INTEGER_RANGES.get(value.dtype, (-(2**63), 2**63 - 1))
    if np.any(quant.zero_point < low) or np.any(quant.zero_point > high):
        raise _error(graph, f"{value!r} has a zero point outside {low} to {high}")


def called_graphs(node: ir.Node) -> list[int]:
    """Positions in model.graphs of the graphs that `node` calls."""
    found: list[int] = []
    for name, option in node.options.items():
        if name == "subgraph" or name.endswith("subgraph_index"):
            found.append(int(option))
        elif name in ("branch_subgraph_indices", "called_computations"):
            found.extend(int(i) for i in option)
    return found


def _check_calls(model: ir.Model, graph: ir.Graph, node: ir.Node) -> None:
    for index in called_graphs(node):
        if not 0 <= index < len(model.graphs):
            raise _error(
                graph, f"{node.label} calls graph {index}, and there are {len(model.graphs)}"
            )


def _check_call_cycles(model: ir.Model) -> None:
    calls = [{i for n in g.nodes for i in called_graphs(n)} for g in model.graphs]
    done: set[int] = set()
    while True:
        ready = [i for i in range(len(calls)) if i not in done and calls[i] <= done]
        if not ready:
            break
        done.update(ready)
    stuck = [graph.name for i, graph in enumerate(model.graphs) if i not in done]
    if stuck:
        raise ConversionError(f"graph {stuck[0]!r} calls itself, directly or through others")


def _check_signatures(model: ir.Model) -> None:
    keys = [signature.key for signature in model.signatures]
    for signature in model.signatures:
        if keys.count(signature.key) > 1:
            raise ConversionError(f"two signatures are called {signature.key!r}")
        if not 0 <= signature.graph < len(model.graphs):
            raise ConversionError(f"signature {signature.key!r} names no graph of the model")
        graph = model.graphs[signature.graph]
        ends = ((signature.inputs, graph.inputs), (signature.outputs, graph.outputs))
        for positions, values in ends:
            for name, position in positions.items():
                if not 0 <= position < len(values):
                    raise ConversionError(
                        f"signature {signature.key!r}: argument {name!r} is at position "
                        f"{position}, and graph {graph.name!r} has {len(values)}"
                    )
