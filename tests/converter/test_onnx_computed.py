# SPDX-License-Identifier: Apache-2.0
"""Sizes, places and counts that are computed while an ONNX model runs: what ONNX Runtime computes,
at several sizes, here and on LiteRT.
"""

from __future__ import annotations

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter
from onnx import TensorProto, helper
from onnx_models import FLOAT, engine_of, model_of

import converter
import runtime
from converter.conversion import convert
from converter.sources import OnnxSource

RNG = np.random.default_rng(7)
INT64 = TensorProto.INT64


def node(op, inputs, outputs="y", **attributes):
    return helper.make_node(op, inputs.split(" "), outputs.split(" "), **attributes)


def floats(*dims):
    return RNG.normal(size=dims).astype(np.float32)


def integers(*numbers):
    return np.array(numbers, np.int64)


def agrees(nodes, inputs, feeds, constants=(), outputs=("y",), opset=17):
    """Both runtimes give what ONNX Runtime gives for each of `feeds`."""
    kinds = {"places": INT64}
    ends = [(name, None, kinds.get(name, FLOAT)) for name in outputs]
    source = model_of(nodes, inputs, ends, constants, opset=opset)
    source.ir_version = 9
    session = engine_of(source)
    model = converter.from_onnx(source)
    converter.optimize(model)
    content = converter.write_tflite(model)
    for given in feeds:
        wanted = session.run(list(outputs), given)
        for engine in (runtime.Interpreter, Interpreter):
            found = engine(model_content=content).get_signature_runner()(**given)
            for name, want in zip(outputs, wanted, strict=True):
                assert found[name].shape == want.shape and found[name].dtype == want.dtype
                np.testing.assert_allclose(found[name], want, rtol=1e-5, atol=1e-5)


SLICES = {
    "one axis of three": ("x begin end axis", {"axis": integers(1)}, [(1, 3), (0, -1), (-3, 99)]),
    "backwards": ("x begin end axis step", {"axis": integers(1), "step": integers(-1)},
                  [(4, 1), (-1, -99)]),
    "to the end": ("x begin last axis", {"axis": integers(-1), "last": integers(2**63 - 1)},
                   [(1, 0), (-2, 0)]),
}  # fmt: skip


@pytest.mark.parametrize("name", SLICES)
def test_slices(name):
    order, constants, places = SLICES[name]
    inputs = [("x", ["n", 6, 5]), ("begin", [1], INT64), ("end", [1], INT64)]
    used = [i for i in inputs if i[0] in order.split(" ")]
    feeds = []
    for rows, (begin, end) in enumerate(places, 1):
        values = {"x": floats(rows, 6, 5), "begin": integers(begin), "end": integers(end)}
        feeds.append({name: values[name] for name, *_ in used})
    agrees([node("Slice", order)], used, feeds, list(constants.items()))


def test_reshape_that_keeps_dynamic_sizes():
    nodes = [
        node("Shape", "x", "shape", start=0, end=1),
        node("Concat", "shape rest", "target", axis=0),
        node("Reshape", "x target"),
    ]
    feeds = [{"x": floats(2, 6, 4)}, {"x": floats(3, 2, 4)}]
    agrees(nodes, [("x", ["n", "m", 4])], feeds, [("rest", integers(0, 2, -1))])


@pytest.mark.parametrize("mode", ["constant", "reflect"])
def test_pads(mode):
    feeds = [{"x": floats(2, 6, 5), "pads": integers(1, 0, 2, 3)},
             {"x": floats(1, 4, 5), "pads": integers(0, 0, 0, 1)}]  # fmt: skip
    inputs = [("x", ["n", "m", 5]), ("pads", [4], INT64)]
    nodes = [node("Pad", "x pads  axes", mode=mode)]
    agrees(nodes, inputs, feeds, [("axes", integers(1, -1))], opset=18)


@pytest.mark.parametrize("mode", ["edge", "wrap"])
def test_pads_from_inside_of_dynamic_sizes(mode):
    feeds = [{"x": floats(2, 6)}, {"x": floats(1, 4)}]
    nodes = [node("Pad", "x pads", mode=mode)]
    agrees(nodes, [("x", ["n", "m"])], feeds, [("pads", integers(0, 2, 0, 3))], opset=19)


