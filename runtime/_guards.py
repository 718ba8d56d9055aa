# SPDX-License-Identifier: Apache-2.0
"""What keeps an interpreter safe: memory that lives as long as its views, one caller at a time, and
Ctrl-C that ends an invoke.
"""

from __future__ import annotations

import ctypes
import functools
import threading
from typing import Any

from . import _binding as c
from .errors import RilletError


class Memory:
    """What a view's `base` is: the bytes' address, and what keeps them alive."""

    def __init__(self, interface: dict[str, Any], owners: tuple[Any, ...]) -> None:
        self.__array_interface__ = interface
        self.owners = owners


class OneAtATime:
    """A lock that refuses instead of waiting."""

    def __init__(self) -> None:
        self._lock = threading.Lock()

    def __enter__(self) -> None:
        if not self._lock.acquire(blocking=False):
            raise RilletError(
                "another thread is using this interpreter; give each thread an interpreter of"
                " its own",
                "BUSY",
            )

    def __exit__(self, *exception: object) -> None:
        self._lock.release()


ASK_EVERY_NS = 50_000_000  # whether Ctrl-C was pressed


@functools.cache
def interrupted() -> Any:
    """An rlt_options.cancel: whether Ctrl-C was pressed, asked on the main thread.

    It is C on both sides: an exception of a signal handler could not pass through a callback.
    """
    try:
        return c.Cancel(ctypes.pythonapi.PyOS_InterruptOccurred)
    except AttributeError:  # not CPython: Ctrl-C waits for the end of the invoke
        return c.Cancel()
