# SPDX-License-Identifier: Apache-2.0
"""Labels and scores of the classifiers of ai.onnx.ml, and rows for the linear ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from converter import ir
from converter.importers.builder import Builder
from converter.importers.forms import basic, products
from converter.importers.forms.basic import binary, cast, scalar
from converter.importers.forms.elementwise import compare, is_nan, select
from converter.importers.no_form import NoForm
from converter.importers.onnx import types
from converter.importers.onnx.context import Context, Rows


def table_of(b: Builder, values: Sequence[Any], name: str = "labels") -> ir.Value:
    """A constant of texts, integers or floats."""
    if values and isinstance(values[0], (str, bytes)):
        data = np.empty(len(values), object)
        data[:] = [v.encode() if isinstance(v, str) else v for v in values]
        return b.constant(data, name)
    kind = np.float32 if any(isinstance(v, float) for v in values) else np.int64
    return b.constant(list(values), name, kind)


def labelled(b: Builder, labels: Sequence[Any], places: ir.Value) -> ir.Value:
    """The label at each of `places`."""
    table = table_of(b, labels)
    return b.emit("GATHER", [table, places], dtype=table.dtype, axis=0)


def transformed(b: Builder, scores: ir.Value, how: str) -> ir.Value:
    """[n, classes] scores behind a post_transform."""
    if how == "NONE":
        return scores
    if how == "LOGISTIC":
        return b.emit("LOGISTIC", [scores])
    if how == "SOFTMAX":
        return b.emit("SOFTMAX", [scores], beta=1.0)
    if how == "SOFTMAX_ZERO":  # scores of 0 stay, and take no part
        nothing = compare(b, "EQUAL", scores, scalar(b, 0, scores))
        high = basic.reduce(b, "REDUCE_MAX", scores, [1], True)
        powers = b.emit("EXP", [binary(b, "SUB", scores, high)])
        powers = select(b, nothing, scalar(b, 0, scores), powers)
        total = basic.reduce(b, "SUM", powers, [1], True)
        return binary(b, "DIV", powers, binary(b, "MAXIMUM", total, scalar(b, 1e-30, total)))
    raise NoForm(f"transforms its scores by {how}: use NONE, LOGISTIC or SOFTMAX")


def _linear_classifier(c: Context) -> list[ir.Value]:
    labels = list(c.attr("classlabels_strings") or c.attr("classlabels_ints") or [])
    terms = np.asarray(c.attr("intercepts") or [], np.float32)
    count = len(terms) or len(labels)
    weights = np.asarray(c.attr("coefficients"), np.float32).reshape(count, -1)
    y = products.matmul(c.b, cast(c.b, c.input(0), "FLOAT32"), c.b.constant(weights), False, True)
    if len(terms):
        y = binary(c.b, "ADD", y, c.b.constant(terms, "terms"))
    how = c.attr("post_transform", "NONE")
    if count == 1:
        if len(labels) != 2 or how not in ("NONE", "LOGISTIC"):
            raise NoForm("has scores of one class, and other than two labels: give both theirs")
        above = compare(c.b, "GREATER", y, scalar(c.b, 0, y))
        best = basic.ints(c.b, basic.squeeze(c.b, above, [1]))
        y = transformed(c.b, y, how)
        y = basic.concat(c.b, [binary(c.b, "SUB", scalar(c.b, 1, y), y), y], 1)
        return [labelled(c.b, labels, best), y]
    axis = c.b.constant(1, "axis", np.int32)
    best = c.b.emit("ARG_MAX", [y, axis], dtype="INT32", output_type="INT32")
    return [labelled(c.b, labels, best), transformed(c.b, y, how)]


def _label_encoder(c: Context) -> ir.Value:
    """The value of each element's key; the default where it is none of the keys."""
    x = c.input(0)
    keys, values, default = _mapping(c)
    table = table_of(c.b, keys, "keys")
    if table.dtype != x.dtype:
        table = cast(c.b, table, x.dtype)
    rank = basic.rank(c.b, x)
    spread = basic.unsqueeze(c.b, x, [rank])
    same = compare(c.b, "EQUAL", spread, table)
    lost = [k for k, key in enumerate(keys) if isinstance(key, float) and key != key]
    if lost and c.opset >= 4:  # before, NaN is no key
        own = np.isin(np.arange(len(keys)), lost)
        nan = c.b.emit("LOGICAL_AND", [is_nan(c.b, spread), c.b.constant(own, "nan")])
        same = c.b.emit("LOGICAL_OR", [same, nan])
    # the first key that is the same, or the place behind all of them
    places = c.b.constant(np.arange(len(keys)), "places", np.int32)
    behind = c.b.constant(len(keys), "none", np.int32)
    at = basic.reduce(c.b, "REDUCE_MIN", select(c.b, same, places, behind), [rank], False)
    found = labelled(c.b, [*values, default], at)
    tensor = c.attr("values_tensor")
    if tensor is None or found.dtype == "STRING":
        return found
    return cast(c.b, found, ir.dtype_name(types.settled(tensor).dtype))


def _mapping(c: Context) -> tuple[list[Any], list[Any], Any]:
    """(keys, values, default)"""
    if c.opset < 2:
        classes = list(c.attr("classes_strings") or [])
        if c.input(0).dtype == "STRING":
            return classes, list(range(len(classes))), c.attr("default_int64", -1)
        return list(range(len(classes))), classes, c.attr("default_string", "_Unused")

    def given(side: str) -> list[Any]:
        tensor = c.attr(f"{side}_tensor")
        if tensor is not None:
            return list(tensor.reshape(-1).tolist())
        kinds = ("strings", "int64s", "floats")
        return next((list(v) for k in kinds if (v := c.attr(f"{side}_{k}"))), [])

    keys, values = given("keys"), given("values")
    if not keys or len(keys) != len(values):
        raise NoForm(f"has {len(keys)} keys and {len(values)} values: the file is damaged")
    tensor = c.attr("default_tensor")
    if tensor is not None:
        return keys, values, tensor.reshape(-1).tolist()[0]
    if isinstance(values[0], (str, bytes)):
        return keys, values, c.attr("default_string", "_Unused")
    if isinstance(values[0], float):
        return keys, values, float(c.attr("default_float", -0.0))
    return keys, values, c.attr("default_int64", -1)


def _zip_map(c: Context) -> ir.Value:
    """A list of maps from labels to scores: the scores, in the order of the labels."""
    return c.input(0)


ROWS: Rows = {
    "ai.onnx.ml.LabelEncoder": _label_encoder,
    "ai.onnx.ml.LinearClassifier": _linear_classifier,
    "ai.onnx.ml.ZipMap": _zip_map,
}
