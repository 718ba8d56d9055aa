# SPDX-License-Identifier: Apache-2.0
"""Trees, linear models and label tables of ai.onnx.ml: what ONNX Runtime computes, here and on
LiteRT.
"""

from __future__ import annotations

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter
from onnx import TensorProto, helper

import converter
import runtime
from converter.conversion import convert
from converter.sources import OnnxSource

FLOAT, INT64, STRING = TensorProto.FLOAT, TensorProto.INT64, TensorProto.STRING
FEATURES = 4


def proved(nodes, outputs, kind=FLOAT, dims=("n", FEATURES), feeds=None):
    """Converts with proof; LiteRT gives the same."""
    ends = [helper.make_tensor_value_info(name, t, None) for name, t in outputs]
    graph = helper.make_graph(
        nodes, "graph", [helper.make_tensor_value_info("x", kind, dims)], ends
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)]
    source = helper.make_model(graph, opset_imports=opsets, ir_version=8)
    feeds = feeds or {"x": np.random.default_rng(1).normal(size=(300, FEATURES)).astype(np.float32)}
    made = convert(OnnxSource(source), feeds=feeds)
    assert made.proof.passed
    ours, theirs = (
        engine(model_content=made.content).get_signature_runner()(**feeds)
        for engine in (runtime.Interpreter, Interpreter)
    )
    for name, value in ours.items():
        if value.dtype == np.float32:
            np.testing.assert_allclose(theirs[name], value, rtol=1e-4, atol=1e-5)
        else:
            np.testing.assert_array_equal(theirs[name], value)
    return ours, made.model


def ml(op, outputs, **attributes):
    return helper.make_node(op, ["x"], outputs.split(), domain="ai.onnx.ml", **attributes)


def forest(trees=5, depth=4, modes=("BRANCH_LEQ",), seed=0, chain=False):
    """(attributes of random trees, the (tree, node) of their leaves)"""
    rng = np.random.default_rng(seed)
    rows, leaves = [], []
    for tree in range(trees):
        count = 0
        todo = [(count, 0)]
        while todo:
            at, level = todo.pop()
            if level == depth or (level > 1 and not chain and rng.random() < 0.2):
                rows.append((tree, at, "LEAF", 0, 0.0, 0, 0))
                leaves.append((tree, at))
                continue
            ends = count + 1, count + 2
            count += 2
            mode = modes[rng.integers(len(modes))]
            rows.append((tree, at, mode, rng.integers(FEATURES), rng.normal(), *ends))
            todo.append((ends[0], level + 1))
            todo.append((ends[1], depth if chain else level + 1))
    keys = ("treeids", "nodeids", "modes", "featureids", "values", "truenodeids", "falsenodeids")
    columns = zip(keys, zip(*rows, strict=True), strict=True)
    return {f"nodes_{key}": list(column) for key, column in columns}, leaves


def weights(side, leaves, outputs, seed=0, low=-1.0):
    """A weight for each of `outputs` at each leaf."""
    rng = np.random.default_rng(seed)
    rows = [(t, n, o, rng.uniform(low, 1)) for t, n in leaves for o in outputs]
    keys = ("treeids", "nodeids", "ids", "weights")
    columns = zip(keys, zip(*rows, strict=True), strict=True)
    return {f"{side}_{key}": list(column) for key, column in columns}


@pytest.mark.parametrize("how", ["SUM", "AVERAGE", "MIN", "MAX"])
def test_regression_by_trees(how):
    nodes, leaves = forest()
    node = ml("TreeEnsembleRegressor", "y", n_targets=1, aggregate_function=how, base_values=[0.3],
              **nodes, **weights("target", leaves, [0]))  # fmt: skip
    proved([node], [("y", FLOAT)])


def test_several_targets_and_modes():
    every = ("BRANCH_LEQ", "BRANCH_LT", "BRANCH_GTE", "BRANCH_GT", "BRANCH_EQ", "BRANCH_NEQ")
    nodes, leaves = forest(modes=every)
    node = ml("TreeEnsembleRegressor", "y", n_targets=3, post_transform="SOFTMAX",
              **nodes, **weights("target", leaves, [0, 2]))  # fmt: skip
    proved([node], [("y", FLOAT)])


