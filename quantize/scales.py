# SPDX-License-Identifier: Apache-2.0
"""Chooses scale and zero point of every activation from calibrated ranges and op constraints."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from converter.ir import Node, Quantization, Value
from quantize.affine import activation_params, weight_scales
from quantize.constraints import CONSTRAINTS, FUSED_RANGES

# Sums and products are requantized by input scale / output scale. LiteRT's default path refuses
# 256 or more (its addition aborts at 2**19), and steps that fine only show the inputs' rounding.
_LARGEST_RATIO = 2.0**7
# LiteRT's kernels hold the bound of a fused activation, such as 6 / scale, in 32 bits.
_BOUND_FLOOR = 2.0**-30


@dataclass
class Group:
    """Values that share one scale and zero point: `fixed`, or chosen to cover [low, high]."""

    low: float = np.inf
    high: float = -np.inf
    fixed: Quantization | None = None
    smallest_scale: float = 0.0

    def cover(self, low: float, high: float) -> None:
        self.low, self.high = min(self.low, low), max(self.high, high)

    def params(self) -> Quantization:
        if self.fixed is not None:
            return self.fixed
        chosen = activation_params(min(self.low, 0.0), max(self.high, 0.0))
        if chosen.scale[0] >= self.smallest_scale:
            return chosen
        assert chosen.min is not None and chosen.max is not None
        low, high = float(chosen.min[0]), float(chosen.max[0])
        wider = self.smallest_scale * 255 / (high - low)
        return activation_params(low * wider, high * wider)


@dataclass
class Scales:
    """The outcome: `groups` by value, inputs that must be requantized to their node's scale, and
    what to tell the user about a value."""

    groups: dict[Value, Group] = field(default_factory=dict)
    requantize: set[tuple[Node, int]] = field(default_factory=set)
    notes: dict[Value, str] = field(default_factory=dict)

    def of(self, value: Value) -> Quantization:
        """Parameters of an activation; a copy of its own."""
        return replace(self.groups[value].params(), min=None, max=None)


def activation_inputs(node: Node) -> list[int]:
    """Indices of `node`'s float inputs that are neither weights nor bias."""
    row = CONSTRAINTS[node.op]
    return [
        i
        for i, value in enumerate(node.inputs)
        if value is not None and value.dtype == "FLOAT32" and i not in (row.weights, row.bias)
    ]


def activations(node: Node) -> list[Value]:
    """`node`'s float inputs, weights and bias apart, and its float outputs."""
    found = [node.inputs[i] for i in activation_inputs(node)]
    return [v for v in [*found, *node.outputs] if v is not None and v.dtype == "FLOAT32"]


def choose_scales(nodes: list[Node], ranges: Mapping[Value, tuple[float, float]]) -> Scales:
    """Groups for every key of `ranges`, given the `nodes` (in order) that become int8.

    A group forced by `fixed` spreads only to ops that pass one activation on; where an op joins it
    with others (CONCATENATION of a sigmoid and something else), that input is requantized.
    """
    scales = Scales(groups={value: Group(*span) for value, span in ranges.items()})
    for node in nodes:
        for low, high in _fused_limits(node):
            for value in node.outputs:
                group = scales.groups[value]
                group.low, group.high = max(group.low, low), min(group.high, high)
    for node in nodes:
        row = CONSTRAINTS[node.op]
        if row.fixed is not None:
            for value in node.outputs:
                scales.groups[value].fixed = row.fixed_params()
        elif row.same_scale:
            _unite(node, scales)
    # Widening an output widens what it is grouped with, so repeat; each round only widens.
    for _ in range(len(nodes)):
        widened = [node for node in nodes if _widen_tiny_output(node, scales)]
        if not widened:
            break
    return scales


def _fused_limits(node: Node) -> list[tuple[float, float]]:
    """(low, high) that `node`'s op and fused activation leave of its output."""
    names = (node.op, node.options.get("fused_activation_function", "NONE"))
    return [FUSED_RANGES[name] for name in names if name in FUSED_RANGES]


def _unite(node: Node, scales: Scales) -> None:
    """Put the activations of a same-scale node into one group."""
    groups = scales.groups
    dynamic = [i for i in activation_inputs(node) if node.inputs[i] in groups]
    constant = [i for i in activation_inputs(node) if i not in dynamic]
    sources = [groups[_input(node, i)] for i in dynamic]
    fixed = [group.fixed for group in sources]
    if fixed and fixed[0] is not None and not constant and all(f == fixed[0] for f in fixed):
        joined = sources
    else:
        joined = [group for group in sources if group.fixed is None]
        scales.requantize.update((node, i) for i in dynamic if groups[_input(node, i)].fixed)
    target = Group(fixed=joined[0].fixed if joined else None)
    members = [*joined, *(groups[value] for value in node.outputs)]
    for group in members:
        target.cover(group.low, group.high)
    for i in constant:
        data = _input(node, i).data
        if data is not None and data.size:
            target.cover(float(data.min()), float(data.max()))
    for value, group in groups.items():
        if any(group is member for member in members):
            groups[value] = target


def _widen_tiny_output(node: Node, scales: Scales) -> bool:
    """Raise the scale of an output too fine for integer arithmetic on the inputs' scales."""
    floor = _output_floor(node, scales)
    changed = False
    for value in node.outputs:
        group = scales.groups.get(value)
        if group is None or group.fixed is not None or group.params().scale[0] >= floor:
            continue
        group.smallest_scale = max(floor * 1.0001, group.smallest_scale * 1.0001)
        scales.notes[value] = (
            f"{node.label}: the calibrated range [{group.low:.3g}, {group.high:.3g}] of "
            f"{value.name!r} is too narrow for integer arithmetic; widened to scale {floor:.3g}"
        )
        changed = True
    return changed


def _output_floor(node: Node, scales: Scales) -> float:
    """The smallest scale that the kernels take for `node`'s output; 0 where any will do."""
    row = CONSTRAINTS[node.op]
    bounds = [abs(bound) for limits in _fused_limits(node) for bound in limits]
    floor = max([bound for bound in bounds if bound < np.inf], default=0.0) * _BOUND_FLOOR
    if not (row.adds or row.multiplies or row.weights is not None):
        return floor
    steps = [float(input_params(node, i, scales).scale[0]) for i in activation_inputs(node)]
    if row.weights is not None:
        weights = _input(node, row.weights).data
        assert weights is not None
        steps.append(float(weight_scales(weights, None)[0]))
    factor = max(steps) if row.adds else float(np.prod(steps))
    return max(floor, factor / _LARGEST_RATIO)


def input_params(node: Node, index: int, scales: Scales) -> Quantization:
    """Parameters that input `index` of an int8 node must have."""
    value = _input(node, index)
    if CONSTRAINTS[node.op].same_scale:
        return scales.of(next(v for v in node.outputs if v in scales.groups))
    if value in scales.groups:
        return scales.of(value)
    assert value.data is not None
    return activation_params(float(value.data.min()), float(value.data.max()))


def _input(node: Node, index: int) -> Value:
    value = node.inputs[index]
    assert value is not None
    return value
