# SPDX-License-Identifier: Apache-2.0
"""Machines of other kinds: what plays them here, and running models there."""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
from zoo import ROOT

import runtime
from runtime import _strings
from runtime._model import DTYPES
from runtime.core.build import build

HERE = Path(__file__).parent
TOOLS = ROOT / "build" / "tools"
FOLDER = ROOT / "build" / "targets"


@dataclass(frozen=True)
class Machine:
    """A CPU that an emulator plays: its row in the runtime's target table, and the best instruction
    set it has.
    """

    cpu: str
    target: str
    emulator: str
    isa: str

    def __str__(self) -> str:
        return f"{self.target}-{self.cpu}"

    @property
    def flushes(self) -> bool:
        """Whether it takes denormal floats for zero."""
        return self.target == "armv7"

    def fuses(self, isa: str = "best") -> bool:
        """Whether its float products round once after multiplying and adding."""
        return isa != "scalar" and self.isa not in ("scalar", "wasm")

    @property
    def lacks_growth(self) -> bool:
        """Whether its driver cannot give memory while a model runs."""
        return self.target == "wasm32"


MACHINES = [
    Machine("cortex-a53", "aarch64", "qemu-aarch64", "neon"),
    Machine("cortex-a76", "aarch64", "qemu-aarch64", "neon_dot"),
    Machine("max", "aarch64", "qemu-aarch64", "neon_dot"),
    Machine("cortex-a7", "armv7", "qemu-arm", "armv7"),
    Machine("cortex-a15", "armv7", "qemu-arm", "armv7"),
    Machine("arm1176", "armv6", "qemu-arm", "scalar"),
    Machine("simd128", "wasm32", "node", "wasm"),
]
# One machine per set of loops.
LOOPS = [m for m in MACHINES if m.cpu in ("cortex-a53", "cortex-a76", "cortex-a7", "simd128")]

NEEDS_GROWTH = "give rlt_options.grow"  # in the words that refuse a model


def find_emulator(name: str) -> str | None:
    """Path of an emulator on PATH or among what `make tools` fetched."""
    folders = [os.environ.get("PATH", ""), str(TOOLS / "usr" / "bin")]
    found = [shutil.which(n, path=p) for p in folders for n in (name, f"{name}-static")]
    return next(filter(None, found), None)


@functools.cache
def driver(target: str) -> Path:
    """The program (for wasm32 the module) that runs models on a target, built when asked for."""
    if target == "wasm32":
        return build(target, FOLDER / "rillet.wasm")
    return build(target, FOLDER / f"op_{target}", program=HERE / "op_driver.c", static=True)


def command(machine: Machine, *arguments: object) -> list[str]:
    """How to run the driver on a machine; skips the test where nothing here plays it."""
    emulator = find_emulator(machine.emulator)
    if emulator is None:
        remedy = "install it" if machine.emulator == "node" else "run `make tools`"
        pytest.skip(f"no {machine.emulator} on this machine: {remedy}")
    if machine.emulator != "node" and sys.platform != "linux":
        pytest.skip("user-mode emulation needs Linux")
    file = str(driver(machine.target))
    play = [str(HERE / "op_driver.mjs"), file] if machine.emulator == "node" else ["-cpu"]
    play += [] if machine.emulator == "node" else [machine.cpu, file]
    return [emulator, *play, *map(str, arguments)]


