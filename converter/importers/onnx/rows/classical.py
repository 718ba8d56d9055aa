# SPDX-License-Identifier: Apache-2.0
"""Rows of the domain ai.onnx.ml that are arithmetic."""

from __future__ import annotations

import math

import numpy as np

from converter import ir
from converter.importers.forms import basic, gathering, products, reduction
from converter.importers.forms.basic import binary, cast, scalar
from converter.importers.forms.elementwise import absolute, affine, compare, is_nan, select
from converter.importers.no_form import NoForm
from converter.importers.onnx.context import Context, Rows
from converter.importers.onnx.rows.scores import labelled, table_of, transformed


def _vector(c: Context, name: str, default: float) -> ir.Value:
    return c.b.constant(c.attr(name) or [default], name, np.float32)


def _scaler(c: Context) -> ir.Value:
    x = cast(c.b, c.input(0), "FLOAT32")
    return binary(
        c.b, "MUL", binary(c.b, "SUB", x, _vector(c, "offset", 0)), _vector(c, "scale", 1)
    )


def _normalizer(c: Context) -> ir.Value:
    x, norm = cast(c.b, c.input(0), "FLOAT32"), c.attr("norm", "MAX")
    if norm == "MAX":
        size = reduction.reduce(c.b, "REDUCE_MAX", x, [-1], True)
    elif norm == "L1":
        size = reduction.reduce(c.b, "SUM", absolute(c.b, x), [-1], True)
    else:
        size = reduction.root(
            c.b, reduction.reduce(c.b, "SUM", reduction.square(c.b, x), [-1], True)
        )
    return binary(c.b, "DIV", x, size)


def _binarizer(c: Context) -> ir.Value:
    x = c.input(0)
    above = compare(c.b, "GREATER", x, scalar(c.b, c.attr("threshold", 0.0), x))
    return cast(c.b, above, x.dtype)


def _imputer(c: Context) -> ir.Value:
    x = c.input(0)
    values = c.attr("imputed_value_floats") or c.attr("imputed_value_int64s")
    if not values:
        raise NoForm("has no values to put in: the file is damaged")
    missing = c.attr("replaced_value_float" if x.dtype == "FLOAT32" else "replaced_value_int64", 0)
    lacks = is_nan(c.b, x) if missing != missing else compare(
        c.b, "EQUAL", x, scalar(c.b, missing, x))  # fmt: skip
    return select(c.b, lacks, c.b.constant(values, "values", ir.numpy_dtype(x.dtype)), x)


def _linear_regressor(c: Context) -> ir.Value:
    if c.attr("post_transform", "NONE") != "NONE":
        raise NoForm("transforms its result: use post_transform NONE, and the op behind it")
    x, targets = cast(c.b, c.input(0), "FLOAT32"), c.attr("targets", 1)
    weights = np.asarray(c.attr("coefficients"), np.float32).reshape(targets, -1)
    y = products.matmul(c.b, x, c.b.constant(weights, "weights"), False, True)
    terms = c.attr("intercepts")
    return y if not terms else binary(c.b, "ADD", y, c.b.constant(terms, "terms", np.float32))


def _one_hot(c: Context) -> ir.Value:
    x = c.input(0)
    names = c.attr("cats_strings") if x.dtype == "STRING" else c.attr("cats_int64s")
    if not names:
        raise NoForm(f"has no categories for an input of {x.dtype}: the file is damaged")
    if x.dtype != "STRING":
        x = cast(c.b, x, "INT64")
    x = basic.unsqueeze(c.b, x, [basic.rank(c.b, x)])
    return cast(c.b, compare(c.b, "EQUAL", x, table_of(c.b, names, "categories")), "FLOAT32")


def _feature_vectorizer(c: Context) -> ir.Value:
    rows = []
    for value in c.inputs():
        x, dims = cast(c.b, value, "FLOAT32"), c.b.dims(value)
        if len(dims) == 1:
            x = basic.unsqueeze(c.b, x, [0])
        elif len(dims) > 2:
            x = basic.reshape(c.b, x, [dims[0], math.prod(c.b.fixed_dims(basic.slice_axis(
                c.b, x, 0, 0, 1), "its input"))])  # fmt: skip
        rows.append(x)
    return basic.concat(c.b, rows, -1)


def _array_feature(c: Context) -> ir.Value:
    at, x = basic.reshape(c.b, c.input(1), [-1]), c.input(0)
    found = gathering.gather(c.b, x, at, -1)
    return basic.unsqueeze(c.b, found, [0]) if basic.rank(c.b, x) == 1 else found


