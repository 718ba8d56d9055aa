# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: F401
"""TensorFlow 1's graph and session engine on NumPy: `import host_engine as tf`.

A program builds a graph of operations (placeholders, variables, layers, a loss), differentiates it
by adding operations, and runs parts of it in a Session.
"""

from typing import Any as _Any

import numpy as _np

if int(_np.__version__.partition(".")[0]) < 2:
    # Before NumPy 2 a float32 scalar times a Python float was a float64.
    raise ImportError(f"host_engine needs NumPy 2 or newer, found {_np.__version__}")

from host_engine import errors, graph_util, nn, train
from host_engine.framework.build import constant, convert_to_tensor, name_scope
from host_engine.framework.dtypes import (
    DType,
    as_dtype,
    complex64,
    complex128,
    double,
    float16,
    float32,
    float64,
    half,
    int8,
    int16,
    int32,
    int64,
    string,
    uint8,
    uint16,
    uint32,
    uint64,
)
from host_engine.framework.dtypes import bool_ as bool
from host_engine.framework.graph import Graph, GraphKeys, get_default_graph, reset_default_graph
from host_engine.framework.shape import Dimension, TensorShape
from host_engine.framework.tensor import Operation, Tensor
from host_engine.gradients import gradients
from host_engine.graphdef.importing import import_graph_def
from host_engine.graphdef.messages import AttrValue, GraphDef, NodeDef
from host_engine.initializers import Constant as constant_initializer
from host_engine.initializers import GlorotNormal as glorot_normal_initializer
from host_engine.initializers import GlorotUniform as glorot_uniform_initializer
from host_engine.initializers import Ones as ones_initializer
from host_engine.initializers import RandomNormal as random_normal_initializer
from host_engine.initializers import RandomUniform as random_uniform_initializer
from host_engine.initializers import TruncatedNormal as truncated_normal_initializer
from host_engine.initializers import VarianceScaling as variance_scaling_initializer
from host_engine.initializers import Zeros as zeros_initializer
from host_engine.ops.array import (
    expand_dims,
    rank,
    reshape,
    shape,
    size,
    squeeze,
    tile,
    transpose,
)
from host_engine.ops.binary import (
    add,
    atan2,
    div,
    divide,
    equal,
    floor_div,
    floordiv,
    floormod,
    greater,
    greater_equal,
    less,
    less_equal,
    logical_and,
    logical_not,
    logical_or,
    logical_xor,
    maximum,
    minimum,
    mod,
    mul,
    multiply,
    not_equal,
    pow,
    realdiv,
    squared_difference,
    sub,
    subtract,
    truediv,
    truncatediv,
)
from host_engine.ops.branches import cond
from host_engine.ops.broadcast import broadcast_to
from host_engine.ops.clip import clip_by_global_norm, clip_by_norm, global_norm
from host_engine.ops.control import control_dependencies, group, no_op
from host_engine.ops.control import tuple_ as tuple
from host_engine.ops.gather import gather, unsorted_segment_sum
from host_engine.ops.joining import concat, pack, split, stack, unpack, unstack
from host_engine.ops.linalg import batch_matmul, matmul
from host_engine.ops.loops import while_loop
from host_engine.ops.math import (
    abs,
    ceil,
    cos,
    exp,
    expm1,
    floor,
    inv,
    is_finite,
    is_inf,
    is_nan,
    log,
    log1p,
    neg,
    negative,
    reciprocal,
    round,
    rsqrt,
    sigmoid,
    sign,
    sin,
    sqrt,
    square,
    tan,
    tanh,
)
from host_engine.ops.random import (
    random_normal,
    random_uniform,
    set_random_seed,
    truncated_normal,
)
from host_engine.ops.reduce import (
    argmax,
    argmin,
    cumprod,
    cumsum,
    reduce_all,
    reduce_any,
    reduce_logsumexp,
    reduce_max,
    reduce_mean,
    reduce_min,
    reduce_prod,
    reduce_sum,
)
from host_engine.ops.select import (
    add_n,
    cast,
    clip_by_value,
    select,
    to_double,
    to_float,
    to_int32,
    to_int64,
    where,
)
from host_engine.ops.slicing import pad, strided_slice
from host_engine.ops.slicing import slice_ as slice
from host_engine.ops.source import (
    fill,
    identity,
    lin_space,
    linspace,
    one_hot,
    ones,
    ones_like,
    placeholder,
    placeholder_with_default,
    range,
    stop_gradient,
    zeros,
    zeros_like,
)
from host_engine.ops.state import assign, assign_add, assign_sub, is_variable_initialized
from host_engine.session import InteractiveSession, Session, get_default_session
from host_engine.variable_scope import (
    AUTO_REUSE,
    VariableScope,
    get_variable,
    get_variable_scope,
    variable_scope,
)
from host_engine.variables import (
    Variable,
    global_variables,
    global_variables_initializer,
    local_variables,
    local_variables_initializer,
    model_variables,
    moving_average_variables,
    report_uninitialized_variables,
    trainable_variables,
    variables_initializer,
)

# Names of TensorFlow 0.x.
arg_max, arg_min = argmax, argmin
complex_abs = abs
all_variables = global_variables
initialize_all_variables = global_variables_initializer
initialize_local_variables = local_variables_initializer
initialize_variables = variables_initializer

newaxis = None
OpError = errors.OpError
op_scope = name_scope

__version__ = "1.15.5"
"""The TensorFlow version whose programming interface this package follows."""


def device(device_name_or_function: _Any) -> _Any:
    """Context manager: records a device on the operations created inside."""
    return get_default_graph().device(device_name_or_function)


def get_collection(key: str, scope: str | None = None) -> list[_Any]:
    """The items of a collection of the default graph; see Graph.get_collection."""
    return get_default_graph().get_collection(key, scope)


def get_collection_ref(key: str) -> list[_Any]:
    return get_default_graph().get_collection_ref(key)


def add_to_collection(name: str, value: _Any) -> None:
    """Adds to a collection of the default graph."""
    get_default_graph().add_to_collection(name, value)
