# SPDX-License-Identifier: Apache-2.0
"""One interpreter of the C library over one subgraph, made memory-safe: it owns the blocks, hands
out views that keep them alive, and lets one thread in at a time.
"""

from __future__ import annotations

import ctypes
import os
import signal
import weakref
from collections.abc import Sequence
from typing import Any, NoReturn

import numpy as np

from . import _binding as c
from . import _strings
from ._guards import ASK_EVERY_NS, Memory, OneAtATime, interrupted
from ._model import DTYPES, Model, aligned_block
from ._packed import PACKED, pack, unpack
from ._region import Region
from .errors import RilletError


class Session:
    """Life: Session -> resize* -> allocate -> set, invoke, get. Every error is a RilletError."""

    def __init__(
        self,
        model: Model,
        subgraph: int = 0,
        threads: int = 1,
        preserve: bool = False,
        profile: bool = False,
        plan_only: bool = False,
        state_of: Session | None = None,
        isa: str | None = None,
    ) -> None:
        lib = c.library()
        self.model, self.subgraph = model, subgraph
        self.node_ns = [np.zeros(model.node_count(i), np.uint64) for i in range(model.subgraphs)]
        self.invokes = 0
        self._it = ctypes.c_void_p()
        self._guard = OneAtATime()
        self._is_cancelled = False
        self._arrays: dict[int, np.ndarray] = {}  # over tensors' own memory, never handed out
        self._views: list[weakref.ref[Memory]] = []
        self._strings: dict[int, np.ndarray] = {}  # bytes of what was set
        self._former_strings: list[np.ndarray] = []  # those that the last run's outputs may show
        self._has_run = False
        self._arena = self._prepared = aligned_block(0)
        self._planned = self.allocated = False

        options = self._options = c.Options(
            threads=threads,
            subgraph=subgraph,
            preserve_all_tensors=preserve,
            plan_only=plan_only,
        )
        isa = isa or os.environ.get("RILLET_ISA")
        options.isa = isa.encode() if isa else None
        if threads > 1:
            options.pool = lib.rlt_pool_create(threads)
            if not options.pool:
                raise RilletError(f"no memory for a pool of {threads} threads", "NO_MEMORY")
            options.parallel_for = c.function_address("rlt_pool_parallel_for")
            weakref.finalize(self, lib.rlt_pool_destroy, options.pool)
        options.clock_ns = c.function_address("rlt_clock_ns")
        options.cancel, options.cancel_period_ns = interrupted(), ASK_EVERY_NS
        if profile:
            options.profile = self._profiler(self.node_ns)
        self._region = Region()
        options.grow = self._region.callback
        if state_of is not None:
            options.state_of = state_of._it
        self._state_of = state_of  # which owns memory that this session uses
        size = lib.rlt_create_size(model.pointer, ctypes.byref(options))
        self._state = aligned_block(size)
        c.call(
            "rlt_create",
            model.pointer,
            ctypes.byref(options),
            self._state.ctypes.data,
            size,
            ctypes.byref(self._it),
        )

    @staticmethod
    def _profiler(node_ns: list[np.ndarray]) -> Any:
        @c.Profile
        def add(_context: Any, subgraph: int, node: int, ns: int) -> None:
            node_ns[subgraph][node] += ns

        return add

    def _call(self, name: str) -> None:
        """A call in which custom operators run: what one of them raised is raised here."""
        self.model.custom.take_raised()
        try:
            c.call(name, self._it)
        except RilletError as error:
            raised = self.model.custom.take_raised()
            if raised is None:
                raise
            raise raised from error

    def _refuse_views(self, doing: str) -> None:
        self._views = [ref for ref in self._views if ref() is not None]
        if self._views:
            raise RilletError(
                f"cannot {doing}: there is at least 1 reference to internal data of the"
                " interpreter in the form of a numpy array or slice. Keep the function that"
                " tensor() returned, not the array it gives, or copy it.",
                "BAD_STATE",
            )

    # ---- shapes and memory ----

    def info(self, tensor: int, subgraph: int | None = None) -> c.TensorInfo:
        """Facts about one tensor, by default of the session's own subgraph; RilletError if there is
        no such tensor.
        """
        info = c.TensorInfo()
        index, graph = int(tensor), self.subgraph if subgraph is None else subgraph
        count = self.model.tensor_count(graph)
        if not 0 <= index < count or c.library().rlt_get_tensor_info(
            self._it, graph, index, ctypes.byref(info)
        ):
            raise RilletError(
                f"tensor index {tensor} is out of range: the subgraph has {count} tensors"
            )
        return info

    def _shape(self, tensor: int) -> list[int]:
        info = self.info(tensor)
        return list(info.dims[: info.rank])

    def resize(self, tensor: int, shape: Sequence[int]) -> None:
        """Asks for an input's new shape, which takes effect at `allocate`."""
        with self._guard:
            self._refuse_views("resize an input")
            dims = [int(size) for size in shape]
            is_input = tensor in self.model.inputs(self.subgraph)
            if self.allocated and is_input and dims == self._shape(tensor):
                return
            if any(not -(2**31) <= size < 2**31 for size in dims):
                raise RilletError(
                    f"cannot resize tensor {tensor} to {dims}: a dimension does not fit in 32 bits"
                )
            array = (ctypes.c_int32 * max(1, len(dims)))(*dims)
            c.call("rlt_resize_input", self._it, int(tensor), len(dims), array)
            self._planned = self.allocated = False
            self._arrays.clear()

    def allocate(self) -> None:
        """Infers shapes, plans memory, packs weights; inputs start at zero. Nothing to do after the
        first time but when an input was resized.
        """
        with self._guard:
            self._refuse_views("allocate tensors")
            if self.allocated:
                return
            self._prepare()
            sizes = self.sizes()
            if self._arena.nbytes == sizes.arena:
                self._arena[:] = 0
            else:
                self._arena = aligned_block(0)  # the old one goes before the new one comes
                self._arena = aligned_block(sizes.arena)
            self._has_run = False
            self._strings.clear()
            self._former_strings.clear()
            self._bind(sizes)
            self.allocated = True

    def plan(self) -> None:
        """Makes `sizes` exact without allocating anything."""
        if not self._planned:
            with self._guard:
                self._prepare()

    def _prepare(self) -> None:
        if not self._planned:
            self._call("rlt_prepare")
            self._planned = True

    def _bind(self, sizes: c.Sizes) -> None:
        """Takes the prepared block that another session of the model has packed, or packs one."""
        options, model = self._options, self.model
        shapes = [tuple(i.dims[: i.rank]) for i in map(self.info, model.inputs(self.subgraph))]
        key = (self.subgraph, options.isa, options.preserve_all_tensors, sizes.prepared, *shapes)
        arena = self._arena.ctypes.data
        with model.packing:
            prepared = model.prepared.get(key)
            is_packed = prepared is not None
            if prepared is None:
                self._prepared = aligned_block(0)
                prepared = aligned_block(sizes.prepared)
            block = prepared.ctypes.data
            c.call("rlt_bind", self._it, block, sizes.prepared, is_packed, arena, sizes.arena)
            self._prepared = model.prepared[key] = prepared
        if not is_packed:
            model.release_pages()

    def sizes(self) -> c.Sizes:
        """Bytes of every block; RilletError before the first `plan` or `allocate`."""
        sizes = c.Sizes()
        if c.library().rlt_get_sizes(self._it, ctypes.byref(sizes)):
            raise RilletError(
                "memory sizes are known after allocate_tensors(), which was not called", "BAD_STATE"
            )
        return sizes

    def node(self, index: int, subgraph: int | None = None) -> c.NodeInfo:
        """Facts about one node, by default of the session's own subgraph."""
        info, graph = c.NodeInfo(), self.subgraph if subgraph is None else subgraph
        if c.library().rlt_get_node_info(self._it, graph, index, ctypes.byref(info)):
            raise RilletError(f"node index {index} is out of range")
        return info

    # ---- values ----

    def _array(self, tensor: int) -> np.ndarray:
        """`_new_view`, kept until the next resize if it cannot move before. It must not leave the
        session.
        """
        if tensor in self._arrays and self.allocated:
            return self._arrays[tensor]
        array = self._new_view(tensor)
        if not self.info(tensor).extent:
            self._arrays[tensor] = array
        return array

    def _new_view(self, tensor: int) -> np.ndarray:
        """The tensor's values in place; packed 4-bit ones as a flat uint8 array of their bytes,
        strings as the pairs of `_strings`.
        """
        info = self.info(tensor)
        name = info.name.decode("utf-8", "replace")
        dtype, shape = DTYPES.get(info.type), tuple(info.dims[: info.rank])
        if info.type == _strings.TYPE:
            dtype, shape = np.uint64, (*shape, 2)
        if dtype is None:
            raise RilletError(
                f"tensor {tensor} {name!r} has a type that NumPy cannot show", "UNSUPPORTED"
            )
        address = (
            c.library().rlt_tensor_data(self._it, self.subgraph, int(tensor))
            if self.allocated
            else None
        )
        if not address:
            why = (
                "no value of it is kept; see experimental_preserve_all_tensors"
                if self.allocated
                else "call allocate_tensors() first"
            )
            raise RilletError(f"tensor {tensor} {name!r} is unallocated: {why}", "BAD_STATE")
        packed = info.type in PACKED
        memory = Memory(
            {
                "version": 3,
                "shape": (info.bytes,) if packed else shape,
                "typestr": np.dtype(np.uint8 if packed else dtype).str,
                "data": (address, bool(info.is_constant)),
            },
            (self._arena, self._prepared, self._state, self._region.blocks, self.model),
        )
        return np.asarray(memory)

    def view(self, tensor: int) -> np.ndarray:
        """Array over the tensor's own memory. While it lives, invoke, allocate and resize raise."""
        with self._guard:
            kind = self.info(tensor).type
            if kind in PACKED or kind == _strings.TYPE:
                what = (
                    "holds strings" if kind == _strings.TYPE else "is packed, two values to a byte"
                )
                raise RilletError(f"tensor {tensor} {what}: use get_tensor", "UNSUPPORTED")
            array = self._new_view(tensor)
            assert isinstance(array.base, Memory)
            self._views.append(weakref.ref(array.base))
            return array

    def get(self, tensor: int) -> np.ndarray:
        """Copy of the tensor's values."""
        with self._guard:
            array = self._array(tensor)
            if self.info(tensor).type == _strings.TYPE:
                self._refuse_stale_strings(tensor)
                return _strings.read(array)
            if array.dtype == np.uint8 and self.info(tensor).type in PACKED:
                info = self.info(tensor)
                return unpack(array, info.type, info.dims[: info.rank])
            return array.copy()

    def _refuse_stale_strings(self, tensor: int) -> None:
        """Elements say where strings lie: those that no run has written say nothing."""
        info, outputs = self.info(tensor), self.model.outputs(self.subgraph)
        if info.is_constant or info.is_variable or tensor in self.model.inputs(self.subgraph):
            return
        kept = self._options.preserve_all_tensors or tensor in outputs
        if not (kept and self._has_run):
            why = "no invoke has succeeded" if kept else "see experimental_preserve_all_tensors"
            raise RilletError(f"tensor {tensor} holds no strings: {why}", "BAD_STATE")

    def _set_strings(self, tensor: int, target: np.ndarray, value: Any) -> None:
        """The bytes live as long as the tensor, and what the last run made of them, point there."""
        array = _strings.as_array(value)
        if not _strings.holds_strings(array):
            self._cannot_set(tensor, str(_strings.refuse(array)))
        self._check_shape(tensor, array, target.shape[:-1])
        former = self._strings.get(tensor)
        self._strings[tensor] = _strings.write(target, array)
        if former is not None:
            self._former_strings.append(former)

    def set(self, tensor: int, value: Any) -> None:
        """Copies `value`, of exactly the tensor's shape and dtype, into the tensor."""
        with self._guard:
            target = self._array(tensor)
            if self.info(tensor).type == _strings.TYPE and target.flags.writeable:
                self._set_strings(tensor, target, value)
                return
            array = np.asarray(value)
            if not target.flags.writeable:
                self._cannot_set(tensor, "it is a constant of the model")
            if self.info(tensor).type in PACKED:
                array = self._pack(tensor, array)
            if array.dtype != target.dtype:
                self._cannot_set(
                    tensor,
                    f"Got value of type {array.dtype} but expected type {target.dtype};"
                    f" convert it with .astype(np.{target.dtype})",
                )
            self._check_shape(tensor, array, target.shape)
            target[...] = array

    def _check_shape(self, tensor: int, array: np.ndarray, wanted: tuple[int, ...]) -> None:
        if array.shape != wanted:
            self._cannot_set(
                tensor,
                f"Dimension mismatch. Got shape {list(array.shape)} but expected {list(wanted)};"
                " resize_tensor_input and allocate_tensors change what is expected",
            )

    def _pack(self, tensor: int, array: np.ndarray) -> np.ndarray:
        """The bytes of a packed tensor's values, which come in its shape."""
        info = self.info(tensor)
        shape, dtype = tuple(info.dims[: info.rank]), np.dtype(DTYPES[info.type])
        if array.shape != shape or array.dtype != dtype:
            found = f"{array.dtype} of shape {list(array.shape)}"
            self._cannot_set(tensor, f"Got {found}, expected {dtype} of shape {list(shape)}")
        try:
            return pack(array, info.type)
        except ValueError as error:
            self._cannot_set(tensor, str(error))

    def _cannot_set(self, tensor: int, why: str) -> NoReturn:
        name = self.info(tensor).name.decode("utf-8", "replace")
        raise RilletError(f"Cannot set tensor {tensor} {name!r}: {why}")

    def invoke(self) -> None:
        """Runs the graph once, without the interpreter lock of Python."""
        with self._guard:
            self._refuse_views("invoke")
            if not self.allocated:
                raise RilletError(
                    "invoke before allocate_tensors: call allocate_tensors() first, and again after"
                    " resize_tensor_input()",
                    "BAD_STATE",
                )
            self._has_run = False
            self._run()
            self._has_run = True
            self._former_strings.clear()
            self.invokes += 1

    def _run(self) -> None:
        self._is_cancelled = False
        try:
            self._call("rlt_invoke")
        except RilletError as error:
            if error.status == "CANCELLED" and not self._is_cancelled:
                signal.raise_signal(signal.SIGINT)  # it was taken note of, but not handled
            raise

    def cancel(self) -> None:
        """Ends the invoke that runs in another thread."""
        self._is_cancelled = True
        c.library().rlt_cancel(self._it)

    def reset_variables(self) -> None:
        """Sets variable tensors back to zero."""
        with self._guard:
            self._refuse_views("reset variables")
            c.call("rlt_reset_variables", self._it)
