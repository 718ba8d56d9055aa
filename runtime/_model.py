# SPDX-License-Identifier: Apache-2.0
"""A verified model: its bytes, used in place, and the structure that rlt_open built."""

from __future__ import annotations

import contextlib
import ctypes
import mmap
import os
import threading
import weakref
from collections.abc import Mapping
from typing import Any

import numpy as np

from . import _binding as c
from ._custom import CustomOps
from .errors import RilletError

# TensorType -> NumPy's type, or None where NumPy has none. Packed integers are shown as bytes.
DTYPES: dict[int, Any] = {
    0: np.float32, 1: np.float16, 2: np.int32, 3: np.uint8, 4: np.int64, 5: np.bytes_,
    6: np.bool_, 7: np.int16, 8: np.complex64, 9: np.int8, 10: np.float64, 11: np.complex128,
    12: np.uint64, 15: np.uint32, 16: np.uint16, 17: np.int8, 19: np.int8,
    20: np.uint8,
}  # fmt: skip


def aligned_block(size: int) -> np.ndarray:
    """uint8 array of `size` zeros whose first lies on a multiple of 64. RilletError, NO_MEMORY."""
    try:
        raw = np.zeros(size + c.ALIGN, np.uint8)
    except (MemoryError, ValueError) as error:  # ValueError: more than an address can say
        raise RilletError(f"this machine has no {size:,} bytes to give", "NO_MEMORY") from error
    start = -raw.ctypes.data % c.ALIGN
    return raw[start : start + size]


def map_file(path: str | os.PathLike[str]) -> mmap.mmap:
    """The file's bytes, mapped read-only. RilletError if it cannot be read or is empty."""
    try:
        with open(path, "rb") as file:
            return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except OSError as error:
        raise RilletError(
            f"cannot read the model {os.fspath(path)!r}: {error.strerror or error}"
        ) from error
    except ValueError as error:
        raise RilletError(f"the model file {os.fspath(path)!r} is empty", "BAD_MODEL") from error


