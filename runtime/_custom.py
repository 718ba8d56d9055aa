# SPDX-License-Identifier: Apache-2.0
"""Custom operators written in Python, as the C library calls them."""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from . import _binding as c
from . import _strings
from .errors import RilletError

OK, BAD_VALUE = c.STATUSES.index("OK"), c.STATUSES.index("BAD_VALUE")
# Called with the inputs as arrays, None for one left out, and the keyword `options`: bytes.
Function = Callable[..., Any]


class CustomOps:
    """A table of operators for rlt_open; it lives as long as the model.

    Args:
      functions: custom_code -> fn, or (fn, shapes). ``fn(*inputs, options=bytes)`` returns an array
        or a tuple of them, of the outputs' dtypes and shapes. Those shapes are what
        ``shapes(*input_shapes, options=bytes)`` returns, a list of one per output, or without it
        the ones declared in the file.
      dtypes: TensorType -> NumPy's type.

    Inputs are views that hold only during the call, strings arrays of bytes objects. Outputs cannot
    be strings.
    """

    def __init__(self, functions: Mapping[str, Any], dtypes: Mapping[int, Any]) -> None:
        self._dtypes, self._raised = dtypes, threading.local()
        self.table = (c.CustomOp * max(1, len(functions)))()
        self.count = len(functions)
        for row, (name, given) in zip(self.table, functions.items()):
            function, shapes = given if isinstance(given, tuple) else (given, None)
            if not callable(function):
                raise RilletError(f"custom_ops[{name!r}] is not callable, nor (function, shapes)")
            row.name = name.encode()
            row.prepare = c.CustomCallback(self._guarded(self._prepare, shapes))
            row.run = c.CustomCallback(self._guarded(self._run, function))

    def take_raised(self) -> BaseException | None:
        """What a function raised in the last call from this thread."""
        raised = getattr(self._raised, "error", None)
        self._raised.error = None
        return raised

    def _guarded(self, work: Callable[..., int], function: Function | None) -> Callable[..., int]:
        """An exception cannot pass through C: it is kept, and a status goes instead."""

        def callback(_context: Any, call: Any) -> int:
            try:
                return work(call.contents, function)
            except BaseException as error:
                self._raised.error = error
                call.contents.error = f"{type(error).__name__}: {error}".encode()[:199]
                return BAD_VALUE

        return callback

    def _prepare(self, call: c.CustomCall, shapes: Function | None) -> int:
        if any(call.outputs[i].type == _strings.TYPE for i in range(call.n_outputs)):
            raise TypeError("an operator in Python cannot give strings; nothing would keep them")
        if shapes is None:
            return OK
        inputs = [call.inputs[i] for i in range(call.n_inputs)]
        known = [tuple(t.dims[: t.rank]) if t.type >= 0 else None for t in inputs]
        found = list(shapes(*known, options=_options(call)))
        if len(found) != call.n_outputs:
            raise ValueError(f"{len(found)} shapes for {call.n_outputs} outputs")
        for i, shape in enumerate(found):
            if len(shape) > c.MAX_RANK:
                raise ValueError(f"a shape of {len(shape)} dimensions; at most {c.MAX_RANK} can be")
            call.outputs[i].rank = len(shape)
            call.outputs[i].dims[: len(shape)] = [int(size) for size in shape]
        return OK

    def _run(self, call: c.CustomCall, function: Function) -> int:
        inputs = [self._array(call.inputs[i]) for i in range(call.n_inputs)]
        for array in inputs:
            if array is not None:
                array.flags.writeable = False
        found = function(*inputs, options=_options(call))
        results = found if isinstance(found, tuple) else (found,)
        if len(results) != call.n_outputs:
            raise ValueError(f"{len(results)} results for {call.n_outputs} outputs")
        for i, result in enumerate(results):
            target, array = self._array(call.outputs[i]), np.asarray(result)
            if (array.dtype, array.shape) != (target.dtype, target.shape):
                raise ValueError(
                    f"output {i} is {array.dtype}{list(array.shape)},"
                    f" the model wants {target.dtype}{list(target.shape)}"
                )
            target[...] = array
        return OK

    def _array(self, tensor: c.CustomTensor) -> Any:
        if tensor.type < 0:
            return None
        if tensor.type == _strings.TYPE:
            shape = tuple(tensor.dims[: tensor.rank])
            if not tensor.bytes:
                return np.empty(shape, object)
            elements = (ctypes.c_uint64 * (tensor.bytes // 8)).from_address(tensor.data)
            return _strings.read(np.frombuffer(elements, np.uint64).reshape(*shape, 2))
        dtype, shape = np.dtype(self._dtypes[tensor.type]), tuple(tensor.dims[: tensor.rank])
        if not tensor.bytes:
            return np.zeros(shape, dtype)
        memory = (ctypes.c_uint8 * tensor.bytes).from_address(tensor.data)
        return np.frombuffer(memory, dtype).reshape(shape)


def _options(call: c.CustomCall) -> bytes:
    return ctypes.string_at(call.options, call.options_size) if call.options_size else b""
