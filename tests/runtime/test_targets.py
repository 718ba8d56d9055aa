# SPDX-License-Identifier: Apache-2.0
"""Other processors give this one's results: operators' own test models and public models, on every
machine that an emulator here plays."""

from __future__ import annotations

import functools
from pathlib import Path

import corpus_plugin
import numpy as np
import pytest
from targets import LOOPS, MACHINES, Case, ask, run
from test_zoo_models import MODELS

import runtime

BOUND = 1e-5  # of float outputs that may differ, over their largest magnitude
FUSES = runtime.best_isa() in ("avx2", "avx512", "neon", "neon_dot")  # here


def compare(found: np.ndarray, wanted: np.ndarray, exact: bool) -> str:
    """What is wrong with an output, if anything."""
    if wanted.dtype.kind not in "fc":
        differ = int((found != wanted).sum())
        return f"{differ} of {wanted.size} {wanted.dtype} values differ" if differ else ""
    size = wanted.itemsize // (2 if wanted.dtype.kind == "c" else 1)
    a, b = (np.atleast_1d(array).view(f"f{size}") for array in (found, wanted))
    same = (a.view(f"u{size}") == b.view(f"u{size}")) | (np.isnan(a) & np.isnan(b))
    if exact or same.all():
        return "" if same.all() else f"{int((~same).sum())} of {same.size} floats differ"
    finite = np.isfinite(b)
    if not same[~finite].all() or not np.isfinite(a[finite]).all():
        return "NaN or infinity elsewhere"
    magnitude = max(np.abs(b[finite]).astype(np.float64).max(initial=0.0), 1e-30)
    error = np.abs(a[finite].astype(np.float64) - b[finite]).max(initial=0.0) / magnitude
    return f"error {error:.2e}" if error > BOUND else ""


def differences(found: list[np.ndarray] | str, wanted: list[np.ndarray] | str, exact: bool) -> str:
    """What is wrong with a model's outputs; empty where nothing is."""
    if isinstance(found, str) or isinstance(wanted, str):  # refused, there as here
        return ""
    pairs = enumerate(zip(found, wanted, strict=True))
    words = [(i, compare(a, b, exact)) for i, (a, b) in pairs]
    return "; ".join(f"output {i}: {word}" for i, word in words if word)


def either(found, wanted, flushed) -> list[np.ndarray] | str:
    """What is wanted, or where that is not found what comes of denormals taken for zero."""
    if isinstance(found, str) or isinstance(flushed, str):
        return wanted
    near = functools.partial(np.isclose, rtol=BOUND, atol=0.0, equal_nan=True)
    return [
        b if b.dtype == object else np.where(near(a, b), b, c)
        for a, b, c in zip(found, wanted, flushed, strict=True)
    ]


def check(machine, cases, folder, isa="best", threads=1) -> None:
    """Every case gives on the machine what it gives here: the same bits, also of floats where both
    fuse multiplication and addition or both do not; else floats near. Machines that take denormals
    for zero may do so.
    """
    wrong = []
    fuses = machine.fuses(isa)
    exact = not machine.flushes and (FUSES or not fuses)
    results = run(machine, cases, folder, isa, threads)
    for case, found in zip(cases, results, strict=True):
        wanted = case.expected if fuses else case.unfused
        words = differences(found, wanted, exact)
        if words and machine.flushes:
            flushed = case.outputs("" if fuses else "scalar", flush=True)
            words = differences(found, either(found, wanted, flushed), exact)
        if words:
            ops = ", ".join(node["op"] for node in runtime.Interpreter(case.model).nodes())
            wrong.append(f"{case.model.name} ({ops[:60]}): {words}")
    assert not wrong, f"{machine}, {isa}: {len(wrong)} of {len(cases)}\n" + "\n".join(wrong[:20])


def cases_of(folder: Path, every: int) -> list[Case]:
    """Models that every n-th test of the operators runs."""
    models = corpus_plugin.collect(folder, every)
    pairs = [(model, model.with_suffix(".inputs")) for model in models]
    cases = [Case(model, inputs) for model, inputs in pairs if inputs.exists()]
    return [case for case in cases if case.is_plain]


@pytest.fixture(scope="module")
def sample(tmp_path_factory) -> list[Case]:
    """A part of the operators' test models; the whole under `slow`."""
    cases = cases_of(tmp_path_factory.mktemp("sample"), every=12)
    assert len(cases) > 300
    return cases


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> list[Case]:
    """All of the operators' test models."""
    cases = cases_of(tmp_path_factory.mktemp("corpus"), every=1)
    assert len(cases) > 1000
    return cases


def as_bytes(outputs: list[np.ndarray] | str) -> list[bytes] | str:
    if isinstance(outputs, str):
        return outputs
    return [b"\0".join(a.flat) if a.dtype == object else a.tobytes() for a in outputs]