def complete_limits(asked: Mapping[str, Any] | None) -> c.Limits:
    """rlt_limits from names and numbers, None for no limit; the others keep their defaults, and
    `max_bytes` is half of this machine's memory. RilletError for other names or numbers.
    """
    limits: c.Limits = c.library().rlt_default_limits()
    with contextlib.suppress(AttributeError, OSError, ValueError):
        memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        limits.max_bytes = min(limits.max_bytes, memory // 2) if memory > 0 else limits.max_bytes
    for name, value in (asked or {}).items():
        names = [known for known, *_ in c.Limits._fields_]
        if name not in names:
            raise RilletError(f"there is no limit {name!r}; the limits are: {', '.join(names)}")
        number = 2**64 - 1 if value is None else value
        if isinstance(number, bool) or not isinstance(number, int) or not 1 <= number < 2**64:
            raise RilletError(f"limit {name} should be an int >= 1, or None for none: {value!r}")
        setattr(limits, name, number)
    return limits


class Model:
    """A verified model, opened once for any number of interpreters.

    They share its bytes and structure, and those that run the same graph on the same input shapes
    share one block of packed weights. An interpreter serves one thread, a model all of them::

        model = runtime.Model("m.tflite")
        interpreters = [model.interpreter() for _ in range(threads)]

    Args:
      model_path: file to map into memory; it must not change while the model lives.
      model_content: the model's bytes instead of a path (copied if they could change).
      custom_ops: custom_code -> function; see `Interpreter`.
      limits: what the model may take; see `Interpreter`.

    Raises RilletError with status BAD_MODEL, UNSUPPORTED or LIMIT.
    """

    def __init__(
        self,
        model_path: str | os.PathLike[str] | None = None,
        model_content: Any = None,
        custom_ops: Mapping[str, Any] | None = None,
        limits: Mapping[str, Any] | None = None,
    ) -> None:
        allowed = complete_limits(limits)
        if (model_path is None) == (model_content is None):
            raise RilletError("give either model_path or model_content")
        self._map = None if model_path is None else map_file(model_path)
        origin = "model_content" if model_path is None else os.fspath(model_path)
        lib = c.library()
        self.bytes = np.frombuffer(model_content if self._map is None else self._map, np.uint8)
        if self.bytes.flags.writeable:  # what was verified must not change afterwards
            self.bytes = self.bytes.copy()
        address, size = self.bytes.ctypes.data, self.bytes.nbytes
        self.custom = CustomOps(custom_ops or {}, DTYPES)
        need = ctypes.c_size_t()
        self.pointer = ctypes.c_void_p()
        try:
            c.call("rlt_open_size", address, size, ctypes.byref(need))
            self.structure = aligned_block(need.value)
            block = self.structure.ctypes.data
            c.call(
                "rlt_open",
                *(address, size, ctypes.byref(allowed), self.custom.table, self.custom.count),
                *(block, need.value, ctypes.byref(self.pointer)),
            )
        except RilletError as error:
            raise RilletError(f"{origin}: {error}", error.status) from None
        self.subgraphs: int = lib.rlt_subgraph_count(self.pointer)
        # Prepared blocks that live, by all that their content depends on; `packing` guards them.
        self.prepared: weakref.WeakValueDictionary[Any, np.ndarray] = weakref.WeakValueDictionary()
        self.packing = threading.Lock()

    def interpreter(self, **options: Any) -> Any:
        """An `Interpreter` of this model; keywords are the Interpreter's, but for the model's."""
        from .interpreter import Interpreter

        return Interpreter(model=self, **options)

    def tensor_offsets(self) -> list[int]:
        """A memory plan to be exported: per tensor of the main graph its first byte in one arena,
        or -1 where it has no place there (constants, what comes from constants alone, variables).

        No two tensors that are alive at the same node overlap, a node's inputs and outputs
        included; graph inputs live to the end. RilletError where the model cannot be run here.
        """
        from ._session import Session

        session = Session(self, plan_only=True)
        session.plan()
        infos = [session.info(tensor) for tensor in range(self.tensor_count(0))]
        placed = [not info.is_variable and info.offset < 2**64 - 1 for info in infos]
        return [info.offset if place else -1 for info, place in zip(infos, placed)]

    def release_pages(self) -> None:
        """Gives the pages of a mapped file back: its weights are packed, and what is still read
        comes from the system's cache of files.
        """
        if self._map is not None and hasattr(mmap, "MADV_DONTNEED"):
            with contextlib.suppress(OSError):
                self._map.madvise(mmap.MADV_DONTNEED)

    def tensor_count(self, subgraph: int) -> int:
        return c.library().rlt_tensor_count(self.pointer, subgraph)

    def node_count(self, subgraph: int) -> int:
        return c.library().rlt_node_count(self.pointer, subgraph)

    def inputs(self, subgraph: int) -> list[int]:
        """Tensor indices of the subgraph's inputs."""
        lib = c.library()
        count = lib.rlt_input_count(self.pointer, subgraph)
        return [lib.rlt_input_tensor(self.pointer, subgraph, i) for i in range(count)]

    def outputs(self, subgraph: int) -> list[int]:
        """Tensor indices of the subgraph's outputs."""
        lib = c.library()
        count = lib.rlt_output_count(self.pointer, subgraph)
        return [lib.rlt_output_tensor(self.pointer, subgraph, i) for i in range(count)]

    def quantization(self, subgraph: int, tensor: int, count: int) -> tuple[np.ndarray, np.ndarray]:
        """The tensor's (scales float32[count], zero points int32[count])."""
        scales, zeros = np.zeros(count, np.float32), np.zeros(count, np.int64)
        c.library().rlt_tensor_quantization(
            self.pointer,
            subgraph,
            tensor,
            scales.ctypes.data_as(ctypes.POINTER(ctypes.c_float)),
            zeros.ctypes.data_as(ctypes.POINTER(ctypes.c_int64)),
            count,
        )
        return scales, zeros.astype(np.int32)

    def signatures(self) -> dict[str, dict[str, Any]]:
        """key -> {"subgraph": index, "inputs": {name: tensor}, "outputs": {name: tensor}}, in the
        file's order.
        """
        lib = c.library()
        found = {}
        for i in range(lib.rlt_signature_count(self.pointer)):
            key = lib.rlt_signature_key(self.pointer, i).decode("utf-8", "replace")
            found[key] = {
                "subgraph": lib.rlt_signature_subgraph(self.pointer, i),
                "inputs": self._signature_tensors(i, False),
                "outputs": self._signature_tensors(i, True),
            }
        return found

    def _signature_tensors(self, signature: int, outputs: bool) -> dict[str, int]:
        names: dict[str, int] = {}
        tensor = ctypes.c_int32()
        while True:
            name = c.library().rlt_signature_tensor(
                self.pointer, signature, outputs, len(names), ctypes.byref(tensor)
            )
            if name is None:
                return names
            # A repeated name would not make the dict longer, and this loop endless.
            text = name.decode("utf-8", "replace")
            names[text if text not in names else f"{text}#{len(names)}"] = tensor.value