def test_splits():
    equal = [node("Split", "x", "y z", axis=1)]
    feeds = [{"x": floats(2, 6)}, {"x": floats(1, 4)}]
    agrees(equal, [("x", ["n", "m"])], feeds, outputs=("y", "z"))
    agrees(equal, [("x", ["n", 6])], feeds[:1], outputs=("y", "z"))
    uneven = [node("Split", "x", "y z w", axis=1, num_outputs=3)]
    feeds = [{"x": floats(2, 7)}, {"x": floats(1, 9)}]
    agrees(uneven, [("x", ["n", "m"])], feeds, outputs=("y", "z", "w"), opset=18)
    feeds = [
        {"x": floats(5, 3), "sizes": integers(2, 3)},
        {"x": floats(4, 3), "sizes": integers(1, 3)},
    ]
    inputs = [("x", ["n", 3]), ("sizes", [2], INT64)]
    agrees([node("Split", "x sizes", "y z")], inputs, feeds, outputs=("y", "z"))


def test_top_k():
    feeds = [{"x": floats(2, 7), "k": integers(3)}, {"x": floats(1, 4), "k": integers(4)}]
    inputs = [("x", ["n", "m"]), ("k", [1], INT64)]
    agrees([node("TopK", "x k", "y places")], inputs, feeds, outputs=("y", "places"))


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_gather_and_scatter_elements(axis):
    def feed(n, m):
        at = RNG.permuted(np.tile(np.arange(3), (n, m, 1)), axis=2)
        at = np.moveaxis(np.tile(np.arange(2), (3, 2, 1)), 2, axis) if axis < 2 else at
        return {"x": floats(n, m, 4), "at": at.astype(np.int64), "new": floats(*at.shape)}

    feeds = [feed(4, 3), feed(3, 5)]
    at = ["a", "b", "c"] if axis < 2 else ["n", "m", 3]
    inputs = [("x", ["n", "m", 4]), ("at", at, INT64)]
    gathered = [{k: v for k, v in f.items() if k != "new"} for f in feeds]
    agrees([node("GatherElements", "x at", axis=axis)], inputs, gathered)
    inputs.append(("new", at))
    agrees([node("ScatterElements", "x at new", axis=axis)], inputs, feeds)


def test_gather_nd_of_batches():
    feeds = [
        {"x": floats(n, 4, 5), "at": RNG.integers(0, 4, (n, m, 1))} for n, m in ((2, 3), (3, 1))
    ]
    inputs = [("x", ["n", 4, 5]), ("at", ["n", "m", 1], INT64)]
    agrees([node("GatherND", "x at", batch_dims=1)], inputs, feeds)


def test_triangles_and_eyes():
    feeds = [{"x": floats(3, 5)}, {"x": floats(4, 2)}]
    inputs = [("x", ["n", "m"])]
    agrees([node("EyeLike", "x", k=1)], inputs, feeds)
    agrees([node("Trilu", "x k", upper=0)], inputs, feeds, [("k", np.array(-1))])
    feeds = [{**f, "k": np.array(k)} for f, k in zip(feeds, (1, 0), strict=True)]
    agrees([node("Trilu", "x k")], [*inputs, ("k", [], INT64)], feeds)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("auto", ["SAME_UPPER", "SAME_LOWER"])
def test_same_padding_of_dynamic_sizes(auto, stride):
    feeds = [{"x": floats(1, 2, 6, 9)}, {"x": floats(2, 2, 7, 8)}]
    inputs = [("x", ["n", 2, "h", "w"])]
    window = {"auto_pad": auto, "strides": [stride, stride]}
    filters = [("w", floats(3, 2, 3, 2))]
    nodes = [
        [node("Conv", "x w", **window)],
        [node("MaxPool", "x", kernel_shape=[2, 3], **window)],
        [node("AveragePool", "x", kernel_shape=[2, 3], **window)],
    ]
    for one in nodes:
        constants = filters if one[0].op_type == "Conv" else ()
        if auto == "SAME_LOWER" and stride == 2:
            with pytest.raises(converter.ConversionError, match="dynamic size"):
                agrees(one, inputs, feeds, constants)
        else:
            agrees(one, inputs, feeds, constants)


def test_same_padding_of_dynamic_sizes_that_has_no_form():
    inputs = [("x", ["n", 2, "h", "w"])]
    window = {"auto_pad": "SAME_UPPER", "strides": [2, 2], "kernel_shape": [3, 3]}
    for one in (
        node("MaxPool", "x", dilations=[2, 2], **window),
        node("AveragePool", "x", count_include_pad=1, **window),
        node("LpPool", "x", **window),
    ):
        with pytest.raises(converter.ConversionError, match="dynamic size"):
            agrees([one], inputs, [], opset=19)


