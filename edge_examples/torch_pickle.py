# SPDX-License-Identifier: Apache-2.0
"""Reads tensors from a PyTorch checkpoint without PyTorch and without unpickling anything.

`torch.save` writes Python pickles, and a pickle is a program: loading one from a stranger runs the
stranger's code. Here the opcodes are interpreted by a machine that knows tensors, numbers,
strings and the standard containers, and nothing else; whatever a file asks for beyond that is an
error that names it. Both layouts are read: the legacy stream (before PyTorch 1.6) and the zip.
"""

from __future__ import annotations

import io
import math
import mmap
import os
import pickletools
import reprlib
import struct
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, BinaryIO, cast

import numpy as np

LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
LEGACY_PROTOCOL = 1001
MAX_ELEMENTS = 1 << 32
# What zipfile raises on damaged archives besides BadZipFile.
_ZIP_TROUBLE = (EOFError, OSError, ValueError, RuntimeError, NotImplementedError, struct.error)
_brief = reprlib.repr  # bounded, since what a hostile file holds may be deep or endless

STORAGE_DTYPES: dict[str, np.dtype[Any]] = {
    "DoubleStorage": np.dtype("<f8"),
    "FloatStorage": np.dtype("<f4"),
    "HalfStorage": np.dtype("<f2"),
    "LongStorage": np.dtype("<i8"),
    "IntStorage": np.dtype("<i4"),
    "ShortStorage": np.dtype("<i2"),
    "CharStorage": np.dtype("i1"),
    "ByteStorage": np.dtype("u1"),
    "BoolStorage": np.dtype("?"),
}


class CheckpointError(ValueError):
    """The file is damaged, is no checkpoint, or asks for more than tensors and containers."""


@dataclass
class _Storage:
    """A flat run of elements; the bytes come later in the file and are read into `data`."""

    key: str
    data: np.ndarray


@dataclass(frozen=True)
class _Global:
    """A name the pickle refers to: one of `_GLOBALS` or a storage class."""

    name: str


def load(path: str | os.PathLike[str]) -> Any:
    """Returns what `torch.save` wrote, with a NumPy array in place of each tensor.

    path: a checkpoint in the legacy or the zip layout, CPU or CUDA tensors alike. Returns nested
    dicts (OrderedDict where the file says so), lists, tuples, numbers, strings and arrays;
    tensors that share a storage are views of one buffer, as they are in PyTorch.
    Raises CheckpointError for anything else in the file, and OSError where it cannot be read.
    """
    with open(path, "rb") as file:
        try:
            if file.read(4) == b"PK\x03\x04":
                return _load_zip(file)
            if file.seek(0, os.SEEK_END) == 0:
                raise CheckpointError("the file is empty")
            # A map reads no further than its end, whatever length the pickle claims for a string.
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as bounded:
                return _load_legacy(bounded)
        except CheckpointError as error:
            raise CheckpointError(f"{os.fspath(path)}: {error}") from None


def _load_legacy(file: mmap.mmap) -> Any:
    """Magic number, protocol, system facts, object, storage keys, then each storage's bytes."""
    if _read_pickle(file) != LEGACY_MAGIC:
        raise CheckpointError("not a PyTorch checkpoint: the magic number is missing")
    protocol = _read_pickle(file)
    if protocol != LEGACY_PROTOCOL:
        raise CheckpointError(f"checkpoint protocol {_brief(protocol)}, not {LEGACY_PROTOCOL}")
    system = _read_pickle(file)
    if not isinstance(system, dict) or system.get("little_endian") is not True:
        raise CheckpointError("the checkpoint was not written on a little-endian machine")
    machine = _Machine(file.size())
    result = _read_pickle(file, machine)
    keys = _read_pickle(file)
    if not isinstance(keys, list) or any(not isinstance(key, str) for key in keys):
        raise CheckpointError("the list of storages is missing")
    if sorted(keys) != sorted(machine.storages):
        raise CheckpointError("the list of storages does not match those the tensors use")
    for key in keys:
        _read_legacy_storage(file, machine.storages[key])
    return result