def zoo_case(path: Path, folder: Path) -> Case:
    """A public model with random inputs: normal floats, integers over the whole type."""
    rng = np.random.default_rng(2024)
    parts = []
    for detail in runtime.Interpreter(path).get_input_details():
        shape, dtype = detail["shape"], np.dtype(detail["dtype"])
        if dtype.kind == "f":
            value = rng.standard_normal(shape).astype(dtype)
        else:
            info = np.iinfo(dtype)
            value = rng.integers(info.min, info.max, shape, dtype, endpoint=True)
        parts.append(value.tobytes())
    inputs = folder / f"{path.stem}.inputs"
    inputs.write_bytes(b"".join(parts))
    return Case(path, inputs)


SMALL = [path for path in MODELS if path.stem in ("ad01_int8", "kws_ref_model", "vww_96_float")]


@pytest.mark.parametrize("machine", MACHINES, ids=str)
def test_the_best_instruction_set_is_found(machine):
    assert ask(machine, "isa") == [machine.isa]


@pytest.mark.parametrize("machine", MACHINES, ids=str)
def test_operators_give_the_same_results(machine, sample, tmp_path):
    check(machine, sample, tmp_path)


@pytest.mark.parametrize("machine", [m for m in LOOPS if m.isa != "neon_dot"], ids=str)
def test_the_scalar_loops_give_the_same_results(machine, sample, tmp_path):
    check(machine, sample, tmp_path, isa="scalar")


@pytest.mark.parametrize("machine", [m for m in LOOPS if m.target != "wasm32"], ids=str)
def test_threads_do_not_change_the_results(machine, sample, tmp_path):
    cases = sample[::3]
    one = run(machine, cases, tmp_path)
    for threads in (2, 3):
        many = run(machine, cases, tmp_path, threads=threads)
        for case, a, b in zip(cases, one, many, strict=True):
            assert as_bytes(a) == as_bytes(b), (case.model, threads)


@pytest.mark.parametrize("machine", LOOPS, ids=str)
@pytest.mark.parametrize("path", SMALL, ids=lambda path: path.stem)
def test_public_models_give_the_same_results(machine, path, tmp_path):
    check(machine, [zoo_case(path, tmp_path)], tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("machine", MACHINES, ids=str)
def test_every_operator_test_model_gives_the_same_results(machine, corpus, tmp_path):
    check(machine, corpus, tmp_path)
    if machine in LOOPS and machine.isa != "neon_dot":
        check(machine, corpus, tmp_path, isa="scalar")


@pytest.mark.slow
@pytest.mark.conformance
@pytest.mark.parametrize("machine", [m for m in MACHINES if m.cpu != "max"], ids=str)
@pytest.mark.parametrize("path", MODELS, ids=lambda path: path.stem)
def test_every_public_model_gives_the_same_results(machine, path, tmp_path):
    check(machine, [zoo_case(path, tmp_path)], tmp_path)


# ---- loops ----

WEIGHTED = {"CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED"}
# The MobileNets of the zoo, by the stems of their files; vww is a MobileNet too.
MOBILENETS = [path for path in MODELS if any(name in path.stem for name in ("mobilenet", "vww"))]


def check_loops(path: Path, isa: str, lines: list[tuple[str, str]]) -> None:
    """Every operator with weights runs a loop of the instruction set."""
    weighted = [line for line in lines if line[0] in WEIGHTED]
    assert len(weighted) > 20
    bare = {
        op
        for op, loop in weighted
        if not loop.endswith((f"__{isa}", f"__{isa.removesuffix('_dot')}"))
    }
    assert not bare


@pytest.mark.parametrize("path", MOBILENETS, ids=lambda path: path.stem)
@pytest.mark.parametrize("isa", ["avx2", "avx512"])
def test_no_weighted_operator_is_scalar_on_x86(path, isa, monkeypatch):
    ranks = ["scalar", "avx2", "avx512"]
    best = runtime.best_isa()
    if best not in ranks or ranks.index(best) < ranks.index(isa):
        pytest.skip(f"this processor lacks {isa}")
    monkeypatch.setenv("RILLET_ISA", isa)
    interpreter = runtime.Interpreter(path)
    interpreter.allocate_tensors()
    check_loops(path, isa, [(node["op"], node["loop"] or "-") for node in interpreter.nodes()])


@pytest.mark.parametrize("path", MOBILENETS, ids=lambda path: path.stem)
@pytest.mark.parametrize("machine", LOOPS, ids=str)
def test_no_weighted_operator_is_scalar_elsewhere(path, machine):
    lines = [tuple(line.split(" ", 1)) for line in ask(machine, "loops", machine.isa, path)]
    check_loops(path, machine.isa, lines)