@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
@pytest.mark.parametrize("op", ["LSTM", "GRU", "RNN"])
def test_recurrent_layers_of_any_batch_and_length(op, direction):
    gates, ways = {"LSTM": 4, "GRU": 3, "RNN": 1}[op], 1 + (direction == "bidirectional")
    constants = [("w", floats(ways, gates * 5, 3)), ("r", floats(ways, gates * 5, 5) / 3)]
    nodes = [node(op, "x w r", "y h", hidden_size=5, direction=direction)]
    feeds = [{"x": floats(7, 1, 3)}, {"x": floats(2, 3, 3)}]
    agrees(nodes, [("x", ["length", "batch", 3])], feeds, constants, outputs=("y", "h"))


def test_scan_whose_results_are_no_state():
    body = helper.make_graph(
        [node("Add", "state part", "after"), node("Tanh", "after", "out")],
        "body",
        [helper.make_tensor_value_info(n, FLOAT, None) for n in ("state", "part")],
        [helper.make_tensor_value_info(n, FLOAT, None) for n in ("after", "out")],
    )
    nodes = [node("Scan", "start x", "last y", body=body, num_scan_inputs=1)]
    feeds = [{"start": floats(n), "x": floats(t, n)} for t, n in ((4, 3), (40, 2))]
    inputs = [("start", ["n"]), ("x", ["length", "n"])]
    agrees(nodes, inputs, feeds, outputs=("last", "y"))


@pytest.mark.parametrize("onesided", [0, 1])
def test_fourier_transforms_of_dynamic_signals(onesided):
    feeds = [{"x": floats(1, 40)}, {"x": floats(2, 61)}]
    constants = [("step", np.array(10)), ("window", floats(16)), ("frame", np.array(16))]
    nodes = [node("STFT", "x step window frame", onesided=onesided)]
    agrees(nodes, [("x", ["n", "length"])], feeds, constants)
    feeds = [{"x": floats(1, 3, 8, 1)}, {"x": floats(2, 5, 8, 1)}]
    agrees([node("DFT", "x", axis=2, onesided=onesided)], [("x", ["n", "m", 8, 1])], feeds)


def test_elements_of_nothing():
    """Where no box is left, nothing is gathered, and LiteRT divides by no size."""
    nodes = [
        node("NonZero", "x", "found"),
        node("Squeeze", "found axes", "at"),
        node("Gather", "x at", "kept"),
        node("Gather", "kept at", "twice"),
        node("ReduceSum", "twice", keepdims=0),
    ]
    feeds = [{"x": np.zeros(3, np.float32)}, {"x": np.array([2, 0, 0], np.float32)}]
    agrees(nodes, [("x", [3])], feeds, [("axes", integers(0))])


def test_boxes_of_any_number():
    nodes = [node("NonMaxSuppression", "boxes scores most overlap least", "places")]
    constants = [("most", np.array([3])), ("overlap", np.array([0.4], np.float32)),
                 ("least", np.array([0.1], np.float32))]  # fmt: skip
    feeds = []
    for count in (2, 9):
        corner = RNG.uniform(0, 1, (1, count, 2))
        boxes = np.concatenate([corner, corner + RNG.uniform(0.3, 1, (1, count, 2))], 2)
        scores = RNG.uniform(0, 1, (1, 2, count))
        feeds.append({"boxes": boxes.astype(np.float32), "scores": scores.astype(np.float32)})
    inputs = [("boxes", [1, "n", 4]), ("scores", [1, 2, "n"])]
    agrees(nodes, inputs, feeds, constants, outputs=("places",))


@pytest.mark.parametrize("ends", ["by count", "by condition", "at once"])
def test_loops_that_gather_an_unknown_number_of_results(ends):
    infos = [helper.make_tensor_value_info(*i) for i in (
        ("i", INT64, []), ("on", TensorProto.BOOL, []), ("state", FLOAT, [2]))]  # fmt: skip
    inner = [node("Add", "state one", "after"), node("Tanh", "after", "out")]
    if ends == "by condition":
        inner += [
            node("ReduceMax", "after", "high", keepdims=0),
            node("Less", "high limit", "going"),
        ]
    else:
        inner.append(node("Identity", "on", "going"))
    outs = [helper.make_tensor_value_info(n, t, None) for n, t in (
        ("going", TensorProto.BOOL), ("after", FLOAT), ("out", FLOAT))]  # fmt: skip
    body = helper.make_graph(inner, "body", infos, outs)
    nodes = [node("Loop", "count  x", "last y", body=body)]
    constants = [("one", np.float32(1)), ("limit", np.float32(5))]
    counts = {"by count": (3, 1, 40), "by condition": (2, 30), "at once": (1, 2)}[ends]
    feeds = [{"x": floats(2), "count": np.array(count)} for count in counts]
    agrees(nodes, [("x", [2]), ("count", [], INT64)], feeds, constants, outputs=("last", "y"))


