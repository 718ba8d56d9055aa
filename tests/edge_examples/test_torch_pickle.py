# SPDX-License-Identifier: Apache-2.0
"""Checkpoints read without PyTorch: what is read, and what a hostile file gets."""

from __future__ import annotations

import io
import os
import pickle
import struct
import sys
import types
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_examples import torch_pickle
from edge_examples.torch_pickle import CheckpointError, load

SYSTEM = {"protocol_version": 1001, "little_endian": True, "type_sizes": {}}


class Reduced:
    """Pickles as a call of `function` (an object or a 'module.name') on `arguments`."""

    def __init__(self, function: Any, *arguments: Any):
        self.function, self.arguments = function, arguments

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return self.function, self.arguments


class Storage:
    """A torch storage: pickles as a persistent id."""

    def __init__(self, key: str, values: np.ndarray, kind: str = "FloatStorage", size: Any = None):
        self.key, self.values, self.kind = key, values, kind
        self.size = values.size if size is None else size


@pytest.fixture(autouse=True)
def torch_names(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets pickle.dumps refer to torch's names; nothing here is PyTorch."""
    torch, utils = types.ModuleType("torch"), types.ModuleType("torch._utils")

    def _rebuild_tensor_v2() -> None: ...

    _rebuild_tensor_v2.__module__, _rebuild_tensor_v2.__qualname__ = (
        utils.__name__,
        "_rebuild_tensor_v2",
    )
    utils._rebuild_tensor_v2 = _rebuild_tensor_v2  # type: ignore[attr-defined]
    for name in torch_pickle.STORAGE_DTYPES:
        setattr(torch, name, type(name, (), {"__module__": "torch"}))
    monkeypatch.setitem(sys.modules, "torch", torch)
    monkeypatch.setitem(sys.modules, "torch._utils", utils)


def tensor(storage: Storage, offset: Any, shape: Any, strides: Any) -> Reduced:
    rebuild = sys.modules["torch._utils"]._rebuild_tensor_v2
    return Reduced(rebuild, storage, offset, shape, strides, False, OrderedDict())


def dense(key: str, values: np.ndarray, kind: str = "FloatStorage") -> Reduced:
    strides = tuple(s // values.itemsize for s in values.strides)
    return tensor(Storage(key, values.reshape(-1), kind), 0, values.shape, strides)


def dumps(value: Any, storages: dict[str, np.ndarray], protocol: int = 2) -> bytes:
    class Pickler(pickle.Pickler):
        def persistent_id(self, value: Any) -> Any:
            if not isinstance(value, Storage):
                return None
            storages[value.key] = value.values
            kind = getattr(sys.modules["torch"], value.kind)
            return ("storage", kind, value.key, "cpu", value.size, None)

    buffer = io.BytesIO()
    Pickler(buffer, protocol).dump(value)
    return buffer.getvalue()


def legacy(value: Any, protocol: int = 2) -> bytes:
    storages: dict[str, np.ndarray] = {}
    body = dumps(value, storages, protocol)
    head = b"".join(pickle.dumps(v, 2) for v in (torch_pickle.LEGACY_MAGIC, 1001, SYSTEM))
    tail = b"".join(struct.pack("<q", a.size) + a.tobytes() for a in storages.values())
    return head + body + pickle.dumps(list(storages), 2) + tail


def zipped(value: Any, compression: int = zipfile.ZIP_STORED) -> bytes:
    storages: dict[str, np.ndarray] = {}
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        archive.writestr("net/data.pkl", dumps(value, storages))
        archive.writestr("net/byteorder", "little")
        for key, values in storages.items():
            archive.writestr(f"net/data/{key}", values.tobytes())
    return buffer.getvalue()


def load_bytes(tmp_path: Path, content: bytes) -> Any:
    path = tmp_path / "net.pth"
    path.write_bytes(content)
    return load(path)


def sample() -> OrderedDict:
    rng = np.random.default_rng(0)
    return OrderedDict(
        weight=dense("7", rng.normal(size=(2, 3, 4)).astype(np.float32)),
        steps=dense("8", np.array(5, np.int64), "LongStorage"),
        half=dense("9", np.array([1.5, -2], np.float16), "HalfStorage"),
        flags=dense("10", np.array([True, False]), "BoolStorage"),
        empty=dense("11", np.zeros((0, 3), np.float32)),
        settings={"name": "net", "rate": 0.5, "shape": (1, 2), "layers": [1, None, True, 1 << 40]},
    )


@pytest.mark.parametrize("write", [legacy, zipped])
def test_reads_what_was_written(tmp_path: Path, write: Any) -> None:
    result = load_bytes(tmp_path, write(sample()))
    rng = np.random.default_rng(0)
    assert isinstance(result, OrderedDict)
    np.testing.assert_array_equal(result["weight"], rng.normal(size=(2, 3, 4)).astype(np.float32))
    assert result["steps"].shape == () and result["steps"] == 5
    assert result["half"].dtype == np.float16 and result["half"].tolist() == [1.5, -2]
    assert result["flags"].tolist() == [True, False]
    assert result["empty"].shape == (0, 3)
    assert result["settings"] == sample()["settings"]


def test_strided_tensors_are_views_of_their_storage(tmp_path: Path) -> None:
    values = np.arange(12, dtype=np.float32)
    storage = Storage("0", values)
    content = legacy(
        {"t": tensor(storage, 0, (4, 3), (1, 4)), "tail": tensor(storage, 5, (3,), (2,))}
    )
    result = load_bytes(tmp_path, content)
    np.testing.assert_array_equal(result["t"], values.reshape(3, 4).T)
    np.testing.assert_array_equal(result["tail"], [5, 7, 9])
    assert np.shares_memory(result["t"], result["tail"])


@pytest.mark.parametrize("protocol", [2, 3, 4])
def test_reads_every_binary_pickle_protocol(tmp_path: Path, protocol: int) -> None:
    result = load_bytes(tmp_path, legacy(sample(), protocol))
    assert result["weight"].shape == (2, 3, 4)


@pytest.mark.parametrize(
    ("function", "arguments"),
    [
        (os.system, ("touch owned",)),
        (eval, ("1",)),
        (exec, ("1",)),
        (getattr, ("x", "upper")),
        (__import__, ("os",)),
        (io.open, ("owned", "w")),
        (np.frombuffer, (b"1234",)),
        (Reduced, (1,)),
    ],
    ids=lambda v: getattr(v, "__name__", None),
)
@pytest.mark.parametrize("protocol", [2, 4])
def test_calls_of_anything_else_are_refused_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, function: Any, arguments: Any, protocol: int
) -> None:
    monkeypatch.chdir(tmp_path)
    content = legacy({"a": Reduced(function, *arguments)}, protocol)
    with pytest.raises(CheckpointError, match=f"asks for '.*{function.__name__}'"):
        load_bytes(tmp_path, content)
    assert not (tmp_path / "owned").exists()


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"(S'ls'\nios\nsystem\n.", "opcode STRING is not admitted"),
        (b"(ios\nsystem\n.", "opcode INST is not admitted"),
        (b"cos\nsystem\n.", "asks for 'os.system'"),
        (b"\x80\x02ctorch\nFloatStorage\n.", "stands where data is expected"),
        (b"\x80\x02]ccollections\nOrderedDict\na.", "stands where data is expected"),
        (b"\x80\x02K\x01K\x02\x86K\x01b.", "no OrderedDict"),
        (b"\x80\x02K\x01)R.", "the pickle calls 1"),
        (b"\x80\x02}h\x05.", "damaged pickle"),
        (b"\x80\x02\x86.", "stack runs empty"),
        (b"\x80\x02e.", "damaged pickle"),
        (b"\x80\x02}(K\x01u.", "no dict"),
        (b"\x80\x02})K\x01s.", "key of type tuple"),
        (b"\x80\x02K\x01Q.", "unknown persistent record 1"),
        (b"\x80\x02K\x01K\x02.", "damaged pickle"),
        (b"\x80\x02]q\x01h\x01h\x01a0.", "opcode POP is not admitted"),
    ],
)
def test_hand_written_pickles_are_refused(tmp_path: Path, body: bytes, message: str) -> None:
    head = b"".join(pickle.dumps(v, 2) for v in (torch_pickle.LEGACY_MAGIC, 1001, SYSTEM))
    with pytest.raises(CheckpointError, match=message):
        load_bytes(tmp_path, head + body + pickle.dumps([], 2))


