# SPDX-License-Identifier: Apache-2.0
"""Op records by family, with the Python functions that build them beside each record.

Importing this package registers every record and installs the operators of Tensor.
"""

# ruff: noqa: F401
from host_engine.ops import (
    array,
    binary,
    branches,
    clip,
    control,
    conv,
    dropout,
    equations,
    flow,
    gather,
    inference,
    joining,
    later,
    linalg,
    lists,
    loops,
    loss,
    math,
    moving,
    nn,
    norm,
    numbers,
    pool,
    random,
    reduce,
    select,
    slicing,
    source,
    state,
    training,
)