def ask(machine: Machine, *arguments: object) -> list[str]:
    """Lines that the driver prints on a machine."""
    done = subprocess.run(command(machine, *arguments), capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{machine}: {done.stdout[-2000:]}{done.stderr[-2000:]}"
    return done.stdout.splitlines()


def take(data: bytes, like: np.ndarray) -> tuple[np.ndarray, bytes]:
    """The array of the dtype and shape of another that `data` begins with, and what follows it.
    Strings are dtype object: the four bytes of a size, then as many.
    """
    if like.dtype != object:
        array = np.frombuffer(data[: like.nbytes], like.dtype)
        return array.reshape(like.shape), data[like.nbytes :]
    array = np.empty(like.shape, object)
    for i in range(array.size):
        end = 4 + int.from_bytes(data[:4], "little")
        array.reshape(-1)[i], data = data[4:end], data[end:]
    return array, data


@dataclass(frozen=True)
class Case:
    """A model, the bytes of its inputs, and what this machine computes from them."""

    model: Path
    inputs: Path

    @functools.cached_property
    def expected(self) -> list[np.ndarray] | str:
        """Outputs on this machine, or the status of the error that running ends with."""
        return self.outputs()

    @functools.cached_property
    def unfused(self) -> list[np.ndarray] | str:
        """The same, with the scalar loops, which do not fuse multiplication and addition."""
        return self.outputs("scalar")

    @property
    def is_plain(self) -> bool:
        """Whether inputs and outputs are numbers or strings."""
        session = runtime.Interpreter(self.model)._session
        tensors = [*session.model.inputs(0), *session.model.outputs(0)]
        kinds = [session.info(tensor).type for tensor in tensors]
        return all(kind == _strings.TYPE or DTYPES.get(kind) is not None for kind in kinds)

    def outputs(self, isa: str = "", flush: bool = False) -> list[np.ndarray] | str:
        """The same on an instruction set of this machine, with denormal inputs taken for zero if
        asked.
        """
        with mock.patch.dict(os.environ, {"RILLET_ISA": isa} if isa else {}):
            interpreter = runtime.Interpreter(self.model)
        interpreter.allocate_tensors()
        session, data = interpreter._session, self.inputs.read_bytes()
        for tensor in session.model.inputs(0):
            view = session._array(tensor)  # packed integers as their bytes
            if session.info(tensor).type == _strings.TYPE:
                value, data = take(data, np.empty(view.shape[:-1], object))
                session.set(tensor, value)
                continue
            view[...], data = take(data, view)
            if flush and view.dtype == np.float32:
                view[np.abs(view) < np.finfo(np.float32).tiny] *= 0.0
        try:
            interpreter.invoke()
        except runtime.RilletError as error:
            return error.status
        outputs = session.model.outputs(0)
        texts = [session.info(tensor).type == _strings.TYPE for tensor in outputs]
        return [
            session.get(tensor) if is_text else session._array(tensor).copy()
            for tensor, is_text in zip(outputs, texts, strict=True)
        ]


def run(
    machine: Machine, cases: Sequence[Case], folder: Path, isa: str = "best", threads: int = 1
) -> list[list[np.ndarray] | str]:
    """Outputs of every case on a machine, in the dtypes and shapes they have on this one; the
    status where a model is refused there as here.
    """
    outputs = [folder / f"{machine}-{i}.out" for i in range(len(cases))]
    work = folder / f"{machine}.list"
    lines = [f"{c.model} {c.inputs} {out}" for c, out in zip(cases, outputs, strict=True)]
    work.write_text("\n".join(lines) + "\n")
    said = ask(machine, "run", isa, threads, work)
    assert len(said) == len(cases)
    return [
        read_outputs(machine, case, out, status)
        for case, out, status in zip(cases, outputs, said, strict=True)
    ]


def read_outputs(machine: Machine, case: Case, out: Path, status: str) -> list[np.ndarray] | str:
    """What a driver said of a model and wrote, checked for its status and size."""
    if machine.lacks_growth and NEEDS_GROWTH in status:
        return "UNSUPPORTED"
    if isinstance(case.expected, str):
        assert status.startswith(case.expected), (str(machine), case.model, status)
        return case.expected
    assert status == "OK", (str(machine), case.model, status)
    data, arrays = out.read_bytes(), []
    for wanted in case.expected:
        array, data = take(data, wanted)
        arrays.append(array)
    assert not data, (str(machine), case.model)
    out.unlink()
    return arrays
