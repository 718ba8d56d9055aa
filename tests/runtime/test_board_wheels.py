# SPDX-License-Identifier: Apache-2.0
"""Wheels for boards: made by `rillet build --wheel`, installed into a Debian for Arm with its own
Python and NumPy, and run there under qemu."""

from __future__ import annotations

import re
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pip
import pytest
from arm_root import NoRoot, arm_root
from targets import find_emulator
from test_targets import compare
from zoo import ROOT, zoo_files

import runtime

# Target, Debian's architecture, triplet of its libraries, the emulator, its CPU, the wheel's tag.
# ARM1176 has no Debian (its armhf is armv7's), so the wheel of pi-zero runs on a Cortex-A7.
BOARDS = [
    (
        "pi-arm64",
        "arm64",
        "aarch64-linux-gnu",
        "qemu-aarch64",
        "cortex-a72",
        "manylinux_2_17_aarch64",
    ),
    ("pi-armv7", "armhf", "arm-linux-gnueabihf", "qemu-arm", "cortex-a7", "manylinux_2_31_armv7l"),
    ("pi-zero", "armhf", "arm-linux-gnueabihf", "qemu-arm", "cortex-a7", "linux_armv6l"),
]
MODELS = ["vww_96_int8", "kws_ref_model", "ad01_fp32"]
SCRIPT = """
import sys, numpy as np, runtime
print(runtime.__file__, runtime.best_isa())
for path in sys.argv[1:]:
    x = np.load(path + ".npy")
    interpreter = runtime.Interpreter(path)
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], x)
    interpreter.invoke()
    np.save(path + ".out.npy", interpreter.get_tensor(interpreter.get_output_details()[0]["index"]))
"""


def built(target: str, folder: Path) -> Path:
    command = [sys.executable, "-m", "rillet", "build", "--target", target, "--wheel"]
    done = subprocess.run(
        [*command, "--out", str(folder)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    (wheel,) = folder.glob("*.whl")
    assert wheel.name in done.stdout
    return wheel


def prepared(folder: Path) -> dict[str, np.ndarray]:
    """Copies the models and random inputs; returns this machine's outputs by path."""
    wanted, rng = {}, np.random.default_rng(8)
    for path in [p for name in MODELS for p in zoo_files(f"models/tflite/{name}.tflite")]:
        copy = folder / path.name
        copy.write_bytes(path.read_bytes())
        interpreter = runtime.Interpreter(copy)
        interpreter.allocate_tensors()
        (detail,) = interpreter.get_input_details()
        x = rng.standard_normal(detail["shape"]).astype(np.float32)
        if detail["dtype"] != np.float32:
            x = rng.integers(-128, 128, detail["shape"])
        np.save(f"{copy}.npy", x.astype(detail["dtype"]))
        interpreter.set_tensor(detail["index"], x.astype(detail["dtype"]))
        interpreter.invoke()
        output = interpreter.get_output_details()[0]["index"]
        wanted[str(copy)] = interpreter.get_tensor(output)
    return wanted


def run(command: list[str], folder: Path) -> str:
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def install(wheel: Path, site: Path, python: list[str], folder: Path) -> None:
    """By this environment's pip, running on the board's Python, which so judges the wheel's tag; a
    wheel of ARM1176 is not for the Cortex-A7 that stands in, so it is unpacked.
    """
    if "armv6l" in wheel.name:
        zipfile.ZipFile(wheel).extractall(site)
        return
    site.mkdir()
    (site / "pip").symlink_to(Path(pip.__file__).parent)
    command = [*python, "-m", "pip", "--disable-pip-version-check", "install", "--no-index"]
    run([*command, "--no-deps", "--no-compile", "--target", str(site), str(wheel)], folder)


@pytest.mark.slow
@pytest.mark.parametrize("board", BOARDS, ids=lambda board: board[0])
def test_a_board_s_wheel_runs_there(board, tmp_path):
    target, architecture, triplet, emulator, cpu, tag = board
    qemu = find_emulator(emulator)
    if qemu is None:
        pytest.skip(f"no {emulator} on this machine: run `make tools`")
    try:
        root = arm_root(architecture)
    except NoRoot as error:
        pytest.skip(f"no Debian for {architecture}: {error}")
    wheel = built(target, tmp_path)
    assert re.fullmatch(rf"rillet_runtime-[\d.]+-py3-none-{tag}\.whl", wheel.name)
    site = tmp_path / "site"
    wanted = prepared(tmp_path)
    libraries = root / "usr/lib" / triplet
    paths = ":".join(str(libraries / name) for name in ("blas", "lapack"))
    play = [qemu, "-L", str(root), "-cpu", cpu, "-E", f"LD_LIBRARY_PATH={paths}"]
    python = [*play, "-E", f"PYTHONPATH={site}", str(root / "usr/bin/python3.11")]
    install(wheel, site, python, tmp_path)
    said = run([*python, "-c", SCRIPT, *wanted], tmp_path)
    assert said.startswith(str(site))
    for path, output in wanted.items():
        found = np.load(f"{path}.out.npy")
        assert found.dtype == output.dtype
        assert compare(found, output, exact=output.dtype != np.float32) == "", path
