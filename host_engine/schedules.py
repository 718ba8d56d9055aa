# SPDX-License-Identifier: Apache-2.0
"""Learning-rate schedules and the global step."""

from __future__ import annotations

from typing import Any

import numpy as np

from host_engine.framework.build import convert_to_tensor, name_scope
from host_engine.framework.dtypes import int64
from host_engine.framework.graph import Graph, GraphKeys, get_default_graph
from host_engine.framework.tensor import Tensor
from host_engine.initializers import Zeros
from host_engine.ops import binary, math
from host_engine.ops.select import cast
from host_engine.variable_scope import get_variable
from host_engine.variables import Variable


def exponential_decay(
    learning_rate: Any,
    global_step: Any,
    decay_steps: Any,
    decay_rate: Any,
    staircase: bool = False,
    name: str | None = None,
) -> Tensor:
    """learning_rate * decay_rate ^ (global_step / decay_steps), in whole steps if `staircase`."""
    if global_step is None:
        raise ValueError("global_step is required for exponential_decay.")
    with name_scope(name, "ExponentialDecay", [learning_rate, global_step]) as scope:
        rate = convert_to_tensor(learning_rate, name="learning_rate")
        steps = cast(decay_steps, rate.dtype)
        exponent = cast(global_step, rate.dtype) / steps
        if staircase:
            exponent = math.floor(exponent)
        factor = binary.pow(cast(decay_rate, rate.dtype), exponent)
        return binary.multiply(rate, factor, name=scope)


def create_global_step(graph: Graph | None = None) -> Variable:
    """The int64 variable `global_step`; ValueError if the graph has one."""
    graph = get_default_graph() if graph is None else graph
    if get_global_step(graph) is not None:
        raise ValueError('"global_step" already exists.')
    with graph.as_default(), graph.name_scope(None):
        return get_variable(
            "global_step",
            shape=[],
            dtype=int64,
            initializer=Zeros(),
            trainable=False,
            collections=[GraphKeys.GLOBAL_VARIABLES, GraphKeys.GLOBAL_STEP],
        )


def get_global_step(graph: Graph | None = None) -> Any:
    """The graph's global step, or None."""
    graph = get_default_graph() if graph is None else graph
    found = graph.get_collection(GraphKeys.GLOBAL_STEP)
    if found:
        return found[0]
    named = [
        v for v in graph.get_collection(GraphKeys.GLOBAL_VARIABLES) if v.name == "global_step:0"
    ]
    return named[0] if named else None


def get_or_create_global_step(graph: Graph | None = None) -> Variable:
    step = get_global_step(graph)
    return create_global_step(graph) if step is None else step


def global_step(sess: Any, global_step_tensor: Any) -> int:
    """The value of the global step in a session, as an int."""
    return int(np.asarray(sess.run(global_step_tensor)))
