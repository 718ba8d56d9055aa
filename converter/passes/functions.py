# SPDX-License-Identifier: Apache-2.0
"""Functions that a network spells in parts and TFLite has as one operator.

Sources spell GELU and hard-swish in many ways: x * clip(x + 3, 0, 6) / 6, HardSigmoid(x) * x, with
erf, tanh or a polynomial. So what is compared is not how they are spelled but what they compute:
the parts that depend on one value alone are run on probes, and named if every probe agrees.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from converter import ir
from converter.errors import ConversionError
from converter.passes.rewriting import is_float, is_wired, same_shape
from converter.writer import write_tflite

_LOGGER = logging.getLogger("converter.passes")
_UNARY = "ABS ELU EXP LEAKY_RELU LOGISTIC NEG RELU RELU6 RELU_0_TO_1 RELU_N1_TO_1 SIGN SQUARE TANH"
_BINARY = "ADD DIV GREATER LESS LESS_EQUAL GREATER_EQUAL MAXIMUM MINIMUM MUL POW SELECT_V2 SUB"
_PARTS = frozenset((*_UNARY.split(), *_BINARY.split()))
_ROOTS = ("MUL", "DIV")
# None of the functions is spelled without one of these.
_TELLING = frozenset(["EXP", "MAXIMUM", "MINIMUM", "RELU6", "RELU_0_TO_1", "TANH"])
_TELLING_FUSED = ("RELU6",)
_MOST_PARTS = 48
_TRIES = 4
_TOLERANCE = 1e-5  # of 1 + |x|; the two kinds of GELU are up to 4.7e-4 apart


class Function(NamedTuple):
    """An operator, its options, and what it computes in float64."""

    op: str
    options: dict[str, Any]
    value: Callable[[np.ndarray], np.ndarray]


def _gelu(x: np.ndarray) -> np.ndarray:
    return np.array([0.5 * v * (1 + math.erf(v / math.sqrt(2))) for v in x])


def _gelu_by_tanh(x: np.ndarray) -> np.ndarray:
    return 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


FUNCTIONS = (
    Function("HARD_SWISH", {}, lambda x: x * np.clip(x + 3, 0, 6) / 6),
    Function("GELU", {"approximate": False}, _gelu),
    Function("GELU", {"approximate": True}, _gelu_by_tanh),
    Function("LOGISTIC", {}, lambda x: 1 / (1 + np.exp(-x))),
)
_PROBES = np.concatenate(
    [np.linspace(-8, 8, 641), [-80, -30, -12, 12, 30, 80], np.geomspace(1e-6, 1e-2, 9)]
).astype(np.float32)


def recognize_functions(graph: ir.Graph) -> bool:
    """Make one HARD_SWISH, GELU or LOGISTIC of the nodes that compute it together."""
    position = {node: i for i, node in enumerate(graph.nodes)}
    changed = False
    answers: dict[Any, Function | None] = {}
    for node in [n for n in graph.nodes if n.op in _ROOTS]:
        if not is_wired(node):
            continue
        found = _match(graph, node, position, answers)
        if found is None:
            continue
        function, x = found
        _LOGGER.info("recognize_functions: %s is %s", node.label, function.op)
        _become(node, function, x)
        changed = True
    return changed


def _become(node: ir.Node, function: Function, x: ir.Value) -> None:
    for i in range(len(node.inputs)):
        node.set_input(i, None)
    del node.inputs[1:]
    node.set_input(0, x)
    node.op, node.options, node.options_type = function.op, dict(function.options), None


def _match(
    graph: ir.Graph, root: ir.Node, position: dict[ir.Node, int], answers: dict[Any, Any]
) -> tuple[Function, ir.Value] | None:
    """The function that `root` computes, and the value it computes it of."""
    parts = [root]
    frontier = dict.fromkeys(_computed(root))
    tries = 0
    while frontier and len(parts) < _MOST_PARTS and tries < _TRIES:
        if len(frontier) == 1 and _is_telling(parts):
            (x,) = frontier
            tries += 1
            if is_float(x) and same_shape(x, root.outputs[0]) and _alone(graph, parts):
                function = _function_of(parts, x, answers)
                if function is not None:
                    return function, x
        last = max(frontier, key=lambda v: position.get(v.producer, -1) if v.producer else -1)
        if not _is_part(last.producer, root):
            return None
        assert last.producer is not None
        del frontier[last]
        parts.append(last.producer)
        frontier |= dict.fromkeys(_computed(last.producer))
    return None


def _computed(node: ir.Node) -> list[ir.Value]:
    return [v for v in node.inputs if v is not None and v.data is None]


def _is_part(node: ir.Node | None, root: ir.Node) -> bool:
    """Whether a node works on each element of one value, with numbers."""
    if node is None or node.op not in _PARTS or len(node.outputs) != 1:
        return False
    numbers = all(v.size == 1 for v in node.inputs if v is not None and v.data is not None)
    return numbers and node.outputs[0].shape == root.outputs[0].shape


def _is_telling(parts: list[ir.Node]) -> bool:
    if not _is_part(parts[0], parts[0]):
        return False
    return any(
        n.op in _TELLING or n.options.get("fused_activation_function") in _TELLING_FUSED
        for n in parts
    )


def _alone(graph: ir.Graph, parts: list[ir.Node]) -> bool:
    """Whether nobody else reads what lies between; all of it is plain numbers."""
    inside = set(parts)
    for node in parts:
        (out,) = node.outputs
        if out.dtype not in ("FLOAT32", "BOOL") or out.is_quantized:
            return False
        if node is not parts[0] and (graph.is_output(out) or not inside.issuperset(out.users)):
            return False
    return True


def _function_of(
    parts: list[ir.Node], x: ir.Value, answers: dict[Any, Function | None]
) -> Function | None:
    key = _key(parts, x)
    if key not in answers:
        computed = _run(parts, x)
        answers[key] = None if computed is None else _named(computed)
    return answers[key]


def _named(computed: np.ndarray) -> Function | None:
    x = _PROBES.astype(np.float64)
    for function in FUNCTIONS:
        if np.all(np.abs(computed - function.value(x)) <= _TOLERANCE * (1 + np.abs(x))):
            return function
    return None


def _key(parts: list[ir.Node], x: ir.Value) -> Any:
    """Equal for parts that are spelled alike."""
    places = {node.outputs[0]: i for i, node in enumerate(parts)}
    places[x] = -1

    def operand(value: ir.Value | None) -> Any:
        if value is None:
            return None
        return places[value] if value.data is None else value.data.tobytes()

    return tuple(
        (n.op, tuple(map(operand, n.inputs)), tuple((k, repr(v)) for k, v in n.options.items()))
        for n in parts
    )


def _run(parts: list[ir.Node], x: ir.Value) -> np.ndarray | None:
    """What the runtime computes of the probes; None where it refuses a part."""
    import runtime

    graph = ir.Graph("parts")
    twins = {x: graph.add_input("x", "FLOAT32", _PROBES.shape)}
    for node in reversed(parts):
        inputs = [_twin(v, twins) for v in node.inputs]
        out = ir.Value(f"part {len(twins)}", node.outputs[0].dtype, _PROBES.shape)
        twins[node.outputs[0]] = out
        graph.add_node(node.op, inputs, [out], node.options)
    graph.outputs = [out]
    try:
        interpreter = runtime.Interpreter(model_content=write_tflite(ir.Model([graph])))
        interpreter.allocate_tensors()
        interpreter.set_tensor(interpreter.get_input_details()[0]["index"], _PROBES)
        interpreter.invoke()
    except (runtime.RilletError, ConversionError):
        return None
    return np.array(interpreter.get_tensor(interpreter.get_output_details()[0]["index"]))


def _twin(value: ir.Value | None, twins: dict[ir.Value, ir.Value]) -> ir.Value | None:
    if value is None or value.data is None:
        return None if value is None else twins[value]
    return ir.Value.constant(value.name, value.data.reshape(()), dtype=value.dtype)
