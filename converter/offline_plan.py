# SPDX-License-Identifier: Apache-2.0
"""The memory plan that travels in a file, for runtimes that obey one (TFLite Micro).

The format is TFLite Micro's (docs/memory_management.md there): int32 format version, number of
subgraphs, number of tensors, then per tensor its first byte in the arena or -1 for "choose at run
time". It holds tensors only: scratch memory is each runtime's own.
"""

from __future__ import annotations

import numpy as np

OFFLINE_PLAN = "OfflineMemoryAllocation"
_VERSION = 1


def plan_of(data: bytes | bytearray) -> bytes | None:
    """Content of the metadata OFFLINE_PLAN for the ``.tflite`` file `data`.

    No tensor lies over another that is alive at the same node, a node's inputs and outputs
    included, because TFLite Micro's kernels do not expect that; its RESHAPE does, and moves nothing
    then. None where there is no plan: the
    runtime cannot run the model, the arena is beyond 2 GB, or the model has several subgraphs,
    which releases of TFLite Micro read in different ways.
    """
    import runtime

    try:
        model = runtime.Model(model_content=data)
        if model.subgraphs != 1:
            return None
        offsets = model.tensor_offsets()
    except runtime.RilletError:
        return None
    if not offsets or max(offsets) >= 1 << 31:
        return None
    return np.array([_VERSION, 1, len(offsets), *offsets], "<i4").tobytes()
