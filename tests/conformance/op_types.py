# SPDX-License-Identifier: Apache-2.0
"""Which operators take which types: asked of LiteRT by running it, and of this runtime.

An op-sized model per operator and combination of types (the rows of ``op_rows``) is opened,
allocated and run in a process of its own making, so that a crash costs one case and not the run.
``make operators`` writes what was found: ``accepted.txt`` (what LiteRT runs), ``refused.txt``
(what of it this runtime does not run, and why) and ``docs/operators.md``.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import conformance.elementwise_rows
import conformance.shape_rows
import conformance.state_rows
import conformance.weighted_rows  # noqa: F401
import numpy as np
from ai_edge_litert.interpreter import Interpreter as LiteRT
from conformance.op_rows import cases
from single_op import OpModel, single_op

import runtime
from converter import ir, schema
from converter.op_versions import op_version

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
_IMPORTS = (ROOT, ROOT / "tests", ROOT / "tests" / "runtime")
SECONDS_PER_CASE = 10
HIGHEST_VERSION = 24

Case = tuple[str, str]  # operator, types
Build = Callable[[], OpModel]


@dataclass(frozen=True)
class Answer:
    """What an interpreter made of a case: None for success, else its words."""

    refusal: str | None

    @property
    def accepted(self) -> bool:
        return self.refusal is None


def builders() -> dict[Case, Callable[[], OpModel]]:
    """Every case and what builds its model."""
    found: dict[Case, Callable[[], OpModel]] = {}
    for op, types, build in cases():
        assert (op, types) not in found, f"{op} {types} has two rows"
        found[op, types] = build
    return found


def outputs(engine: str, model: OpModel) -> list[np.ndarray]:
    """Every output of `model` on "litert" or "rillet"."""
    if engine == "litert":
        interpreter = LiteRT(model_content=model.content, num_threads=1)
    else:
        interpreter = runtime.Interpreter(model_content=model.content)
    interpreter.allocate_tensors()
    for detail, value in zip(interpreter.get_input_details(), model.feeds, strict=True):
        interpreter.set_tensor(detail["index"], value)
    interpreter.invoke()
    return [interpreter.get_tensor(d["index"]) for d in interpreter.get_output_details()]


def work(first: int, answer: Callable[[Case, Build], Any]) -> None:
    """Answers cases from number `first` on, one JSON line each; may die on any of them."""
    for number, (case, build) in enumerate(builders().items()):
        if number < first:
            continue
        signal.alarm(SECONDS_PER_CASE)
        print(json.dumps([number, answer(case, build)]), flush=True)


def ask_workers(module: str, *arguments: str) -> dict[Case, Any]:
    """What ``python -m module --worker *arguments first``, which calls `work`, answers to every
    case; "crash" and how where it died."""
    wanted = list(builders())
    found: dict[Case, Any] = {}
    while len(found) < len(wanted):
        done = subprocess.run(
            [sys.executable, "-m", module, "--worker", *arguments, str(len(found))],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, _IMPORTS))},
        )
        for line in done.stdout.decode().splitlines():
            if line.startswith("["):
                number, answer = json.loads(line)
                found[wanted[number]] = answer
        if len(found) < len(wanted):
            found[wanted[len(found)]] = f"crash (exit status {done.returncode})"
    return found


def refusal(engine: str, build: Build) -> str | None:
    """Why `engine` does not run a model, None if it does."""
    try:
        outputs(engine, build())
    except Exception as error:  # whatever it is, it is the answer
        return " ".join(str(error).split()) or type(error).__name__
    return None


def ask(engine: str) -> dict[Case, Answer]:
    """What `engine` answers to every case."""
    answers = ask_workers("conformance.op_types", engine)
    return {case: Answer(answer) for case, answer in answers.items()}


def litert_version(op: str, build: Callable[[], OpModel]) -> int:
    """Highest version of `op` that LiteRT has registered; 0 for none."""
    highest = 0
    for version in range(1, HIGHEST_VERSION + 1):

        def forced(node: ir.Node, version: int = version) -> int:
            return version if node.op == op else op_version(node)

        with mock.patch("converter.writer.op_version", forced):
            content = build().content
        try:
            LiteRT(model_content=content)
        except (ValueError, RuntimeError) as error:
            if "Didn't find op" in str(error):
                continue
        highest = version
    return highest


def unlisted_ops() -> Iterator[str]:
    """Operators of the schema without a row here that LiteRT has a kernel for and we do not."""
    listed = {op for op, _ in builders()}
    for op in schema.ENUMS["BuiltinOperator"].members:
        if op in listed or op in ("CUSTOM", "DELEGATE", "PLACEHOLDER_FOR_GREATER_OP_CODES"):
            continue
        model = single_op(op, [np.zeros(1, np.float32)])
        try:
            LiteRT(model_content=model.content)
        except (ValueError, RuntimeError) as error:
            if "Didn't find op" in str(error) or "unresolved" in str(error).lower():
                continue
        try:
            runtime.Interpreter(model_content=model.content)
        except runtime.RilletError as error:
            if "no kernel" in str(error):
                yield op


def read_rows(name: str) -> dict[Case, str]:
    """Rows ``operator | types | words`` of a data file beside this one."""
    found = {}
    for line in (HERE / name).read_text().splitlines():
        if line and not line.startswith("#"):
            op, types, words = (part.strip() for part in line.split("|", 2))
            found[op, types] = words
    return found


if __name__ == "__main__":
    if sys.argv[1:2] == ["--worker"]:
        work(int(sys.argv[3]), lambda case, build: refusal(sys.argv[2], build))
    else:
        sys.exit("the tables are written by: python -m conformance.tables")
