# SPDX-License-Identifier: Apache-2.0
"""Rows for ensembles of decision trees: every row of the input walks down all trees at once.

The nodes of all trees stand in one table; a place in it is a GATHER away from its feature, its
threshold and the places of its two branches. A leaf branches to itself, so that as many steps as
the deepest tree has levels end at the leaves.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from converter import ir
from converter.importers.builder import Builder
from converter.importers.forms import basic, control
from converter.importers.forms.basic import binary, cast, int32s
from converter.importers.forms.elementwise import compare, is_nan, select
from converter.importers.no_form import NoForm
from converter.importers.onnx.context import Context, Rows
from converter.importers.onnx.rows.scores import labelled, transformed

_COMPARISONS = {
    "BRANCH_LEQ": "LESS_EQUAL", "BRANCH_LT": "LESS", "BRANCH_GTE": "GREATER_EQUAL",
    "BRANCH_GT": "GREATER", "BRANCH_EQ": "EQUAL", "BRANCH_NEQ": "NOT_EQUAL",
}  # fmt: skip
# The same as TreeEnsemble counts them.
_MODES = ("BRANCH_LEQ", "BRANCH_LT", "BRANCH_GTE", "BRANCH_GT", "BRANCH_EQ", "BRANCH_NEQ")
_AGGREGATES = {"SUM": "SUM", "AVERAGE": "MEAN", "MIN": "REDUCE_MIN", "MAX": "REDUCE_MAX"}
_MOST_WRITTEN_OUT = 16  # levels; more are a WHILE


class Forest(NamedTuple):
    """Trees as arrays over their nodes; `roots` has the place of each tree's first node."""

    roots: np.ndarray
    features: np.ndarray
    modes: list[str]
    thresholds: np.ndarray
    branches: np.ndarray  # [nodes, 2]: where it goes if the comparison fails, and if it holds
    missing: np.ndarray  # whether NaN goes where the comparison holds

    def depth(self) -> int:
        """Steps from the roots until every path has ended; NoForm where one is a circle."""
        is_leaf = (self.branches == np.arange(len(self.branches))[:, None]).all(1)
        at, steps = np.unique(self.roots), 0
        while (inner := at[~is_leaf[at]]).size:
            at, steps = np.unique(self.branches[inner]), steps + 1
            if steps > len(self.branches):
                raise NoForm("has trees that are circles: the file is damaged")
        return steps


def leaves_of(b: Builder, forest: Forest, x: ir.Value) -> ir.Value:
    """[n, trees] INT32: the leaf where each row of `x` [n, features] ends in each tree."""
    count = basic.reshape(b, basic.size_of(b, x, 0), [1])
    shape = basic.concat(b, [count, int32s(b, [len(forest.roots)], "trees")], 0)
    at = basic.broadcast_to(b, int32s(b, forest.roots, "roots"), shape)
    depth = forest.depth()
    if depth <= _MOST_WRITTEN_OUT:
        for _ in range(depth):
            at = _step(b, forest, x, at)
        return at
    start = b.constant(0, "level", np.int32)

    def going(inner: Builder, values: list[ir.Value]) -> ir.Value:
        return inner.emit("LESS", [values[0], inner.constant(depth, "depth", np.int32)],
                          dtype="BOOL")  # fmt: skip

    def body(inner: Builder, values: list[ir.Value]) -> list[ir.Value]:
        after = binary(inner, "ADD", values[0], inner.constant(1, "one", np.int32))
        return [after, _step(inner, forest, inner.captured(x), values[1])]

    return control.loop(b, [start, at], going, body)[1]


def _step(b: Builder, forest: Forest, x: ir.Value, at: ir.Value) -> ir.Value:
    """Where each of `at` goes."""

    def table(data: np.ndarray, name: str) -> ir.Value:
        return b.emit("GATHER", [b.constant(data, name), at], axis=0)

    places = table(forest.features.astype(np.int32), "features")
    numbers = b.emit("GATHER", [x, places], axis=1, batch_dims=1)
    limits = table(forest.thresholds.astype(np.float32), "thresholds")
    holds: ir.Value | None = None
    kinds = sorted(set(forest.modes))
    for kind in kinds:
        found = compare(b, _COMPARISONS[kind], numbers, limits)
        if len(kinds) > 1:
            own = table(np.array([mode == kind for mode in forest.modes]), "mode")
            found = b.emit("LOGICAL_AND", [found, own])
        holds = found if holds is None else b.emit("LOGICAL_OR", [holds, found])
    assert holds is not None
    if forest.missing.any():
        lost = b.emit("LOGICAL_AND", [is_nan(b, numbers), table(forest.missing, "missing")])
        holds = b.emit("LOGICAL_OR", [holds, lost])
    fails, goes = (table(forest.branches[:, i].astype(np.int32), "branches") for i in (0, 1))
    return select(b, holds, goes, fails)