def test_missing_numbers_and_deep_trees():
    nodes, leaves = forest(depth=20, chain=True)
    tracks = [int(i % 3 == 0) for i in range(len(nodes["nodes_modes"]))]
    node = ml("TreeEnsembleRegressor", "y", n_targets=1, nodes_missing_value_tracks_true=tracks,
              **nodes, **weights("target", leaves, [0]))  # fmt: skip
    x = np.random.default_rng(1).normal(size=(300, FEATURES)).astype(np.float32)
    x[::5, 1] = np.nan
    _, model = proved([node], [("y", FLOAT)], feeds={"x": x})
    assert "WHILE" in [n.op for n in model.main.nodes]


@pytest.mark.parametrize("labels", ["texts", "numbers"])
@pytest.mark.parametrize("how", ["NONE", "LOGISTIC", "SOFTMAX", "SOFTMAX_ZERO"])
@pytest.mark.parametrize("classes", [2, 3])
def test_classes_by_trees(classes, how, labels):
    names = {"classlabels_strings": ["a", "long", "c"][:classes]}
    if labels == "numbers":
        names = {"classlabels_int64s": [7, -1, 3][:classes]}
    nodes, leaves = forest()
    node = ml("TreeEnsembleClassifier", "label y", post_transform=how, **names, **nodes,
              **weights("class", leaves, range(classes)))  # fmt: skip
    kind = STRING if labels == "texts" else INT64
    proved([node], [("label", kind), ("y", FLOAT)])


@pytest.mark.parametrize("how", ["NONE", "LOGISTIC"])
@pytest.mark.parametrize("low", [0.0, -1.0])
@pytest.mark.parametrize("base", [[], [0.2]])
def test_two_classes_with_weights_of_one(low, how, base):
    nodes, leaves = forest(trees=3)
    if base:
        nodes["base_values"] = base
    node = ml("TreeEnsembleClassifier", "label y", post_transform=how, classlabels_int64s=[0, 1],
              **nodes, **weights("class", leaves, [0], low=low))  # fmt: skip
    proved([node], [("label", INT64), ("y", FLOAT)])


def test_trees_that_are_circles():
    nodes, leaves = forest(trees=1)
    nodes["nodes_truenodeids"][-2:] = [1, 1]
    nodes["nodes_modes"] = ["BRANCH_LEQ"] * len(nodes["nodes_modes"])
    node = ml("TreeEnsembleRegressor", "y", n_targets=1, **nodes, **weights("target", leaves, [0]))
    with pytest.raises(converter.ConversionError, match="damaged"):
        proved([node], [("y", FLOAT)])


@pytest.mark.parametrize("how", ["NONE", "LOGISTIC", "SOFTMAX"])
@pytest.mark.parametrize("classes", [1, 2, 3])
def test_linear_classifiers(classes, how):
    rng = np.random.default_rng(2)
    node = ml("LinearClassifier", "label y", post_transform=how,
              coefficients=rng.normal(size=classes * FEATURES), intercepts=rng.normal(size=classes),
              classlabels_strings=["no", "yes", "perhaps"][: max(classes, 2)])  # fmt: skip
    if classes == 1 and how == "SOFTMAX":
        with pytest.raises(converter.ConversionError, match="one class"):
            proved([node], [("label", STRING), ("y", FLOAT)])
        return
    proved([node], [("label", STRING), ("y", FLOAT)])


@pytest.mark.parametrize("kernel", ["LINEAR", "POLY", "RBF", "SIGMOID"])
@pytest.mark.parametrize("one_class", [0, 1])
def test_support_vectors(kernel, one_class):
    rng = np.random.default_rng(3)
    node = ml("SVMRegressor", "y", kernel_type=kernel, kernel_params=[0.3, 0.5, 3.0],
              coefficients=rng.normal(size=6), support_vectors=rng.normal(size=6 * FEATURES),
              rho=[0.1], n_supports=6, one_class=one_class)  # fmt: skip
    proved([node], [("y", FLOAT)])


def test_maps_of_scores_become_the_scores():
    nodes = [
        ml("LinearClassifier", "label scores", coefficients=[1.0] * 2 * FEATURES,
           intercepts=[0.5, -0.5], classlabels_strings=["z", "a"], post_transform="LOGISTIC"),
        helper.make_node("ZipMap", ["scores"], ["y"], domain="ai.onnx.ml",
                         classlabels_strings=["z", "a"]),
    ]  # fmt: skip
    graph = helper.make_graph(
        nodes, "graph", [helper.make_tensor_value_info("x", FLOAT, ["n", FEATURES])],
        [helper.make_tensor_value_info("label", STRING, None), helper.make_value_info(
            "y", helper.make_sequence_type_proto(helper.make_map_type_proto(
                STRING, helper.make_tensor_type_proto(FLOAT, []))))],
    )  # fmt: skip
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)]
    made = convert(OnnxSource(helper.make_model(graph, opset_imports=opsets, ir_version=8)))
    assert made.proof.passed and made.proof.outputs[1].shape == (2, 2)


