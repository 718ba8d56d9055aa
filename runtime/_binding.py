# SPDX-License-Identifier: Apache-2.0
"""ctypes declarations of include/rillet.h and platform/platform.h: the library, its structs and its
statuses.
"""

from __future__ import annotations

import ctypes
import functools
import os
import sys
from ctypes import (
    POINTER,
    byref,
    c_bool,
    c_char,
    c_char_p,
    c_float,
    c_int32,
    c_int64,
    c_size_t,
    c_uint64,
    c_void_p,
)
from typing import Any

from .errors import RilletError

VERSION = "0.1.0"
MAX_RANK = 8
ALIGN = 64
STATUSES = (
    "OK", "BAD_MODEL", "UNSUPPORTED", "BAD_ARGUMENT", "NO_MEMORY", "BAD_STATE", "LIMIT",
    "CANCELLED", "BUSY", "BAD_VALUE", "LATER",
)  # fmt: skip
# RILLET_LIBRARY names another build of the same version, such as a sanitized one.
_HERE = os.path.dirname(os.path.abspath(__file__))
LIBRARY = os.environ.get("RILLET_LIBRARY") or os.path.join(_HERE, "_lib", "librillet.so")


class Error(ctypes.Structure):
    _fields_ = [
        ("status", c_int32),
        ("subgraph", c_int32),
        ("node", c_int32),
        ("tensor", c_int32),
        ("text", c_char * 320),
    ]


class Limits(ctypes.Structure):
    _fields_ = [
        ("max_tensor_bytes", c_uint64),
        ("max_arena_bytes", c_uint64),
        ("max_macs", c_uint64),
        ("max_iterations", c_uint64),
        ("max_region_bytes", c_uint64),
        ("max_bytes", c_uint64),
        ("max_depth", c_uint64),
    ]


Grow = ctypes.CFUNCTYPE(c_void_p, c_void_p, c_uint64)
Cancel = ctypes.CFUNCTYPE(c_bool, c_void_p)
Profile = ctypes.CFUNCTYPE(None, c_void_p, c_int32, c_int32, c_uint64)


class Options(ctypes.Structure):
    _fields_ = [
        ("threads", c_int32),
        ("subgraph", c_int32),
        ("parallel_for", c_void_p),
        ("pool", c_void_p),
        ("isa", c_char_p),
        ("preserve_all_tensors", c_bool),
        ("plan_only", c_bool),
        ("cancel", Cancel),
        ("cancel_ctx", c_void_p),
        ("cancel_period_ns", c_uint64),
        ("clock_ns", c_void_p),
        ("profile", Profile),
        ("profile_ctx", c_void_p),
        ("grow", Grow),
        ("grow_ctx", c_void_p),
        ("state_of", c_void_p),
    ]


class Sizes(ctypes.Structure):
    _fields_ = [
        (name, c_uint64)
        for name in ("model", "structure", "state", "prepared", "arena", "peak_live", "region")
    ]


NO_OFFSET = 2**64 - 1  # of a tensor that is not in the arena


class TensorInfo(ctypes.Structure):
    _fields_ = [
        ("name", c_char_p),
        ("type", c_int32),
        ("rank", c_int32),
        ("dims", c_int32 * MAX_RANK),
        ("signature", c_int32 * MAX_RANK),
        ("bytes", c_uint64),
        ("is_constant", c_bool),
        ("is_variable", c_bool),
        ("quantized", c_int32),
        ("quantized_axis", c_int32),
        ("offset", c_uint64),
        ("extent", c_int32),
    ]


class NodeInfo(ctypes.Structure):
    _fields_ = [
        ("op", c_char_p),
        ("version", c_int32),
        ("n_inputs", c_int32),
        ("n_outputs", c_int32),
        ("inputs", POINTER(c_int32)),
        ("outputs", POINTER(c_int32)),
        ("loop", c_char_p),
        ("macs", c_uint64),
        ("scratch", c_uint64),
        ("packed", c_uint64),
    ]


class CustomTensor(ctypes.Structure):
    _fields_ = [
        ("type", c_int32),
        ("rank", c_int32),
        ("dims", c_int32 * MAX_RANK),
        ("bytes", c_uint64),
        ("data", c_void_p),
    ]


class CustomCall(ctypes.Structure):
    _fields_ = [
        ("name", c_char_p),
        ("options", c_void_p),
        ("options_size", c_size_t),
        ("n_inputs", c_int32),
        ("n_outputs", c_int32),
        ("inputs", POINTER(CustomTensor)),
        ("outputs", POINTER(CustomTensor)),
        ("error", c_char * 200),
    ]


CustomCallback = ctypes.CFUNCTYPE(c_int32, c_void_p, POINTER(CustomCall))


class CustomOp(ctypes.Structure):
    _fields_ = [
        ("name", c_char_p),
        ("prepare", CustomCallback),
        ("run", CustomCallback),
        ("ctx", c_void_p),
    ]