def _forest_of_lists(c: Context) -> tuple[Forest, dict[tuple[int, int], int]]:
    """The trees of the old operators, which list nodes as (tree, node); their places."""
    trees, ids = c.attr("nodes_treeids"), c.attr("nodes_nodeids")
    places = {key: i for i, key in enumerate(zip(trees, ids, strict=True))}
    modes = list(c.attr("nodes_modes"))
    branches = np.tile(np.arange(len(modes))[:, None], (1, 2))
    for i, mode in enumerate(modes):
        if mode != "LEAF":
            ends = c.attr("nodes_falsenodeids")[i], c.attr("nodes_truenodeids")[i]
            branches[i] = [places[trees[i], end] for end in ends]
    inner = {m for m in modes if m != "LEAF"} or {"BRANCH_LEQ"}
    if not inner <= _COMPARISONS.keys():
        raise NoForm(f"has nodes of the modes {sorted(inner)}, not all of which are comparisons")
    first = sorted(inner)[0]
    reached = {int(end) for i, pair in enumerate(branches) for end in pair if end != i}
    roots = [i for i in range(len(modes)) if i not in reached]
    if len(roots) != len(set(trees)):
        raise NoForm("has trees without one root each: the file is damaged")
    thresholds = c.attr("nodes_values_as_tensor")
    numbers = np.asarray(c.attr("nodes_values") if thresholds is None else thresholds)
    missing = np.array(c.attr("nodes_missing_value_tracks_true") or [0] * len(modes), bool)
    modes = [first if mode == "LEAF" else mode for mode in modes]
    features = np.where(branches[:, 0] == np.arange(len(modes)), 0, c.attr("nodes_featureids"))
    return Forest(np.array(roots), features, modes, numbers, branches, missing), places


def _weights(c: Context, side: str, count: int) -> tuple[np.ndarray, set[int], bool]:
    """([nodes, outputs] what each leaf adds, the outputs that are ever added to, whether nothing
    that is added is negative).
    """
    forest, places = _forest_of_lists(c)
    given = c.attr(f"{side}_weights_as_tensor")
    numbers = np.asarray(c.attr(f"{side}_weights") if given is None else given, np.float64)
    table = np.zeros((len(forest.modes), count))
    keys = zip(c.attr(f"{side}_treeids"), c.attr(f"{side}_nodeids"), strict=True)
    outputs = c.attr(f"{side}_ids")
    for key, output, number in zip(keys, outputs, numbers, strict=True):
        table[places[key], output] += number
    return table, set(outputs), bool((numbers >= 0).all())


def _base(c: Context) -> np.ndarray:
    given = c.attr("base_values_as_tensor")
    return np.asarray(c.attr("base_values") or [] if given is None else given, np.float32)


def _summed(b: Builder, forest: Forest, x: ir.Value, table: np.ndarray, how: str) -> ir.Value:
    """[n, outputs] what the leaves of all trees give, aggregated."""
    if how not in _AGGREGATES:
        raise NoForm(f"aggregates by {how!r}: use SUM, AVERAGE, MIN or MAX")
    leaves = leaves_of(b, forest, cast(b, x, "FLOAT32"))
    weights = b.constant(table, "weights", np.float32)
    found = b.emit("GATHER", [weights, leaves], axis=0)  # [n, trees, outputs]
    return basic.reduce(b, _AGGREGATES[how], found, [1], False)


def _regressor(c: Context) -> ir.Value:
    forest, _ = _forest_of_lists(c)
    count, how = c.attr("n_targets", 1), c.attr("aggregate_function", "SUM")
    table, outputs, _ = _weights(c, "target", count)
    if how in ("MIN", "MAX") and outputs != {0}:
        raise NoForm("takes the least or largest of several targets: use SUM or AVERAGE")
    y, base = _summed(c.b, forest, c.input(0), table, how), _base(c)
    if base.size:
        y = binary(c.b, "ADD", y, c.b.constant(base, "base"))
    return transformed(c.b, y, c.attr("post_transform", "NONE"))


