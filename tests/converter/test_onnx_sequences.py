# SPDX-License-Identifier: Apache-2.0
"""Sequences and optionals of known lengths: what ONNX Runtime computes, here and on LiteRT."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto, helper
from onnx_models import FLOAT, model_of
from test_onnx_computed import INT64, agrees, floats, integers, node

import converter

CONSTANTS = {
    "zero": np.array(0),
    "last": np.array(-1),
    "two": np.array(2),
    "sizes": integers(1, 4),
}
CASES = {
    "split, at": [node("SplitToSequence", "x", "s", axis=1, keepdims=0),
                  node("SequenceAt", "s last")],
    "split in twos": [node("SplitToSequence", "x two", "s", axis=1), node("SequenceAt", "s two")],
    "split, join": [node("SplitToSequence", "x sizes", "s", axis=1),
                    node("ConcatFromSequence", "s", axis=1)],
    "stack": [node("Neg", "x", "z"), node("SequenceConstruct", "x z", "s"),
              node("ConcatFromSequence", "s", axis=-1, new_axis=1)],
    "insert, erase": [node("SequenceEmpty", "", "e"), node("SequenceInsert", "e x", "s"),
                      node("Neg", "x", "z"), node("SequenceInsert", "s z zero", "t"),
                      node("SequenceInsert", "t x", "u"), node("SequenceErase", "u last", "v"),
                      node("ConcatFromSequence", "v", axis=0)],
    "length": [node("SplitToSequence", "x", "s", axis=1), node("SequenceLength", "s", "n"),
               node("Cast", "n", "c", to=FLOAT), node("Mul", "x c")],
    "optional": [node("Optional", "x", "o"), node("OptionalHasElement", "o", "h"),
                 node("OptionalGetElement", "o", "z"), node("Cast", "h", "c", to=FLOAT),
                 node("Add", "z c")],
}  # fmt: skip


def without_empty_inputs(nodes):
    for one in nodes:
        if list(one.input) == [""]:
            del one.input[:]
    return nodes


@pytest.mark.parametrize("name", CASES)
def test_sequences(name):
    nodes = without_empty_inputs(CASES[name])
    used = {i for n in nodes for i in n.input}
    constants = [(k, v) for k, v in CONSTANTS.items() if k in used]
    agrees(nodes, [("x", ["n", 5])], [{"x": floats(2, 5)}, {"x": floats(3, 5)}], constants)


def test_a_computed_position():
    nodes = [node("SplitToSequence", "x", "s", axis=1), node("SequenceAt", "s at")]
    feeds = [{"x": floats(2, 5), "at": np.array(at)} for at in (0, 4, -2)]
    agrees(nodes, [("x", [2, 5]), ("at", [], INT64)], feeds)


def loop(count):
    """Collects a sequence, one tensor a step."""
    infos = [helper.make_tensor_value_info("i", INT64, []),
             helper.make_tensor_value_info("on", TensorProto.BOOL, []),
             helper.make_tensor_sequence_value_info("s", FLOAT, None)]  # fmt: skip
    outs = [helper.make_tensor_value_info("going", TensorProto.BOOL, []),
            helper.make_tensor_sequence_value_info("grown", FLOAT, None)]  # fmt: skip
    inner = [node("Cast", "i", "f", to=FLOAT), node("Add", "x f", "z"),
             node("SequenceInsert", "s z", "grown"), node("Identity", "on", "going")]  # fmt: skip
    body = helper.make_graph(inner, "body", infos, outs)
    nodes = [node("SequenceEmpty", "", "e"), node("Loop", f"{count}  e", "s2", body=body),
             node("ConcatFromSequence", "s2", axis=0)]  # fmt: skip
    return without_empty_inputs(nodes)


def test_loops_that_collect_sequences():
    agrees(loop("three"), [("x", [2])], [{"x": floats(2)}], [("three", np.array(3))])
    with pytest.raises(converter.ConversionError, match="constant trip count"):
        agrees(loop("count"), [("x", [2]), ("count", [], INT64)], [])


def test_maps():
    body = helper.make_graph(
        [node("Mul", "item scale", "out")],
        "body",
        [helper.make_tensor_value_info(n, FLOAT, None) for n in ("item", "scale")],
        [helper.make_tensor_value_info("out", FLOAT, None)],
    )
    nodes = [
        node("SplitToSequence", "x", "s", axis=1),
        node("SequenceMap", "s scale", "t", body=body),
        node("ConcatFromSequence", "t", axis=0),
    ]
    feeds = [{"x": floats(2, 5), "scale": floats(1)}]
    agrees(nodes, [("x", [2, 5]), ("scale", [1])], feeds)


def test_sequences_where_tensors_are_wanted():
    nodes = [node("SplitToSequence", "x", "s", axis=1), node("Neg", "s")]
    with pytest.raises(converter.ConversionError, match="reads the sequence 's'"):
        converter.from_onnx(model_of(nodes, [("x", [2, 5])], [("y", None)]))
    with pytest.raises(converter.ConversionError, match="is a sequence"):
        converter.from_onnx(model_of(nodes[:1], [("x", [2, 5])], [("s", None)]))
