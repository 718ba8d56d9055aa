# SPDX-License-Identifier: Apache-2.0
"""edge_examples/c: compiled against what `rillet build` makes, and run on every kind of machine."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import runtime_models as models
from targets import find_emulator
from zoo import ROOT, zoo_files

import runtime
from runtime.core.build import build_all, run

SOURCE = ROOT / "edge_examples" / "c" / "classify.c"
HERE = Path(__file__).parent
# What the library is built for, how a program for it is compiled, what runs that.
MACHINES = {
    "x86_64": (["-target", "x86_64-linux-gnu.2.17", "-lpthread"], []),
    "aarch64": (
        ["-target", "aarch64-linux-musl", "-static"],
        ["qemu-aarch64", "-cpu", "cortex-a76"],
    ),
    "armv7": (
        ["-target", "arm-linux-musleabihf", "-mcpu=cortex_a7", "-static"],
        ["qemu-arm", "-cpu", "cortex-a7"],
    ),
    "armv6": (
        ["-target", "arm-linux-musleabihf", "-mcpu=arm1176jzf_s", "-static"],
        ["qemu-arm", "-cpu", "arm1176"],
    ),
    "wasm32": (["-target", "wasm32-wasi", "-mcpu=generic+simd128"], ["node"]),
}


def best_class(model: bytes, x: np.ndarray) -> tuple[int, float]:
    """What the program should print."""
    interpreter = runtime.Interpreter(model_content=model)
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], x)
    interpreter.invoke()
    y = interpreter.get_tensor(interpreter.get_output_details()[0]["index"]).ravel()
    return int(np.argmax(y)), float(y.max())


def compiled(target: str, folder: Path, flags: list[str]) -> Path:
    library = folder / target / "librillet.so"
    built = build_all(target, library, archive=library.with_suffix(".a"))
    out = folder / target / "classify"
    zig = [sys.executable, "-m", "ziglang", "cc", *flags, "-O3", "-Wall", "-Wextra", "-Werror"]
    zig += [f"-I{ROOT / 'runtime/include'}", str(SOURCE), str(built.archive), "-o", str(out)]
    run(zig, ROOT / "build" / "zig")
    return out


def play(target: str, program: Path, *arguments: object) -> list[str]:
    """Lines the program prints on a machine; skips where nothing plays it."""
    command = list(MACHINES[target][1])
    if command:
        emulator = find_emulator(command[0])
        if emulator is None:
            remedy = "no node on this machine" if command[0] == "node" else "run `make tools`"
            pytest.skip(f"no {command[0]} on this machine: {remedy}")
        command[0] = emulator
        if command[1:] == []:
            command.append(str(HERE / "wasi.mjs"))
    done = subprocess.run(
        [*command, str(program), *map(str, arguments)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.splitlines()


@pytest.mark.parametrize("target", MACHINES)
def test_the_c_example_runs(target, tmp_path):
    if target == "x86_64" and runtime.core.build.host_target() != "x86_64":
        pytest.skip("this processor lacks x86-64")
    program = compiled(target, tmp_path, MACHINES[target][0])
    model, x = models.dense_stack((4, 8, 7)), np.arange(4, dtype=np.float32)[None]
    cases = [(model, x)]
    for path in zoo_files("models/tflite/vww_96_int8.tflite"):
        rng = np.random.default_rng(3)
        cases.append((path.read_bytes(), rng.integers(-128, 128, (1, 96, 96, 3)).astype(np.int8)))
    for i, (content, value) in enumerate(cases):
        file, inputs = tmp_path / f"{i}.tflite", tmp_path / f"{i}.bin"
        file.write_bytes(content)
        inputs.write_bytes(value.tobytes())
        ((found, score),) = (line.split() for line in play(target, program, file, inputs))
        wanted, wanted_score = best_class(content, value)
        assert int(found) == wanted
        np.testing.assert_allclose(float(score), wanted_score, rtol=2e-5)


def test_the_c_example_says_what_is_wrong(tmp_path):
    program = compiled("x86_64", tmp_path, MACHINES["x86_64"][0])
    broken = tmp_path / "broken.tflite"
    broken.write_bytes(b"no model at all")
    done = subprocess.run([program, broken, broken], capture_output=True, text=True, check=False)
    assert done.returncode == 1 and done.stderr.startswith("BAD_MODEL: ")
    good = tmp_path / "good.tflite"
    good.write_bytes(models.dense_stack((4, 8, 7)))
    done = subprocess.run([program, good, broken], capture_output=True, text=True, check=False)
    assert done.returncode == 1 and "takes 16 bytes" in done.stderr
