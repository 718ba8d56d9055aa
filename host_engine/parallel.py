# SPDX-License-Identifier: Apache-2.0
"""Work shared by threads: blocks of an operation side by side, each on one core.

NumPy releases the interpreter lock in copies and products, so blocks of one operation run side by
side. BLAS itself is kept to one thread meanwhile: its own threads wait for each other in busy
loops, which on a machine with other work made a training step ten times slower than this.
"""

from __future__ import annotations

import ctypes
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

Item = TypeVar("Item")
_SETTERS = (
    "scipy_openblas_set_num_threads64_",
    "openblas_set_num_threads64_",
    "openblas_set_num_threads",
)


class _Blas:
    """The thread count of the OpenBLAS that NumPy carries, if it carries one."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self._before = 1
        self.set_threads, self.get_threads = self._functions()

    @staticmethod
    def _functions() -> tuple[Any, Any]:
        package = Path(np.__file__).parent
        for folder in (package.parent / "numpy.libs", package / ".libs", package / ".dylibs"):
            for path in sorted(folder.glob("*openblas*")):
                library = ctypes.CDLL(str(path))
                for name in _SETTERS:
                    if hasattr(library, name):
                        return getattr(library, name), getattr(library, name.replace("set", "get"))
        return None, None

    @contextmanager
    def one_thread(self) -> Iterator[None]:
        if self.set_threads is None:
            yield
            return
        with self._lock:
            if self._inside == 0:
                self._before = self.get_threads()
                self.set_threads(1)
            self._inside += 1
        try:
            yield
        finally:
            with self._lock:
                self._inside -= 1
                if self._inside == 0:
                    self.set_threads(self._before)


_blas = _Blas()
_pool: list[ThreadPoolExecutor] = []


def one_blas_thread() -> Any:
    """Context manager: products inside use one BLAS thread each; the former number is restored."""
    return _blas.one_thread()


def threads() -> int:
    """How many threads share the blocks: HOST_ENGINE_THREADS, else the cores of this process.

    1 where BLAS cannot be told to stay single-threaded.
    """
    if _blas.set_threads is None:
        return 1
    wanted = os.environ.get("HOST_ENGINE_THREADS", "")
    if wanted.isdigit() and int(wanted) > 0:
        return int(wanted)
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


_THREADS = threads()


def for_each(xp: Any, items: Sequence[Item], work: Callable[[Item], None]) -> None:
    """Calls `work` for every item, on several threads if `xp` is NumPy.

    Items must write to separate places. The first exception is raised here.
    """
    count = min(_THREADS, len(items))
    if xp is not np or count < 2:
        for item in items:
            work(item)
        return
    if not _pool:
        _pool.append(ThreadPoolExecutor(_THREADS - 1, thread_name_prefix="host_engine"))
    # One iterator for all: a thread takes its next item when it is done with the last.
    remaining = iter(items)

    def drain() -> None:
        for item in remaining:
            work(item)

    futures = [_pool[0].submit(drain) for _ in range(count - 1)]
    try:
        drain()
    finally:
        wait(futures)
    for future in futures:
        future.result()


def _forget_threads() -> None:
    _pool.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_threads)


def slices(count: int, step: int) -> list[slice]:
    """range(count) in slices of `step`, the last one shorter."""
    return [slice(start, min(start + step, count)) for start in range(0, count, step)]


_PARTS = 8
_LARGE_PRODUCT = 1 << 22


def matmul(xp: Any, a: Any, b: Any) -> Any:
    """a @ b for matrices, large ones in parts of the longer side of the result."""
    rows, columns = a.shape[0], b.shape[1]
    if rows * columns * a.shape[1] < _LARGE_PRODUCT or a.dtype.kind != "f":
        return a @ b
    out = xp.empty((rows, columns), a.dtype)
    if rows >= columns:
        parts = slices(rows, -(-rows // _PARTS))
        for_each(xp, parts, lambda part: xp.matmul(a[part], b, out=out[part]))
    else:
        parts = slices(columns, -(-columns // _PARTS))
        for_each(xp, parts, lambda part: xp.matmul(a, b[:, part], out=out[:, part]))
    return out
