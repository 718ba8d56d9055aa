# SPDX-License-Identifier: Apache-2.0
"""Builds for a few models: how large they are, what they run, and what they refuse."""

from __future__ import annotations

import contextlib
import functools
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
from composite_models import composite, gru_parts, lstm_parts, norm_parts, rms_parts
from conformance.op_types import builders
from single_op import ISAS, OpModel
from targets import find_emulator
from test_targets import compare, zoo_case
from zoo import ROOT, zoo_files

import converter
import runtime
from rillet.building import selection
from runtime.core.build import RUNTIME, build, build_all

HERE = Path(__file__).parent
WORK = ROOT / "build"
MOBILENET = zoo_files("models/tflite/tf2_mobilenet_v2_1.0_224_ptq.tflite")


PACKED = {"INT4", "UINT4", "INT2"}  # which Python unpacks, and the driver does not


def kinds_of(content: bytes) -> set[selection.NodeKind]:
    with tempfile.NamedTemporaryFile(suffix=".tflite") as file:
        Path(file.name).write_bytes(content)
        return selection.node_kinds([file.name])


@functools.cache
def known() -> list[tuple[OpModel, frozenset[selection.NodeKind]]]:
    """Conformance rows that can be read, and the kinds of their nodes."""
    found = []
    for make in builders().values():
        model = make()
        with contextlib.suppress(converter.ConversionError):
            found.append((model, frozenset(kinds_of(model.content))))
    return found


def outputs_of(model: OpModel) -> list[np.ndarray] | None:
    """What this machine computes; None where it refuses the model or NumPy has not its types."""
    try:
        interpreter = runtime.Interpreter(model_content=model.content)
        interpreter.allocate_tensors()
        for detail, value in zip(interpreter.get_input_details(), model.feeds, strict=True):
            interpreter.set_tensor(detail["index"], value)
        interpreter.invoke()
        return [interpreter.get_tensor(d["index"]) for d in interpreter.get_output_details()]
    except runtime.RilletError:
        return None


def rows(fits) -> list[tuple[OpModel, list[np.ndarray]]]:
    """Conformance rows whose nodes `fits` accepts and this machine runs, with its outputs."""
    found = []
    for model, kinds in known():
        graph = converter.read_tflite(model.content).main if all(map(fits, kinds)) else None
        if graph is None or any(value.dtype in PACKED for value in graph.inputs + graph.outputs):
            continue
        plain = all(array.dtype.kind in "biufc" for array in model.feeds)
        outputs = outputs_of(model) if plain else None
        if outputs is not None and all(array.dtype.kind in "biufc" for array in outputs):
            found.append((model, outputs))
    return found


def check(command: list[str], cases: list[tuple[OpModel, list[np.ndarray]]], folder: Path) -> None:
    """Runs the driver on all cases; integer outputs are this machine's, floats near."""
    lines = []
    for i, (model, _) in enumerate(cases):
        path = folder / f"{i}"
        path.with_suffix(".tflite").write_bytes(model.content)
        path.with_suffix(".in").write_bytes(b"".join(value.tobytes() for value in model.feeds))
        lines.append(f"{path}.tflite {path}.in {path}.out")
    (folder / "list").write_text("\n".join(lines) + "\n")
    done = subprocess.run(
        [*command, "run", "best", "1", str(folder / "list")], capture_output=True, text=True
    )
    assert done.returncode == 0, (done.returncode, done.stdout[-500:], done.stderr[-500:])
    wrong = []
    for i, ((model, outputs), said) in enumerate(zip(cases, done.stdout.splitlines(), strict=True)):
        data = (folder / f"{i}.out").read_bytes() if said == "OK" else b""
        for wanted in outputs:
            part, data = data[: wanted.nbytes], data[wanted.nbytes :]
            if said != "OK" or len(part) != wanted.nbytes:
                wrong.append(f"{model.op}: {said}")
                break
            array = np.frombuffer(part, wanted.dtype).reshape(wanted.shape)
            if words := compare(array, wanted, exact=False):
                wrong.append(f"{model.op}: {words}")
    assert not wrong, f"{len(wrong)} of {len(cases)}\n" + "\n".join(wrong[:20])


def driver(target: str, kinds: set[selection.NodeKind], out: Path) -> Path:
    chosen = selection.select(kinds, WORK)
    return build(target, out, program=HERE / "op_driver.c", static=True, selection=chosen)


