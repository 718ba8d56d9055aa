# SPDX-License-Identifier: Apache-2.0
"""PyTorch's types in TFLite's."""

from __future__ import annotations

import numpy as np
import torch

from converter.importers.no_form import NoForm

# The device computes in float32 where the source has another width; inputs and outputs keep theirs.
WIDENED = {torch.float16: "FLOAT32", torch.bfloat16: "FLOAT32", torch.float64: "FLOAT32"}
AT_BORDER = {torch.float16: "FLOAT16", torch.float64: "FLOAT64"}
_PLAIN = {
    torch.float32: "FLOAT32",
    torch.int8: "INT8",
    torch.int16: "INT16",
    torch.int32: "INT32",
    torch.int64: "INT64",
    torch.uint8: "UINT8",
    torch.bool: "BOOL",
    torch.complex64: "COMPLEX64",
}


def inner_type(dtype: torch.dtype) -> str:
    """TensorType that stands for `dtype` inside the model; NoForm where there is none."""
    found = _PLAIN.get(dtype) or WIDENED.get(dtype)
    if found is None:
        raise NoForm(f"has elements of {dtype}, which devices lack: cast them")
    return found


def border_type(dtype: torch.dtype) -> str:
    """TensorType of a graph input or output of this dtype."""
    return AT_BORDER.get(dtype) or inner_type(dtype)


def array_of(tensor: torch.Tensor) -> np.ndarray:
    """The numbers of a tensor, in the type that stands for its own."""
    if tensor.dtype in WIDENED:
        tensor = tensor.to(torch.float32)
    return np.asarray(tensor.detach().cpu().resolve_conj().resolve_neg().numpy(), order="C")
