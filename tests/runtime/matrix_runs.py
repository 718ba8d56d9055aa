# SPDX-License-Identifier: Apache-2.0
"""One input through one model: on this runtime with a capped ISA, and on LiteRT."""

from __future__ import annotations

import os
from unittest import mock

import numpy as np
from ai_edge_litert.interpreter import Interpreter as LiteRT
from ai_edge_litert.interpreter import OpResolverType
from matrix_models import Case

import runtime

ISAS = ["scalar", "avx2", "avx512"]
if runtime.best_isa() in ISAS:
    ISAS = ISAS[: ISAS.index(runtime.best_isa()) + 1]


def interpreter(case: Case, isa: str, threads: int = 1) -> runtime.Interpreter:
    """Allocated, with the input set."""
    with mock.patch.dict(os.environ, {"RILLET_ISA": isa}):
        it = runtime.Interpreter(model_content=case.model, num_threads=threads)
        it.allocate_tensors()
    for detail, value in zip(it.get_input_details(), case.inputs, strict=True):
        it.set_tensor(detail["index"], value)
    return it


def run(case: Case, isa: str, threads: int = 1) -> np.ndarray:
    it = interpreter(case, isa, threads)
    it.invoke()
    return it.get_tensor(it.get_output_details()[0]["index"])


def run_litert(case: Case, *, reference: bool = False) -> np.ndarray:
    resolver = OpResolverType.BUILTIN_REF if reference else OpResolverType.AUTO
    it = LiteRT(model_content=case.model, experimental_op_resolver_type=resolver)
    it.allocate_tensors()
    for detail, value in zip(it.get_input_details(), case.inputs, strict=True):
        it.set_tensor(detail["index"], value)
    it.invoke()
    return it.get_tensor(it.get_output_details()[0]["index"])


def relative_error(found: np.ndarray, wanted: np.ndarray, typical: float = 0.0) -> float:
    """Largest difference over the largest magnitude wanted, or a `typical` one where that is more.

    In a small output every sum may happen to cancel.
    """
    scale = max(float(np.abs(wanted).max(initial=0.0)), typical) or 1.0
    difference = np.abs(found.astype(np.float64) - wanted.astype(np.float64))
    return float(difference.max(initial=0.0)) / scale