def test_every_kernel_has_a_source():
    in_core = {name for path in (RUNTIME / "core").glob("*.c") for name in path.read_text().split()}
    text = " ".join(in_core)
    for symbol in selection._kernel_rows().values():
        short = symbol.removeprefix("rlt_kernel_")
        assert symbol in selection.owners() or short in text, symbol


@pytest.mark.skipif(not MOBILENET, reason="got empty parameter set: no public models here")
def test_a_build_for_mobilenet_is_small_and_runs_its_operators_on_arm(tmp_path):
    kinds = selection.node_kinds(MOBILENET)
    chosen = selection.select(kinds, WORK)
    library = tmp_path / "librillet.so"
    built = build_all("aarch64", library, archive=tmp_path / "librillet.a", selection=chosen)
    assert library.stat().st_size < 150_000
    assert any("neon_dot" in path.name for path in built.objects)
    qemu = find_emulator("qemu-aarch64")
    if qemu is None:
        pytest.skip("no qemu-aarch64 on this machine: run `make tools`")
    program = driver("aarch64", kinds, tmp_path / "driver")
    cases = rows(lambda kind: kind in kinds)
    assert len(cases) >= len(kinds)
    case = zoo_case(MOBILENET[0], tmp_path)
    feed = np.frombuffer(case.inputs.read_bytes(), np.uint8)
    whole = OpModel("MobileNetV2", MOBILENET[0].read_bytes(), [feed])
    for cpu in ("cortex-a53", "cortex-a76"):
        check([qemu, "-cpu", cpu, str(program)], [*cases, (whole, case.expected)], tmp_path)
    other = OpModel("FLOOR", rows(lambda kind: kind.op == "FLOOR")[0][0].content)
    with pytest.raises(
        AssertionError, match="this build lacks FLOOR of FLOAT32; rebuild with --ops"
    ):
        check([qemu, str(program)], [(other, [np.zeros(1)])], tmp_path)


# A type, and those that its operators' nodes have besides.
FAMILIES = {
    "INT8": {"INT32", "INT64", "BOOL"},
    "UINT8": {"INT32", "INT64", "BOOL"},
    "INT16": {"INT8", "INT32", "INT64", "BOOL"},
    "FLOAT32": {"INT32", "INT64", "BOOL"},
    "FLOAT16": {"FLOAT32", "INT32", "INT64", "BOOL"},
    "INT4": {"INT8", "FLOAT32", "INT32", "INT64"},
    "INT32": {"INT64", "BOOL"},
    "UINT32": {"INT32", "UINT64", "INT64"},
    "FLOAT64": {"INT32", "INT64", "BOOL"},
    "BOOL": {"INT32"},
}


def run_alone(fits, folder: Path) -> int:
    """Runs the rows that `fits` takes in one build for these alone, where a loop left out wrongly
    would be a call of nothing; returns how many."""
    cases = rows(fits)
    kinds = {kind for model, _ in cases for kind in kinds_of(model.content)}
    check([str(driver("x86_64", kinds, folder / "driver"))], cases, folder)
    return len(cases)


@pytest.mark.parametrize(
    "type_",
    [pytest.param(name, marks=() if name == "INT8" else pytest.mark.slow) for name in FAMILIES],
)
def test_what_a_type_does_not_need_is_not_called(type_, tmp_path):
    """All operators on one type."""
    types = {type_, *FAMILIES[type_]}
    assert run_alone(lambda kind: type_ in kind.types and kind.types <= types, tmp_path) > 9


@pytest.mark.slow
@pytest.mark.parametrize("first", range(16))
def test_what_an_operator_does_not_need_is_not_called(first, tmp_path):
    """All types of every 16th operator: ten that have little to do with each other."""
    ops = set(sorted({case[0] for case in builders()})[first::16])
    assert run_alone(lambda kind: (kind.custom or kind.op) in ops, tmp_path) > 50


@pytest.mark.slow
def test_all_rows_run_in_a_build_for_them(tmp_path):
    assert run_alone(lambda kind: True, tmp_path) > 1000


