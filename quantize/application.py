# SPDX-License-Identifier: Apache-2.0
"""The recipes as functions from model to model."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from converter.ir import Model
from quantize.calibration import Progress
from quantize.evaluation import Sample
from quantize.full_integer import quantize_statically
from quantize.recipes import Recipe
from quantize.weights_only import halve_weights, quantize_weights_only


def apply(
    model: Model,
    recipe: Recipe,
    calibration: Iterable[Sample] | None = None,
    *,
    progress: Progress | None = None,
    notes: list[str] | None = None,
) -> Model:
    """A new model made by `recipe`; `model` is left as it is.

    `calibration` (static_int8 only) yields samples: arrays, tuples in the inputs' order, or
    mappings by input name. `progress` wraps that iterable, such as ``tqdm.tqdm``. `notes` takes a
    sentence for each thing worth knowing: a node that stays float, a scale that was widened.
    Errors: QuantizationError.
    """
    notes = [] if notes is None else notes
    if recipe.kind == "float16":
        return halve_weights(model, recipe, notes)
    if recipe.kind == "dynamic_int8":
        return quantize_weights_only(model, recipe, notes)
    return quantize_statically(model, recipe, calibration, progress, notes)


def float16(
    model: Model,
    *,
    min_elements: int | None = None,
    overrides: Mapping[str, str] | None = None,
    notes: list[str] | None = None,
) -> Model:
    """Half-size weights: constants of `min_elements` (256) or more are stored as float16."""
    recipe = Recipe("float16", min_elements=min_elements, overrides=overrides or {})
    return apply(model, recipe, notes=notes)


def dynamic_int8(
    model: Model,
    *,
    per_channel: bool = True,
    min_elements: int | None = None,
    overrides: Mapping[str, str] | None = None,
    notes: list[str] | None = None,
) -> Model:
    """int8 weights, of layers with `min_elements` (1024) or more; activations stay float."""
    recipe = Recipe(
        "dynamic_int8",
        per_channel=per_channel,
        min_elements=min_elements,
        overrides=overrides or {},
    )
    return apply(model, recipe, notes=notes)


def static_int8(
    model: Model,
    calibration: Iterable[Sample],
    *,
    method: str = "minmax",
    percentile: float = 99.99,
    per_channel: bool = True,
    io: str = "int8",
    overrides: Mapping[str, str] | None = None,
    progress: Progress | None = None,
    notes: list[str] | None = None,
) -> Model:
    """int8 weights and activations, ranges taken from `calibration`; see :func:`apply`.

    `io` "int8" gives the model int8 inputs and outputs, "float32" keeps them float.
    """
    recipe = Recipe(
        "static_int8",
        method=method,
        percentile=percentile,
        per_channel=per_channel,
        io=io,
        overrides=overrides or {},
    )
    return apply(model, recipe, calibration, progress=progress, notes=notes)
