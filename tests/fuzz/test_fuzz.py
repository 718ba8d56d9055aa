# SPDX-License-Identifier: Apache-2.0
"""`make fuzz`, bounded; and that what it starts from is complete."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from pathlib import Path

import pytest
from fuzz.gen_schema_walk import HEADER, header
from fuzz.make_corpus import CORPUS, LARGEST
from fuzz.run import compile_loop, seeds
from zoo import ROOT

import runtime


@pytest.fixture(scope="session")
def loop() -> Path:
    return compile_loop()


def run(loop: Path, *arguments: object) -> tuple[int, str]:
    """(exit code, what was printed)."""
    command = [str(loop), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    return done.returncode, done.stdout + done.stderr


def counts_of(printed: str) -> dict[str, int]:
    """Status -> mutants, of the last line."""
    words = printed.splitlines()[-1].split("): ")[1].split()
    return {name: int(count) for name, count in zip(words[::2], words[1::2], strict=True)}


def test_the_schema_header_is_what_the_schema_says() -> None:
    assert HEADER.read_text() == header()


def test_the_corpus_has_every_operator() -> None:
    files = sorted(CORPUS.glob("*.tflite"))
    assert sum(path.stat().st_size for path in files) < LARGEST
    found = set()
    for path in files:
        model = runtime.Model(path)
        for graph in range(model.subgraphs):
            session = runtime.interpreter.Session(model, graph)
            found |= {session.node(i).op.decode() for i in range(model.node_count(graph))}
    assert set(runtime.supported_ops()) - found == set(), "run `make fuzz-corpus`"
    rows = (ROOT / "runtime" / "core" / "kernels.def").read_text()
    composites = set(re.findall(r'^RLT_COMPOSITE_KERNEL\("(.+?)",', rows, re.M))
    assert composites and composites - found == set(), "run `make fuzz-corpus`"


def test_every_seed_runs(loop: Path) -> None:
    code, printed = run(loop, "run", *seeds()["ops"])
    assert code == 0, printed[-4000:]
    assert counts_of(printed)["OK"] > 0.9 * len(seeds()["ops"])


def test_every_value_set_to_what_it_must_not_be(loop: Path) -> None:
    """Attributes that divide, indices, shapes, scales: 0, -1, one too many, NaN, infinite."""
    code, printed = run(loop, "each", *seeds()["ops"])
    assert code == 0, printed[-4000:]
    counts = counts_of(printed)
    assert (
        counts["OK"] and counts["BAD_MODEL"] > 10_000 and counts["UNSUPPORTED"] and counts["LIMIT"]
    )


@pytest.mark.parametrize("kind, mutants", [("ops", 20_000), ("models", 500)])
def test_mutants_give_a_status(loop: Path, tmp_path: Path, kind: str, mutants: int) -> None:
    models = seeds().get(kind)
    if not models:
        return  # no public models here
    code, printed = run(loop, "fuzz", mutants, 60, 0, tmp_path, *models)
    assert code == 0, printed[-4000:]
    counts = counts_of(printed)
    assert sum(counts.values()) > mutants / 10  # the whole, unless the machine is busy
    for status in ("OK", "BAD_MODEL", "UNSUPPORTED", "LIMIT", "CANCELLED"):
        assert counts[status] > 0


def test_make_fuzz_ends_in_time() -> None:
    command = ["make", "fuzz", "FUZZ_SECONDS=2"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]
    assert "== ops" in done.stdout and " mutants in " in done.stdout


def test_what_ends_the_process_is_saved(loop: Path, tmp_path: Path) -> None:
    models = seeds()["ops"]
    command = [str(loop), "fuzz", str(10**9), "5", "0", str(tmp_path), *map(str, models)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as parent:
        children = Path(f"/proc/{parent.pid}/task/{parent.pid}/children")
        while not children.read_text():
            time.sleep(0.01)
        os.kill(int(children.read_text()), signal.SIGSEGV)
        printed = parent.communicate(timeout=60)[0].decode()
    saved = list(tmp_path.iterdir())
    assert parent.returncode == 1 and printed.count("FINDING") == len(saved) == 1
    assert f"saved as {saved[0]}" in printed
    assert counts_of(printed)["OK"] > 0  # it went on behind the finding