def _kernel(c: Context, x: ir.Value, vectors: np.ndarray) -> ir.Value:
    """[n, vectors] the kernel of each row of `x` with each vector."""
    kind = c.attr("kernel_type", "LINEAR")
    gamma, shift, degree = c.attr("kernel_params") or [0.0, 0.0, 0.0]
    if kind == "RBF":
        apart = c.b.emit(
            "SQUARED_DIFFERENCE", [basic.unsqueeze(c.b, x, [1]), c.b.constant(vectors, "vectors")]
        )
        distance = reduction.reduce(c.b, "SUM", apart, [-1], False)
        return c.b.emit("EXP", [affine(c.b, distance, -gamma, 0)])
    found = products.matmul(c.b, x, c.b.constant(vectors, "vectors"), False, True)
    if kind == "LINEAR":
        return found
    found = affine(c.b, found, gamma, shift)
    if kind == "SIGMOID":
        return c.b.emit("TANH", [found])
    return binary(c.b, "POW", found, scalar(c.b, degree, found))


def _svm_regressor(c: Context) -> ir.Value:
    x, count = cast(c.b, c.input(0), "FLOAT32"), c.attr("n_supports", 0)
    weights = np.asarray(c.attr("coefficients"), np.float32)
    if count:
        vectors = np.asarray(c.attr("support_vectors"), np.float32).reshape(count, -1)
        x = _kernel(c, x, vectors)
    y = products.matmul(c.b, x, c.b.constant(weights.reshape(1, -1), "weights"), False, True)
    y = affine(c.b, y, 1, float((c.attr("rho") or [0.0])[0]))
    if c.attr("one_class", 0):
        above = compare(c.b, "GREATER", y, scalar(c.b, 0, y))
        return select(c.b, above, scalar(c.b, 1, y), scalar(c.b, -1, y))
    return transformed(c.b, y, c.attr("post_transform", "NONE"))


def _svm_classifier(c: Context) -> list[ir.Value]:
    """(label, scores): every pair of classes has a score, and votes for one of them."""
    if c.attr("prob_a"):
        raise NoForm("couples its scores into probabilities step by step: export the scores alone")
    counts = c.attr("vectors_per_class") or []
    if not counts:
        raise NoForm("has no support vectors: write it as a LinearClassifier")
    labels = list(c.attr("classlabels_strings") or c.attr("classlabels_ints") or [])
    total, classes = sum(counts), len(counts)
    given = np.asarray(c.attr("coefficients"), np.float32).reshape(classes - 1, total)
    vectors = np.asarray(c.attr("support_vectors"), np.float32).reshape(total, -1)
    ends = np.cumsum([0, *counts])
    pairs = [(i, j) for i in range(classes) for j in range(i + 1, classes)]
    table = np.zeros((len(pairs), total), np.float32)
    votes = np.zeros((len(pairs), classes), np.float32)  # what a score above 0 adds
    for row, (i, j) in enumerate(pairs):
        table[row, ends[i] : ends[i + 1]] = given[j - 1, ends[i] : ends[i + 1]]
        table[row, ends[j] : ends[j + 1]] = given[i, ends[j] : ends[j + 1]]
        votes[row, i], votes[row, j] = 1, -1
    kernels = _kernel(c, cast(c.b, c.input(0), "FLOAT32"), vectors)
    scores = products.matmul(c.b, kernels, c.b.constant(table, "weights"), False, True)
    scores = binary(c.b, "ADD", scores, c.b.constant(c.attr("rho"), "rho", np.float32))
    won = cast(c.b, compare(c.b, "GREATER", scores, scalar(c.b, 0, scores)), "FLOAT32")
    counted = products.matmul(c.b, won, c.b.constant(votes, "votes"))
    rest = c.b.constant((votes < 0).sum(0), "others", np.float32)
    best = c.b.emit(
        "ARG_MAX",
        [binary(c.b, "ADD", counted, rest), c.b.constant(1, "axis", np.int32)],
        dtype="INT32",
        output_type="INT32",
    )
    if classes == 2:
        scores = basic.concat(c.b, [c.b.emit("NEG", [scores]), scores], 1)
    how = c.attr("post_transform", "NONE")
    return [labelled(c.b, labels, best), transformed(c.b, scores, how)]


ROWS: Rows = {
    "ai.onnx.ml.ArrayFeatureExtractor": _array_feature,
    "ai.onnx.ml.Binarizer": _binarizer,
    "ai.onnx.ml.FeatureVectorizer": _feature_vectorizer,
    "ai.onnx.ml.Imputer": _imputer,
    "ai.onnx.ml.LinearRegressor": _linear_regressor,
    "ai.onnx.ml.SVMClassifier": _svm_classifier,
    "ai.onnx.ml.SVMRegressor": _svm_regressor,
    "ai.onnx.ml.Normalizer": _normalizer,
    "ai.onnx.ml.OneHotEncoder": _one_hot,
    "ai.onnx.ml.Scaler": _scaler,
}
