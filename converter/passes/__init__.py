# SPDX-License-Identifier: Apache-2.0
"""Rewrites of the IR. A pass is ``(graph) -> bool``: it works in place and says if it changed."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Sequence

from converter import ir
from converter.effects import variables_hidden
from converter.errors import ConversionError
from converter.passes.affine import fold_affine, fuse_bias
from converter.passes.affine_before import fold_affine_before, merge_constants
from converter.passes.composites import outline_composites
from converter.passes.constants import fold_constants
from converter.passes.dead_code import merge_equal_nodes, remove_dead_code
from converter.passes.functions import recognize_functions
from converter.passes.fusion import fuse_activations, fuse_padding, recognize_activations
from converter.passes.layout import move_transposes
from converter.passes.no_ops import remove_no_ops
from converter.passes.products import absorb_transposes, make_fully_connected
from converter.passes.quantized import compute_in_int8
from converter.passes.recurrent import recognize_recurrent
from converter.passes.storage import store_integers
from converter.passes.units import sink_squeezes
from converter.verifier import verify

Pass = Callable[[ir.Graph], bool]
ModelPass = Callable[[ir.Model], bool]

DEFAULT_PASSES: tuple[Pass | ModelPass, ...] = (
    remove_dead_code,
    recognize_recurrent,
    fold_constants,
    remove_no_ops,
    move_transposes,
    sink_squeezes,
    absorb_transposes,
    make_fully_connected,
    recognize_functions,
    fold_affine,
    fuse_bias,
    fold_affine_before,
    merge_constants,
    recognize_activations,
    fuse_activations,
    fuse_padding,
    merge_equal_nodes,
    compute_in_int8,
)
# Run once, behind the others: they hide constants behind nodes.
LAST_PASSES: tuple[Pass, ...] = (store_integers,)
# These look at all graphs of a model at once.
_OF_MODELS: set[Pass | ModelPass] = {outline_composites, recognize_recurrent}
_MOST_ROUNDS = 200
CHECK_VARIABLE = "RILLET_CHECK_PASSES"


def optimize(
    model: ir.Model,
    verbose: bool = False,
    *,
    passes: Sequence[Pass | ModelPass] = DEFAULT_PASSES,
    check: bool | None = None,
) -> bool:
    """Run `passes` over every graph, in place, until none of them changes anything; behind the
    default ones, LAST_PASSES once.

    Returns whether anything changed. `verbose` names each firing on standard error. `check` runs
    the verifier after each pass that fired (default: the variable RILLET_CHECK_PASSES is set).
    Raises ConversionError naming the pass that broke the model or that never settles.
    """
    if check is None:
        check = bool(os.environ.get(CHECK_VARIABLE))
    logger = logging.getLogger("converter.passes")
    handler = logging.StreamHandler(sys.stderr)
    level = logger.level
    if verbose:
        logger.addHandler(handler)
        logger.setLevel(logging.INFO)
    try:
        changed = _to_fixpoint(model, passes, check)
        last = LAST_PASSES if passes is DEFAULT_PASSES else ()
        for run in last:
            changed |= run_pass(model, run, check)
        return changed
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)


def _to_fixpoint(model: ir.Model, passes: Sequence[Pass | ModelPass], check: bool) -> bool:
    changed = False
    for _ in range(_MOST_ROUNDS):
        fired = [p for p in passes if run_pass(model, p, check)]
        if not fired:
            return changed
        changed = True
    names = ", ".join(p.__name__ for p in fired)
    raise ConversionError(f"passes still change the model after {_MOST_ROUNDS} rounds: {names}")


def run_pass(model: ir.Model, run: Pass | ModelPass, check: bool = False) -> bool:
    """Run one pass over a whole model; say whether it changed anything. `check`: verify then."""
    if run in _OF_MODELS:
        fired = run(model)  # type: ignore[arg-type]
    else:
        fired = False
        for graph in model.graphs:
            with variables_hidden(graph):
                fired |= run(graph)  # type: ignore[arg-type]
    if fired and check:
        try:
            verify(model)
        except ConversionError as error:
            raise ConversionError(f"pass {run.__name__} broke the model: {error}") from error
    return fired