def _read_legacy_storage(file: mmap.mmap, storage: _Storage) -> None:
    header = file.read(8)
    if len(header) != 8:
        raise CheckpointError(f"cut short before storage {storage.key}")
    (count,) = struct.unpack("<q", header)
    if count != storage.data.size:
        raise CheckpointError(
            f"storage {storage.key} holds {count} elements, {storage.data.size} expected"
        )
    _fill(storage, file.read(storage.data.nbytes))


def _load_zip(file: BinaryIO) -> Any:
    """An archive with `<name>/data.pkl` and one member `<name>/data/<key>` per storage."""
    try:
        with zipfile.ZipFile(file) as archive:
            pickles = [n for n in archive.namelist() if n.endswith("/data.pkl")]
            if len(pickles) != 1:
                raise CheckpointError(f"the zip has {len(pickles)} data.pkl members, 1 expected")
            root = pickles[0].removesuffix("data.pkl")
            if f"{root}byteorder" in archive.namelist():
                order = _member(archive, f"{root}byteorder")
                if order != b"little":
                    raise CheckpointError(f"byte order {order[:16]!r}; only 'little' is read")
            machine = _Machine(os.fstat(file.fileno()).st_size)
            result = _read_pickle(io.BytesIO(_member(archive, pickles[0])), machine)
            for key, storage in machine.storages.items():
                _fill(storage, _member(archive, f"{root}data/{key}"))
    except CheckpointError:
        raise
    except (zipfile.BadZipFile, *_ZIP_TROUBLE) as error:
        raise CheckpointError(f"damaged zip: {error}") from None
    return result


def _member(archive: zipfile.ZipFile, name: str) -> bytes:
    try:
        info = archive.getinfo(name)
    except KeyError:
        raise CheckpointError(f"the zip lacks the member {name}") from None
    # PyTorch stores members as they are; a compressed one could expand without bound.
    if info.compress_type != zipfile.ZIP_STORED:
        raise CheckpointError(f"the zip member {name} is compressed, which PyTorch never does")
    return archive.read(info)


def _fill(storage: _Storage, raw: bytes) -> None:
    if len(raw) != storage.data.nbytes:
        raise CheckpointError(
            f"storage {storage.key} has {len(raw)} bytes of {storage.data.nbytes}: cut short?"
        )
    storage.data[:] = np.frombuffer(raw, storage.data.dtype)


def _read_pickle(file: BinaryIO | mmap.mmap, machine: _Machine | None = None) -> Any:
    """Interprets one pickle at the file's position, and leaves the position behind it."""
    machine = machine or _Machine(0)
    try:
        for opcode, argument, _ in pickletools.genops(cast(BinaryIO, file)):
            step = _STEPS.get(opcode.name)
            if step is None:
                raise CheckpointError(f"pickle opcode {opcode.name} is not admitted")
            step(machine, argument)
        (result,) = machine.stack
    except CheckpointError:
        raise
    except (ValueError, IndexError, KeyError, TypeError, OverflowError) as error:
        raise CheckpointError(f"damaged pickle: {error}") from None
    return _data(result)