@pytest.mark.parametrize(
    "mapping",
    [
        (INT64, FLOAT, {"keys_int64s": [3, 5, 9], "values_floats": [0.5, 1.5, -2.0]}),
        (INT64, STRING, {"keys_int64s": [3, 5, 9], "values_strings": ["a", "b", "c"]}),
        (STRING, INT64, {"keys_strings": ["a", "b"], "values_int64s": [4, 6], "default_int64": 9}),
        (FLOAT, INT64, {"keys_floats": [0.5, float("nan")], "values_int64s": [4, 6]}),
    ],
)
def test_tables_of_labels(mapping):
    kind, result, attributes = mapping
    values = {
        INT64: np.array([[3, 4], [9, 5]]),
        STRING: np.array([["a", "b"], ["b", "other"]], object),
        FLOAT: np.array([[0.5, np.nan], [1, 0.5]], np.float32),
    }
    node = ml("LabelEncoder", "y", **attributes)
    proved([node], [("y", result)], kind, ["n", 2], {"x": values[kind]})


def test_features_of_one_row():
    constant = helper.make_node("Constant", [], ["at"], value_ints=[2, 0])
    node = helper.make_node("ArrayFeatureExtractor", ["x", "at"], ["y"], domain="ai.onnx.ml")
    feeds = {"x": np.array([1, 2, 3], np.float32)}
    ours, _ = proved([constant, node], [("y", FLOAT)], dims=[3], feeds=feeds)
    assert ours["y"].shape == (1, 2)


def test_features_of_no_batch():
    node = helper.make_node("FeatureVectorizer", ["x", "x"], ["y"], domain="ai.onnx.ml",
                            inputdimensions=[3, 3])  # fmt: skip
    feeds = {"x": np.array([1, 2, 3], np.float32)}
    ours, _ = proved([node], [("y", FLOAT)], dims=[3], feeds=feeds)
    assert ours["y"].shape == (1, 6)


def test_features_of_several_axes():
    node = helper.make_node("FeatureVectorizer", ["x", "x"], ["y"], domain="ai.onnx.ml",
                            inputdimensions=[6, 6])  # fmt: skip
    feeds = {"x": np.arange(12, dtype=np.float32).reshape(2, 2, 3)}
    ours, _ = proved([node], [("y", FLOAT)], dims=["n", 2, 3], feeds=feeds)
    assert ours["y"].shape == (2, 12)


@pytest.mark.parametrize("kernel", ["LINEAR", "RBF"])
@pytest.mark.parametrize("how", ["NONE", "LOGISTIC"])
@pytest.mark.parametrize("classes", [2, 4])
def test_classes_by_support_vectors(classes, how, kernel):
    rng = np.random.default_rng(5)
    counts = [3, 2, 4, 1][:classes]
    total, pairs = sum(counts), classes * (classes - 1) // 2
    attributes = {
        "kernel_type": kernel, "kernel_params": [0.3, 0.0, 3.0], "vectors_per_class": counts,
        "coefficients": rng.normal(size=(classes - 1) * total), "rho": rng.normal(size=pairs),
        "support_vectors": rng.normal(size=total * FEATURES), "post_transform": how,
        "classlabels_ints": [5, 3, 8, 1][:classes],
    }  # fmt: skip
    node = ml("SVMClassifier", "label y", **attributes)
    proved([node], [("label", INT64), ("y", FLOAT)])
    coupled = ml("SVMClassifier", "label y", prob_a=[0.5] * pairs, prob_b=[0.1] * pairs,
                 **attributes)  # fmt: skip
    with pytest.raises(converter.ConversionError, match="export the scores alone"):
        proved([coupled], [("label", INT64), ("y", FLOAT)])


def test_texts_at_computed_places():
    texts = ml("LabelEncoder", "texts", keys_floats=[0.0, 1.0, 2.0], values_strings=["a", "b", "c"])
    nodes = [
        texts,
        helper.make_node("ArgMax", ["x"], ["at"], axis=0),
        helper.make_node("ArrayFeatureExtractor", ["texts", "at"], ["y"], domain="ai.onnx.ml"),
    ]
    feeds = {"x": np.array([1, 2, 0], np.float32)}
    ours, _ = proved(nodes, [("y", STRING)], dims=[3], feeds=feeds)
    assert ours["y"].tolist() == [[b"c"]]