BIG = 1 << 31


@pytest.mark.parametrize(
    ("offset", "shape", "strides"),
    [
        (0, (13,), (1,)),
        (1, (12,), (1,)),
        (0, (2, 2), (12, 1)),
        (-1, (2,), (1,)),
        (5, (2,), (-1,)),
        (13, (0,), (1,)),
        (0, (2,), (1, 1)),
        (0, (2.5,), (1,)),
        (0, (True,), (1,)),
        (0, [2], (1,)),
        (0, (BIG, BIG, BIG), (0, 0, 0)),
    ],
)
def test_tensors_that_reach_outside_their_storage_are_refused(
    tmp_path: Path, offset: Any, shape: Any, strides: Any
) -> None:
    storage = Storage("0", np.arange(12, dtype=np.float32))
    with pytest.raises(CheckpointError, match=r"reaches outside|impossible tensor|without storage"):
        load_bytes(tmp_path, legacy(tensor(storage, offset, shape, strides)))


@pytest.mark.parametrize("size", [1 << 29, 1 << 60, -1, "many", 1.0])
def test_storages_larger_than_the_file_take_no_memory(tmp_path: Path, size: Any) -> None:
    storage = Storage("0", np.zeros(4, np.float32), size=size)
    with pytest.raises(CheckpointError, match=r"larger than the file|malformed storage"):
        load_bytes(tmp_path, legacy(tensor(storage, 0, (4,), (1,))))