class _Machine:
    """The stack, marks and memo of one pickle; each opcode is a row of `_STEPS`.

    budget: bytes the storages may take together, which is what the file has.
    """

    def __init__(self, budget: int):
        self.stack: list[Any] = []
        self.marks: list[list[Any]] = []
        self.memo: dict[int, Any] = {}
        self.storages: dict[str, _Storage] = {}
        self.budget = budget

    def push(self, value: Any) -> None:
        self.stack.append(value)

    def mark(self, _: Any) -> None:
        self.marks.append(self.stack)
        self.stack = []

    def since_mark(self) -> list[Any]:
        items, self.stack = self.stack, self.marks.pop()
        return items

    def put(self, index: int) -> None:
        self.memo[index] = self.stack[-1]

    def memoize(self, _: Any) -> None:
        self.memo[len(self.memo)] = self.stack[-1]

    def name(self, argument: str) -> None:
        """GLOBAL: genops gives 'module name' separated by a space."""
        module, name = argument.split(" ", 1)
        self._push_global(module, name)

    def stack_name(self, _: Any) -> None:
        name, module = self.stack.pop(), self.stack.pop()
        self._push_global(module, name)

    def _push_global(self, module: Any, name: Any) -> None:
        full = f"{module}.{name}"
        if full not in _GLOBALS and not (module == "torch" and name in STORAGE_DTYPES):
            raise CheckpointError(
                f"the pickle asks for {full!r}; only tensors and standard containers are admitted"
            )
        self.push(_Global(full))

    def reduce(self, _: Any) -> None:
        arguments, function = self.stack.pop(), self.stack.pop()
        if not isinstance(function, _Global) or function.name not in _GLOBALS:
            raise CheckpointError(f"the pickle calls {_brief(function)}: no tensor, no container")
        if not isinstance(arguments, tuple):
            raise CheckpointError(f"the arguments of {function.name} are not a tuple")
        self.push(_GLOBALS[function.name](*arguments))

    def build(self, _: Any) -> None:
        """State dicts carry attributes (`_metadata`) that nothing here needs: dropped."""
        self.stack.pop()
        if not isinstance(self.stack[-1], OrderedDict):
            raise CheckpointError("the pickle sets the state of an object that is no OrderedDict")

    def persistent(self, _: Any) -> None:
        """('storage', class, key, device, element count[, view])."""
        record = self.stack.pop()
        if not isinstance(record, tuple) or len(record) not in (5, 6) or record[0] != "storage":
            raise CheckpointError(f"unknown persistent record {_brief(record)}")
        _, kind, key, _, size = record[:5]
        if len(record) == 6 and record[5] is not None:
            raise CheckpointError(f"storage {_brief(key)} is a view of another: not supported")
        if not isinstance(kind, _Global) or not isinstance(key, str) or not _is_count(size):
            raise CheckpointError(f"malformed storage record {_brief(record)}")
        dtype = STORAGE_DTYPES[kind.name.removeprefix("torch.")]
        if key not in self.storages:
            self.budget -= size * dtype.itemsize
            if self.budget < 0:
                raise CheckpointError(f"storage {key} of {size} elements is larger than the file")
            self.storages[key] = _Storage(key, np.empty(size, dtype))
        storage = self.storages[key]
        if (storage.data.dtype, storage.data.size) != (dtype, size):
            raise CheckpointError(f"storage {key} is described twice, differently")
        self.push(storage)

    def append(self, items: list[Any]) -> None:
        target = self.stack[-1]
        if not isinstance(target, list):
            raise CheckpointError("the pickle appends to something that is no list")
        target.extend(_data(item) for item in items)

    def set_items(self, items: list[Any]) -> None:
        target = self.stack[-1]
        if not isinstance(target, dict) or len(items) % 2:
            raise CheckpointError("the pickle sets items of something that is no dict")
        for key, value in zip(items[::2], items[1::2], strict=True):
            # Hashing a nested tuple can take exponential time, so keys are plain.
            if not isinstance(key, (str, int, float, type(None))):
                raise CheckpointError(f"a dict key of type {type(key).__name__} is not admitted")
            target[key] = _data(value)

    def pop_many(self, count: int) -> list[Any]:
        if count > len(self.stack):
            raise CheckpointError("the pickle's stack runs empty")
        return [self.stack.pop() for _ in range(count)][::-1]


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value <= MAX_ELEMENTS


def _data(value: Any) -> Any:
    if isinstance(value, (_Global, _Storage)):
        raise CheckpointError(f"{_brief(value)} stands where data is expected")
    return value