def test_composites_have_their_kernels_and_their_decompositions(tmp_path):
    rng = np.random.default_rng(0)
    x, row = rng.standard_normal((5, 9)).astype(np.float32), np.ones(9, np.float32)
    norm = composite("rillet.layer_norm", norm_parts(0.1), [x, row, row], {"epsilon": 0.1}, [1, 2])
    other = composite("rillet.rms_norm", rms_parts(0.1), [x, row], {"epsilon": 0.1}, version=9)
    args = [rng.standard_normal(s).astype(np.float32) for s in ((3, 2, 4), (9, 4), (9, 3), 9, 9)]
    args.append(np.zeros((2, 3), np.float32))
    gru = composite("rillet.gru", gru_parts(True), args, {"reset_after": 1}, [1, 2, 3, 4])
    args = [rng.standard_normal(s).astype(np.float32) for s in ((3, 2, 4), (12, 4), (12, 3), 12)]
    args += [np.zeros((2, 3), np.float32)] * 2
    lstm = composite("rillet.lstm", lstm_parts, args, {}, [1, 2, 3])
    kinds = {kind for model in (norm, gru, lstm) for kind in kinds_of(model.content)}
    chosen = selection.select(kinds, WORK)
    text = (chosen.folder / "selected_kernels.def").read_text()
    assert "rlt_kernel_layer_norm)" in text and "rlt_kernel_gru)" in text
    assert "rlt_kernel_rms_norm)" not in text and "rlt_kernel_attention)" not in text
    assert {"layer_norm", "gru", "lstm_layer", "lstm_float"} <= chosen.kernels
    assert not {"attention", "lstm", "lstm_integer"} & chosen.kernels
    cases = [(model, outputs_of(model)) for model in (norm, other, gru, lstm)]
    check([str(driver("x86_64", kinds, tmp_path / "driver"))], cases, tmp_path)  # type: ignore[arg-type]


RUN = """
import sys, numpy as np, runtime
interpreter = runtime.Interpreter(sys.argv[1])
interpreter.allocate_tensors()
rng = np.random.default_rng(5)
for detail in interpreter.get_input_details():
    x = rng.standard_normal(detail["shape"]).astype(np.float32)
    if detail["dtype"] != np.float32:
        info = np.iinfo(detail["dtype"])
        x = rng.integers(info.min, info.max, detail["shape"], endpoint=True)
    interpreter.set_tensor(detail["index"], x.astype(detail["dtype"]))
interpreter.invoke()
outputs = [interpreter.get_tensor(d["index"]) for d in interpreter.get_output_details()]
np.savez(sys.argv[2], *outputs)
"""


@pytest.mark.slow
@pytest.mark.parametrize("model", zoo_files("models/tflite/*.tflite"), ids=lambda path: path.stem)
def test_a_public_model_runs_on_its_own_build_as_on_the_whole(model, tmp_path):
    """On every instruction set of this machine, to the bit."""
    host = runtime.core.build.host_target()
    chosen = selection.select(selection.node_kinds([model]), WORK)
    library = build(host, tmp_path / "librillet.so", selection=chosen)
    whole = build(host, tmp_path / "whole" / "librillet.so")
    assert library.stat().st_size < whole.stat().st_size / 1.5
    for isa in ISAS:
        found = []
        for path in (whole, library):
            out = path.with_suffix(".npz")
            env = {**os.environ, "RILLET_LIBRARY": str(path), "RILLET_ISA": isa}
            command = [sys.executable, "-c", RUN, str(model), str(out)]
            done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True)
            assert done.returncode == 0, (path, isa, done.stderr)
            with np.load(out) as arrays:
                found.append([arrays[name] for name in arrays.files])
        for wanted, own in zip(*found, strict=True):
            np.testing.assert_array_equal(own, wanted)


@pytest.mark.skipif(not MOBILENET, reason="got empty parameter set: no public models here")
def test_the_command_makes_a_library_that_refuses_other_models(tmp_path):
    """On this machine, through Python."""
    command = [sys.executable, "-m", "rillet", "build", "--target", "linux-x64", "--json"]
    done = subprocess.run(
        [*command, "--ops", str(MOBILENET[0]), "--out", str(tmp_path)],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert {p.name for p in tmp_path.iterdir()} == {"librillet.so", "librillet.a", "rillet.h"}
    if runtime.core.build.host_target() != "x86_64":
        return
    script = (
        "import sys, runtime\n"
        "runtime.Interpreter(sys.argv[1]).allocate_tensors()\n"
        "try: runtime.Interpreter(sys.argv[2])\n"
        "except runtime.RilletError as error: print(error.status, error)"
    )
    (other,) = zoo_files("models/tflite/vww_96_float.tflite")
    env = {**os.environ, "RILLET_LIBRARY": str(tmp_path / "librillet.so")}
    run = [sys.executable, "-c", script, str(MOBILENET[0]), str(other)]
    done = subprocess.run(run, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("UNSUPPORTED") and "rebuild with --ops" in done.stdout
