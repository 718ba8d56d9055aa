# SPDX-License-Identifier: Apache-2.0
"""rillet.h from C and C++: every function of it is called by tests/runtime/api_driver.c."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import numpy as np
import pytest
import runtime_models as models
from runtime_models import Builder
from zoo import ROOT

import runtime
from converter import ir, write_tflite
from runtime.core.build import build_all, compiler, host_target
from runtime.core.build import run as call

SOURCE = Path(__file__).with_name("api_driver.c")
HEADER = (ROOT / "runtime/include/rillet.h").read_text()


@pytest.fixture(scope="module", params=["c11", "c++17"])
def driver(request, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp(request.param)
    archive = folder / "librillet.a"
    build_all(None, folder / "librillet.so", archive=archive)
    command, flags = compiler(host_target(), False)
    kind = ["-x", "c"] if request.param == "c11" else ["-x", "c++"]
    flags = [*flags, f"-std={request.param}", *kind, "-Wall", "-Wextra", "-Werror", "-O1"]
    include, out = f"-I{ROOT / 'runtime/include'}", folder / "driver"
    link = ["-x", "none", str(archive), "-lpthread", "-o", str(out)]
    call([*command, *flags, include, str(SOURCE), *link], ROOT / "build" / "zig")
    return out


def run(driver: Path, model: bytes, folder: Path, *rows: str) -> list[str]:
    (folder / "m.tflite").write_bytes(model)
    done = subprocess.run([driver, folder / "m.tflite", *rows], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    return done.stdout.splitlines()


def test_the_driver_calls_every_public_function():
    public = set(re.findall(r"^RLT_API[^;(]*?\b(rlt_\w+)\(", HEADER, re.M))
    called = set(re.findall(r"\brlt_\w+(?=\(|;|,)", SOURCE.read_text()))
    assert len(public) > 30 and public - called == set()


def test_every_public_function_is_described():
    """A comment stands before it, or before the group of lines it belongs to."""
    blocks = re.split(r"\n\s*\n", HEADER)
    bare = [b for b in blocks if "RLT_API" in b and "define" not in b and "/*" not in b]
    assert bare == []


@pytest.mark.parametrize("rows", [1, 3])
def test_a_chain_of_layers(driver, tmp_path, rows):
    model = models.dense_stack((4, 8, 3), dynamic=True)
    lines = run(driver, model, tmp_path, *([str(rows)] if rows > 1 else []))
    assert lines[0] == f"version {runtime.__version__}"
    assert "early BAD_STATE" in lines and "first FULLY_CONNECTED" in lines and "custom 0" in lines
    assert any(line.startswith("signature serving_default 0") and line[-1] == "1" for line in lines)
    x = np.arange(4 * rows, dtype=np.float32).reshape(rows, 4)
    interpreter = runtime.Interpreter(model_content=model)
    interpreter.resize_tensor_input(0, (rows, 4))
    interpreter.allocate_tensors()
    assert f"profiled {len(interpreter.nodes())}" in lines
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], x)
    interpreter.invoke()
    wanted = interpreter.get_tensor(interpreter.get_output_details()[0]["index"]).ravel()
    found = [np.float32(line[2:]) for line in lines if line.startswith("y ")]
    np.testing.assert_array_equal(found, wanted)


def test_an_operator_of_the_caller_s(driver, tmp_path):
    b = Builder()
    x, y = b.input((2, 3)), ir.Value("y", "FLOAT32", (2, 3))
    b.graph.add_node("CUSTOM", [x], [y], {}).custom_code = "Twice"
    lines = run(driver, write_tflite(b.model(y)), tmp_path)
    assert "custom 1" in lines
    assert [float(line[2:]) for line in lines if line.startswith("y ")] == [0, 2, 4, 6, 8, 10]