def _ordered_dict(*items: Any) -> OrderedDict:
    if items:
        raise CheckpointError("an OrderedDict with constructor arguments is not admitted")
    return OrderedDict()


def _rebuild_tensor(storage: Any, offset: Any, shape: Any, strides: Any, *_: Any) -> np.ndarray:
    """`torch._utils._rebuild_tensor[_v2]`: checks that every element lies inside the storage."""
    if not isinstance(storage, _Storage) or type(shape) is not tuple or type(strides) is not tuple:
        raise CheckpointError("a tensor without storage, shape or strides")
    if len(shape) != len(strides) or not all(map(_is_count, (offset, *shape, *strides))):
        raise CheckpointError(
            f"impossible tensor: {_brief(shape)}, strides {_brief(strides)} at {_brief(offset)}"
        )
    elements = math.prod(shape)
    last = offset + sum((n - 1) * s for n, s in zip(shape, strides, strict=True))
    size = storage.data.size
    if elements > MAX_ELEMENTS or offset > size or (elements and last >= size):
        raise CheckpointError(
            f"a tensor of shape {_brief(shape)} and strides {_brief(strides)} at {offset} "
            f"reaches outside its storage of {size} elements"
        )
    byte_strides = [stride * storage.data.itemsize for stride in strides]
    return np.lib.stride_tricks.as_strided(storage.data[offset:], shape, byte_strides)


_GLOBALS: dict[str, Callable[..., Any]] = {
    "collections.OrderedDict": _ordered_dict,
    "torch._utils._rebuild_tensor": _rebuild_tensor,
    "torch._utils._rebuild_tensor_v2": _rebuild_tensor,
    "torch._utils._rebuild_parameter": lambda data, *_: data,
}

_Step = Callable[[_Machine, Any], None]
_STEPS: dict[str, _Step] = {
    **dict.fromkeys(["BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT"], _Machine.push),
    **dict.fromkeys(["BINUNICODE", "SHORT_BINUNICODE"], _Machine.push),
    **dict.fromkeys(["BINSTRING", "SHORT_BINSTRING"], _Machine.push),
    **dict.fromkeys(["BINBYTES", "SHORT_BINBYTES"], _Machine.push),
    **dict.fromkeys(["BINPUT", "LONG_BINPUT"], _Machine.put),
    **dict.fromkeys(["BINGET", "LONG_BINGET"], lambda m, i: m.push(m.memo[i])),
    **dict.fromkeys(["PROTO", "FRAME", "STOP"], lambda m, _: None),
    "NONE": lambda m, _: m.push(None),
    "NEWTRUE": lambda m, _: m.push(True),
    "NEWFALSE": lambda m, _: m.push(False),
    "EMPTY_DICT": lambda m, _: m.push({}),
    "EMPTY_LIST": lambda m, _: m.push([]),
    "EMPTY_TUPLE": lambda m, _: m.push(()),
    "TUPLE1": lambda m, _: m.push(tuple(m.pop_many(1))),
    "TUPLE2": lambda m, _: m.push(tuple(m.pop_many(2))),
    "TUPLE3": lambda m, _: m.push(tuple(m.pop_many(3))),
    "TUPLE": lambda m, _: m.push(tuple(m.since_mark())),
    "MARK": _Machine.mark,
    "MEMOIZE": _Machine.memoize,
    "APPEND": lambda m, _: m.append(m.pop_many(1)),
    "APPENDS": lambda m, _: m.append(m.since_mark()),
    "SETITEM": lambda m, _: m.set_items(m.pop_many(2)),
    "SETITEMS": lambda m, _: m.set_items(m.since_mark()),
    "GLOBAL": _Machine.name,
    "STACK_GLOBAL": _Machine.stack_name,
    "REDUCE": _Machine.reduce,
    "BUILD": _Machine.build,
    "BINPERSID": _Machine.persistent,
}