def test_a_loop_that_gathers_without_a_limit_is_refused():
    infos = [helper.make_tensor_value_info(*i) for i in (
        ("i", INT64, []), ("on", TensorProto.BOOL, []), ("state", FLOAT, [2]))]  # fmt: skip
    inner = [node("Add", "state one", "after"), node("ReduceMax", "after", "high", keepdims=0),
             node("Less", "high one", "going"), node("Tanh", "after", "out")]  # fmt: skip
    outs = [helper.make_tensor_value_info(n, t, None) for n, t in (
        ("going", TensorProto.BOOL), ("after", FLOAT), ("out", FLOAT))]  # fmt: skip
    for first, constants in (("", []), ("huge", [("huge", np.array(2**63 - 1))])):
        nodes = [node("Loop", f"{first}  x", "last y",
                      body=helper.make_graph(inner, "body", infos, outs))]  # fmt: skip
        with pytest.raises(converter.ConversionError, match="trip count"):
            agrees(nodes, [("x", [2])], [], [("one", np.float32(1)), *constants], ("last", "y"))


def test_cropping_and_padding_at_once():
    nodes = [node("Pad", "x pads", mode="edge")]
    agrees(nodes, [("x", ["n", 5])], [{"x": floats(4, 5)}], [("pads", integers(-1, 2, 2, -1))])


def test_softmax_of_old_opsets_along_the_last_of_dynamic_axes():
    feeds = [{"x": floats(1, 3, 4)}, {"x": floats(2, 4, 3)}]
    agrees([node("Softmax", "x", axis=2)], [("x", ["n", "m", "k"])], feeds, opset=11)


@pytest.mark.parametrize("direction", ["LEFT", "RIGHT"])
def test_shifts_of_other_shapes(direction):
    feeds = [{"x": np.array([1, 6, 40], np.uint8), "z": np.array([[1], [2]], np.uint8)}]
    uint8 = TensorProto.UINT8
    source = model_of([node("BitShift", "x z", direction=direction)],
                      [("x", [3], uint8), ("z", [2, 1], uint8)], [("y", None, uint8)])  # fmt: skip
    source.ir_version = 9
    made = convert(OnnxSource(source), feeds=feeds[0])
    assert made.proof.outputs[0].shape == (2, 3) and made.proof.passed


@pytest.mark.parametrize("ordered", [0, 1])
def test_unique_elements(ordered):
    nodes = [node("Unique", "x", "y first which counts", sorted=ordered)]
    ends = [("y", None, FLOAT)] + [(n, None, INT64) for n in ("first", "which", "counts")]
    source = model_of(nodes, [("x", ["n", "m"])], ends)
    source.ir_version = 9
    model = converter.from_onnx(source)
    content = converter.write_tflite(model)
    session = engine_of(source)
    for dims in ((3, 4), (5, 9)):
        x = RNG.integers(0, 6, dims).astype(np.float32)
        wanted = session.run(None, {"x": x})
        for engine in (runtime.Interpreter, Interpreter):
            found = engine(model_content=content).get_signature_runner()(x=x)
            for (name, *_), want in zip(ends, wanted, strict=True):
                np.testing.assert_array_equal(found[name], want)


@pytest.mark.parametrize("sizes", [[2, 4, 6, 5], ["n", 4, "h", "w"]])
def test_group_normalization_of_one_group_keeps_the_layout(sizes):
    """As torch.onnx writes GroupNorm(1, channels), between two convolutions."""
    nodes = [
        node("Conv", "x w", "a"),
        node("Reshape", "a flat", "b"),
        node("InstanceNormalization", "b one zero", "c", epsilon=1e-5),
        node("Shape", "a", "own"),
        node("Reshape", "c own", "d"),
        node("Mul", "d scale", "e"),
        node("Conv", "e w"),
    ]
    constants = [("w", floats(4, 4, 1, 1)), ("flat", integers(0, 1, -1)),
                 ("one", np.array([1.5], np.float32)), ("zero", np.array([0.5], np.float32)),
                 ("scale", floats(4, 1, 1))]  # fmt: skip
    agrees(nodes, [("x", sizes)], [{"x": floats(2, 4, 6, 5)}], constants)
    model = converter.from_onnx(model_of(nodes, [("x", sizes)], [("y", None)], constants))
    converter.optimize(model)
    count = [n.op for n in model.main.nodes].count("TRANSPOSE")
    assert count == (4 if "n" in sizes else 2)  # 2: the input's and the output's
