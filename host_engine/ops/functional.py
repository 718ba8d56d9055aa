# SPDX-License-Identifier: Apache-2.0
"""What tf.cond and tf.while_loop share: structures of tensors, functions and their gradients."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from host_engine.framework.bodies import Body, argument
from host_engine.framework.build import build, constant, convert_to_tensor
from host_engine.framework.graph import Graph
from host_engine.framework.tensor import Operation, Tensor
from host_engine.graphdef.messages import NameAttrList

# -- structures of tensors ----------------------------------------------------------------------


def flat(value: Any) -> list[Any]:
    if isinstance(value, Mapping):
        return [leaf for key in sorted(value) for leaf in flat(value[key])]
    if isinstance(value, (list, tuple)):
        return [leaf for part in value for leaf in flat(part)]
    return [value]


def shaped_like(structure: Any, leaves: list[Any]) -> Any:
    """The structure with `leaves`, which are taken from the front."""
    if isinstance(structure, Mapping):
        found = {key: shaped_like(structure[key], leaves) for key in sorted(structure)}
        kind: Any = type(structure)
        return kind((key, found[key]) for key in structure)
    if isinstance(structure, (list, tuple)):
        parts = [shaped_like(part, leaves) for part in structure]
        return type(structure)(*parts) if hasattr(structure, "_fields") else type(structure)(parts)
    return leaves.pop(0)


def kind_of(structure: Any) -> Any:
    """What two structures must have in common."""
    if isinstance(structure, Mapping):
        return type(structure), {key: kind_of(structure[key]) for key in structure}
    if isinstance(structure, (list, tuple)):
        return type(structure), [kind_of(part) for part in structure]
    return None


# -- functions ----------------------------------------------------------------------------------


def listed(graph: Graph, what: str, body: Graph, given: Sequence[Any], found: Sequence[Any]) -> Any:
    """The attribute that names a new function of the graph's library."""
    library = graph._bodies
    name = f"{what}_{len(library)}"
    library[name] = (body, list(given), list(found))
    return NameAttrList(name=name)


def result_in(body: Body, value: Any) -> Tensor:
    """A leaf of what a function returned, as a tensor of its body."""
    if isinstance(value, Operation):
        with body.control_dependencies([value]):
            return build("Identity", [constant(True)])
    return body.captured(convert_to_tensor(value))


def named_output(tensor: Tensor) -> Tensor:
    made = build("Identity", [tensor])
    made.set_shape(tensor.shape)
    return made


# -- gradients ------------------------------------------------------------------------------------


def differentiable(tensor: Tensor) -> bool:
    return tensor.dtype.is_floating or tensor.dtype.is_complex


def gradient_of(
    graph: Graph, name: str, what: str
) -> tuple[Any, list[Tensor], list[Tensor], list[int]]:
    """(name of a function of the arguments of `name` and of gradients of its results, which gives
    those of its arguments; its results; the arguments that have any, and their numbers).
    """
    from host_engine.gradients import gradients

    body, given, results = graph.function(name)
    drawn = next((op for op in body.get_operations() if op.type.startswith("Random")), None)
    if drawn is not None:
        raise LookupError(
            f"No gradient defined for the random operation '{drawn.name}' in a loop or branch: draw"
            " outside of it"
        )
    ys = [r for r in results if differentiable(r)]
    xs = [a for a in given if differentiable(a)]
    with body.as_default():
        seeds = [argument(body, "grad", y.dtype, y.shape) for y in ys]
        found = gradients(ys, xs, seeds) if ys else [None] * len(xs)
        own = [build("ZerosLike", [x]) if g is None else g for x, g in zip(xs, found, strict=True)]
    made = listed(graph, what, body, [*given, *seeds], own)
    return made, own, xs, [i for i, a in enumerate(given) if differentiable(a)]


def gradients_of_results(op: Operation, dys: Sequence[Any], count: int) -> list[Tensor]:
    """Gradients of the outputs that have any; zeros where none arrived."""
    return [
        build("ZerosLike", [y]) if dy is None else dy
        for y, dy in zip(op.outputs[:count], dys[:count], strict=True)
        if differentiable(y)
    ]