def _classifier(c: Context) -> list[ir.Value]:
    """(label, scores), as ONNX Runtime decides where two classes have scores of one alone."""
    forest, _ = _forest_of_lists(c)
    texts, numbers = c.attr("classlabels_strings"), c.attr("classlabels_int64s")
    labels = list(texts or numbers or [])
    count = max(len(labels), 1)
    table, outputs, positive = _weights(c, "class", count)
    y, base = _summed(c.b, forest, c.input(0), table, "SUM"), _base(c)
    how = c.attr("post_transform", "NONE")
    if len(labels) != 2 or len(outputs) == 2:
        if base.size not in (0, len(labels)):
            raise NoForm(f"has {base.size} base values for {len(labels)} classes")
        if base.size:
            y = binary(c.b, "ADD", y, c.b.constant(base, "base"))
        best = c.b.emit("ARG_MAX", [y, c.b.constant(1, "axis", np.int32)], dtype="INT32",
                        output_type="INT32")  # fmt: skip
        return [labelled(c.b, labels, best), transformed(c.b, y, how)]
    if outputs != {0} or base.size > 1:
        raise NoForm("has two classes, and weights of the second alone: give both their weights")
    score = basic.slice_axis(c.b, y, 1, 0, 1)
    if base.size:
        score = binary(c.b, "ADD", score, c.b.constant(base, "base"))
    limit = c.b.constant(0.5 if positive else 0.0, "limit", np.float32)
    above = basic.ints(c.b, basic.squeeze(c.b, compare(c.b, "GREATER", score, limit), [1]))
    if how == "LOGISTIC":
        both = c.b.emit("LOGISTIC", [basic.concat(c.b, [c.b.emit("NEG", [score]), score], 1)])
    else:
        one = c.b.constant(1.0 if positive else 0.0, "one", np.float32)
        both = basic.concat(c.b, [binary(c.b, "SUB", one, score), score], 1)
    if how == "PROBIT":
        raise NoForm("transforms the score of one class by PROBIT: use LOGISTIC")
    return [labelled(c.b, labels, above), both]


def _ensemble(c: Context) -> ir.Value:
    """TreeEnsemble: inner nodes and leaves are numbered apart, in all trees together."""
    modes = [int(m) for m in np.asarray(c.attr("nodes_modes")).reshape(-1)]
    if any(m >= len(_MODES) for m in modes):
        raise NoForm("asks for membership in sets, which TFLite lacks: use comparisons")
    inner, leaves = len(modes), len(c.attr("leaf_targetids"))
    ends = []
    for side in ("false", "true"):
        at = np.asarray(c.attr(f"nodes_{side}nodeids"))
        is_leaf = np.asarray(c.attr(f"nodes_{side}leafs"), bool)
        ends.append(np.where(is_leaf, at + inner, at))
    own = np.arange(inner, inner + leaves)
    branches = np.concatenate([np.stack(ends, 1), np.stack([own, own], 1)])
    rest = [0] * leaves
    missing = c.attr("nodes_missing_value_tracks_true") or [0] * inner
    forest = Forest(
        np.asarray(c.attr("tree_roots")),
        np.array([*c.attr("nodes_featureids"), *rest]),
        [_MODES[m] for m in [*modes, *[modes[0]] * leaves]],
        np.array([*np.asarray(c.attr("nodes_splits"), np.float64).reshape(-1), *rest]),
        branches,
        np.array([*missing, *rest], bool),
    )
    table = np.zeros((inner + leaves, c.attr("n_targets")))
    weights = np.asarray(c.attr("leaf_weights"), np.float64).reshape(-1)
    table[own, c.attr("leaf_targetids")] = weights
    how = ("AVERAGE", "SUM", "MIN", "MAX")[c.attr("aggregate_function", 1)]
    if how in ("MIN", "MAX") and table.shape[1] > 1:
        raise NoForm("takes the least or largest of several targets: use SUM or AVERAGE")
    y = _summed(c.b, forest, c.input(0), table, how)
    ways = ("NONE", "SOFTMAX", "LOGISTIC", "SOFTMAX_ZERO", "PROBIT")
    return transformed(c.b, y, ways[c.attr("post_transform", 0)])


ROWS: Rows = {
    "ai.onnx.ml.TreeEnsemble": _ensemble,
    "ai.onnx.ml.TreeEnsembleClassifier": _classifier,
    "ai.onnx.ml.TreeEnsembleRegressor": _regressor,
}