def test_lists_inside_themselves_end_in_data_or_an_error(tmp_path: Path) -> None:
    endless: list[Any] = []
    endless.append(endless)
    assert load_bytes(tmp_path, legacy(endless))[0][0] is not None


@pytest.mark.parametrize("write", [legacy, zipped])
def test_files_cut_at_any_length_are_refused(tmp_path: Path, write: Any) -> None:
    content = write(sample())
    for length in range(len(content)):
        with pytest.raises(CheckpointError):
            load_bytes(tmp_path, content[:length])


@pytest.mark.parametrize("write", [legacy, zipped])
def test_files_with_any_byte_changed_load_or_are_refused(tmp_path: Path, write: Any) -> None:
    content = write(sample())
    rng = np.random.default_rng(1)
    outcomes = set()
    for position in range(len(content)):
        damaged = bytearray(content)
        damaged[position] ^= int(rng.integers(1, 256))
        try:
            load_bytes(tmp_path, bytes(damaged))
            outcomes.add("loaded")
        except CheckpointError:
            outcomes.add("refused")
    assert outcomes == {"loaded", "refused"}


def test_compressed_members_are_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="compressed"):
        load_bytes(tmp_path, zipped(sample(), zipfile.ZIP_DEFLATED))


def test_other_files_are_refused_with_their_name(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"net\.pth: .*"):
        load_bytes(tmp_path, b"no checkpoint at all")
    with pytest.raises(CheckpointError, match="magic number"):
        load_bytes(tmp_path, pickle.dumps(5, 2))
    with pytest.raises(FileNotFoundError):
        load(tmp_path / "absent.pth")


def test_a_storage_described_twice_must_agree(tmp_path: Path) -> None:
    first = Storage("0", np.zeros(4, np.float32))
    second = Storage("0", np.zeros(4, np.float32), "IntStorage")
    value = [tensor(first, 0, (4,), (1,)), tensor(second, 0, (4,), (1,))]
    with pytest.raises(CheckpointError, match="described twice"):
        load_bytes(tmp_path, legacy(value))