_P = c_void_p
_I = c_int32
_E = POINTER(Error)
_FUNCTIONS: dict[str, tuple[Any, list[Any]]] = {
    "rlt_version": (c_char_p, []),
    "rlt_default_limits": (Limits, []),
    "rlt_best_isa": (c_char_p, []),
    "rlt_supported_op": (c_char_p, [_I]),
    "rlt_open_size": (_I, [_P, c_size_t, POINTER(c_size_t), _E]),
    "rlt_open": (
        _I,
        [_P, c_size_t, POINTER(Limits), POINTER(CustomOp), _I, _P, c_size_t, POINTER(_P), _E],
    ),
    "rlt_subgraph_count": (_I, [_P]),
    "rlt_tensor_count": (_I, [_P, _I]),
    "rlt_node_count": (_I, [_P, _I]),
    "rlt_input_count": (_I, [_P, _I]),
    "rlt_output_count": (_I, [_P, _I]),
    "rlt_input_tensor": (_I, [_P, _I, _I]),
    "rlt_output_tensor": (_I, [_P, _I, _I]),
    "rlt_tensor_quantization": (_I, [_P, _I, _I, POINTER(c_float), POINTER(c_int64), _I]),
    "rlt_signature_count": (_I, [_P]),
    "rlt_signature_key": (c_char_p, [_P, _I]),
    "rlt_signature_subgraph": (_I, [_P, _I]),
    "rlt_signature_tensor": (c_char_p, [_P, _I, c_bool, _I, POINTER(_I)]),
    "rlt_create_size": (c_size_t, [_P, POINTER(Options)]),
    "rlt_create": (_I, [_P, POINTER(Options), _P, c_size_t, POINTER(_P), _E]),
    "rlt_resize_input": (_I, [_P, _I, _I, POINTER(_I), _E]),
    "rlt_prepare": (_I, [_P, _E]),
    "rlt_get_sizes": (_I, [_P, POINTER(Sizes)]),
    "rlt_bind": (_I, [_P, _P, c_size_t, c_bool, _P, c_size_t, _E]),
    "rlt_get_tensor_info": (_I, [_P, _I, _I, POINTER(TensorInfo)]),
    "rlt_get_node_info": (_I, [_P, _I, _I, POINTER(NodeInfo)]),
    "rlt_tensor_data": (_P, [_P, _I, _I]),
    "rlt_invoke": (_I, [_P, _E]),
    "rlt_cancel": (None, [_P]),
    "rlt_reset_variables": (_I, [_P, _E]),
    "rlt_pool_create": (_P, [_I]),
    "rlt_pool_destroy": (None, [_P]),
}


@functools.cache
def library() -> ctypes.CDLL:
    """The compiled runtime. RilletError, with how to build it, where it is missing or of another
    version.
    """
    script = os.path.join(_HERE, "core", "build.py")
    remedy = (
        (
            f"Build it with `{os.path.basename(sys.executable)} {script}`, which needs"
            " `pip install ziglang==0.17.0` or a compiler named in RILLET_CC: RILLET_CC=gcc."
        )
        if os.path.exists(script)
        else "Install rillet or rillet-runtime again."
    )
    if not os.path.exists(LIBRARY):
        raise RilletError(f"the compiled runtime {LIBRARY} is missing. {remedy}", "BAD_STATE")
    try:
        lib = ctypes.CDLL(LIBRARY)
        for name, (result, arguments) in _FUNCTIONS.items():
            function = getattr(lib, name)
            function.restype, function.argtypes = result, arguments
    except (OSError, AttributeError) as error:
        raise RilletError(
            f"the compiled runtime {LIBRARY} cannot be used: {error}. {remedy}", "BAD_STATE"
        ) from error
    found = lib.rlt_version().decode()
    if found != VERSION:
        raise RilletError(
            f"{LIBRARY} has version {found}, this package {VERSION}. {remedy}", "BAD_STATE"
        )
    return lib


def call(name: str, *arguments: Any) -> None:
    """Calls a function whose last parameter is an rlt_error; raises RilletError with its words."""
    error = Error()
    status = getattr(library(), name)(*arguments, byref(error))
    if status:
        raise RilletError(_words(error), STATUSES[status])


def _words(error: Error) -> str:
    """What the library says, and for a limit how to raise it from Python."""
    text = error.text.decode("utf-8", "replace")
    names = [name for name, *_ in Limits._fields_ if f"rlt_limits.{name}" in text]
    if not names:
        return text
    asked = ", ".join(f'"{name}": ...' for name in names)
    return f"{text}; if you trust the model: Interpreter(..., limits={{{asked}}})"


def function_address(name: str) -> int:
    """Address of a function of the library, to be put into a struct."""
    return ctypes.cast(getattr(library(), name), c_void_p).value or 0
