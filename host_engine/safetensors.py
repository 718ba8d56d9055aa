# SPDX-License-Identifier: Apache-2.0
"""Variables in the safetensors format: an 8-byte length, a JSON header, the tensors' bytes."""

from __future__ import annotations

import json
import os
import struct
from typing import Any

import numpy as np

from host_engine.bundle import Replacing
from host_engine.errors import DataLossError, NotFoundError
from host_engine.saver import named_variables
from host_engine.variables import global_variables

_CODES = {
    "float16": "F16",
    "float32": "F32",
    "float64": "F64",
    "int8": "I8",
    "int16": "I16",
    "int32": "I32",
    "int64": "I64",
    "uint8": "U8",
    "uint16": "U16",
    "uint32": "U32",
    "uint64": "U64",
    "bool": "BOOL",
}
_NAMES = {code: name for name, code in _CODES.items()}


def save_safetensors(sess: Any, path: str | os.PathLike[str], var_list: Any = None) -> None:
    """Writes variables (default: all global ones) to one file, complete or not at all."""
    variables = named_variables(global_variables() if var_list is None else var_list)
    values = sess.run(list(variables.values()))
    header: dict[str, Any] = {}
    offset = 0
    for name, value in zip(variables, values, strict=True):
        array = np.asarray(value)
        header[name] = {
            "dtype": _CODES[array.dtype.name],
            "shape": list(array.shape),
            "data_offsets": [offset, offset + array.nbytes],
        }
        offset += array.nbytes
    text = json.dumps(header, separators=(",", ":")).encode()
    # Padded so that the tensors begin at a multiple of 8.
    text += b" " * (-len(text) % 8)
    with Replacing(os.fspath(path)) as out:
        out.write(struct.pack("<Q", len(text)) + text)
        for value in values:
            array = np.asarray(value)
            out.write(np.ascontiguousarray(array, array.dtype.newbyteorder("<")).tobytes())


def read_safetensors(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """All tensors of a file by name; DataLossError if it is damaged."""
    with open(path, "rb") as file:
        data = file.read()
    try:
        (length,) = struct.unpack("<Q", data[:8])
        header = json.loads(data[8 : 8 + length])
        body = data[8 + length :]
        found = {}
        for name, entry in header.items():
            if name == "__metadata__":
                continue
            begin, end = entry["data_offsets"]
            little = np.dtype(_NAMES[entry["dtype"]]).newbyteorder("<")
            array = np.frombuffer(body[begin:end], little).reshape(entry["shape"])
            found[name] = array.astype(little.newbyteorder("="))
        return found
    except (struct.error, ValueError, KeyError, TypeError) as error:
        raise DataLossError(
            None, None, f"{os.fspath(path)} is not a whole safetensors file: {error}"
        ) from None


def load_safetensors(sess: Any, path: str | os.PathLike[str], var_list: Any = None) -> None:
    """Sets variables (default: all global ones) from a file; NotFoundError if one is missing."""
    variables = named_variables(global_variables() if var_list is None else var_list)
    values = read_safetensors(path)
    for name in variables:
        if name not in values:
            raise NotFoundError(None, None, f"Key {name} not found in {os.fspath(path)}")
    for name, variable in variables.items():
        variable.load(values[name], sess)
