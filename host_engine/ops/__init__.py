"""Op records by family, with the Python functions that build them beside each record.

Importing this package registers every record and installs the operators of Tensor.
"""

from host_engine.ops import (
    array,
    control,
    conv,
    linalg,
    loss,
    math,
    binary,
    nn,
    norm,
    pool,
    random,
    reduce,
    select,
    slicing,
    state,
    training,
)

__all__ = [
    "array",
    "control",
    "conv",
    "linalg",
    "loss",
    "binary",
    "math",
    "nn",
    "norm",
    "pool",
    "random",
    "reduce",
    "select",
    "slicing",
    "state",
    "training",
]
