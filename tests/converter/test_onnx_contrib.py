# SPDX-License-Identifier: Apache-2.0
"""Ops of ONNX Runtime's own domain, and what its quantizer writes."""

from __future__ import annotations

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter
from onnx import TensorProto, helper, numpy_helper
from onnx_models import engine_of

import converter
import runtime

RNG = np.random.default_rng(5)
ELEMENTS = {np.dtype(k): v for k, v in (
    (np.float32, TensorProto.FLOAT), (np.int8, TensorProto.INT8), (np.uint8, TensorProto.UINT8),
    (np.int32, TensorProto.INT32), (np.int16, TensorProto.INT16), (np.int64, TensorProto.INT64),
    (np.bool_, TensorProto.BOOL),
)}  # fmt: skip


def floats(*shape, scale=1.0):
    return (RNG.normal(size=shape) * scale).astype(np.float32)


def bytes_of(kind, *shape, least=None):
    info = np.iinfo(kind)
    return RNG.integers(info.min if least is None else least, info.max + 1, shape).astype(kind)


def model_of(nodes, feeds, constants, outputs, dims=None):
    """`outputs` are (name, NumPy type), `dims` shapes of inputs if they are not those of feeds."""
    shapes = {n: x.shape for n, x in feeds.items()} | (dims or {})
    infos = [
        helper.make_tensor_value_info(n, ELEMENTS[x.dtype], shapes[n]) for n, x in feeds.items()
    ]
    ends = [helper.make_tensor_value_info(n, ELEMENTS[np.dtype(k)], None) for n, k in outputs]
    held = [numpy_helper.from_array(np.asarray(a), n) for n, a in constants.items()]
    domains = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
    graph = helper.make_graph(nodes, "graph", infos, ends, held)
    return helper.make_model(graph, opset_imports=domains, ir_version=9)


def ours(nodes, feeds, constants, outputs, dims=None):
    """(model, ONNX Runtime's results, the runtime's), LiteRT's being the runtime's."""
    source = model_of(nodes, feeds, constants, outputs, dims)
    wanted = engine_of(source, optimize=False).run(None, feeds)
    model = converter.from_onnx(source)
    converter.optimize(model, check=True)
    content = converter.write_tflite(model)
    found = runtime.Interpreter(model_content=content).get_signature_runner()(**feeds)
    theirs = Interpreter(model_content=content).get_signature_runner()(**feeds)
    for name, _ in outputs:
        if found[name].dtype.kind == "f":
            np.testing.assert_allclose(found[name], theirs[name], 1e-5, 1e-5)
        else:
            np.testing.assert_array_equal(found[name], theirs[name])
    return model, wanted, [found[name] for name, _ in outputs]


def ops(model):
    return [node.op for node in model.main.nodes]


X = (np.float32(0.02), np.uint8(120))
Y = (np.float32(0.03), np.uint8(131))


def quantized_case(op):
    """(inputs by name in order, constants among them, attributes, the result's step, our op)"""
    x = bytes_of(np.uint8, 1, 4, 6, 6)
    one = {"x": x, "xs": X[0], "xz": X[1]}
    end = {"ys": Y[0], "yz": Y[1]}
    two = {**one, "k": bytes_of(np.uint8, 1, 4, 6, 6), "ks": np.float32(0.01), "kz": np.uint8(7)}
    weights = {"w": bytes_of(np.int8, 5, 4, 3, 3, least=-127), "ws": np.float32(0.004),
               "wz": np.int8(0)}  # fmt: skip
    bias = {"b": RNG.integers(-3000, 3000, 5).astype(np.int32)}
    matrix = {"w": bytes_of(np.int8, 6, 5, least=-127), "ws": np.float32(0.01), "wz": np.int8(0)}
    rows = {**one, "x": x.reshape(-1, 6)}
    fixed = {"ys": np.float32(1 / 256), "yz": np.uint8(0)}
    return {
        "QLinearAdd": ({**two, **end}, {}, "ADD"),
        "QLinearMul": ({**two, **end}, {}, "MUL"),
        "QLinearAveragePool": ({**one, "ys": X[0], "yz": X[1]}, {"kernel_shape": [2, 2]},
                               "AVERAGE_POOL_2D"),
        "QLinearGlobalAveragePool": ({**one, **end}, {}, "MEAN"),
        "QLinearLeakyRelu": ({**one, **end}, {"alpha": 0.1}, "LEAKY_RELU"),
        "QLinearSigmoid": ({**one, **fixed}, {}, "LOGISTIC"),
        "QLinearSoftmax": ({**one, **fixed}, {"axis": 3, "opset": 13}, "SOFTMAX"),
        "QLinearConcat": ({**end, **two}, {"axis": 1}, "CONCATENATION"),
        "QLinearWhere": ({"c": RNG.integers(0, 2, (6,)).astype(bool), **two, **end}, {}, None),
        "QGemm": ({**rows, **matrix, **bias, **end}, {}, "FULLY_CONNECTED"),
        "QLinearConv": ({**one, **weights, **end, **bias}, {"pads": [1] * 4}, "CONV_2D"),
        "QLinearMatMul": ({**one, **matrix, **end}, {}, "FULLY_CONNECTED"),
    }[op]  # fmt: skip


QUANTIZED = """
    QLinearAdd QLinearMul QLinearAveragePool QLinearGlobalAveragePool
    QLinearLeakyRelu QLinearSigmoid QLinearSoftmax QLinearConcat QLinearWhere QGemm QLinearConv
    QLinearMatMul
"""


@pytest.mark.parametrize("op", QUANTIZED.split())
def test_a_quantized_op_computes_in_int8(op):
    given, attributes, our_op = quantized_case(op)
    feeds = {n: x for n, x in given.items() if n in ("x", "k", "c")}
    constants = {n: x for n, x in given.items() if n not in feeds}
    domain = "" if op in ("QLinearConv", "QLinearMatMul") else "com.microsoft"
    node = helper.make_node(op, list(given), ["y"], "it", domain=domain, **attributes)
    model, (wanted,), (found,) = ours([node], feeds, constants, [("y", np.uint8)])
    assert np.abs(wanted.astype(int) - found).max() <= 1
    if our_op is not None:
        made = next(n for n in model.main.nodes if n.op == our_op and n.inputs[0].dtype == "INT8")
        assert made.outputs[0].dtype == "INT8"
        assert {v.dtype for v in made.inputs if v is not None} <= {"INT8", "INT32"}


@pytest.mark.parametrize("kind", [np.int8, np.uint8, np.int16])
def test_integers_come_in_and_go_out_with_their_scales(kind):
    x = bytes_of(kind, 1, 4, 6, 6)
    zeros = [np.array(0 if kind is np.int16 else n, kind) for n in (5, 9)]
    constants = {"xs": X[0], "xz": zeros[0], "ys": Y[0], "yz": zeros[1]}
    nodes = [
        helper.make_node("DequantizeLinear", ["x", "xs", "xz"], ["r"], domain="com.microsoft"),
        helper.make_node("LeakyRelu", ["r"], ["l"], alpha=0.1),
        helper.make_node("QuantizeLinear", ["l", "ys", "yz"], ["y"], domain="com.microsoft"),
    ]
    model, (wanted,), (found,) = ours(nodes, {"x": x}, constants, [("y", kind)])
    assert np.abs(wanted.astype(int) - found).max() <= 1
    between = ["QUANTIZE"] if kind is np.uint8 else []
    assert ops(model) == [*between, "LEAKY_RELU", *between]
    (start,), (end,) = model.main.inputs, model.main.outputs
    assert (start.quant.scale[0], start.quant.zero_point[0]) == (X[0], zeros[0])
    assert (end.quant.scale[0], end.quant.zero_point[0]) == (Y[0], zeros[1])


def test_an_integer_input_that_is_read_otherwise_too_stays_plain():
    x = bytes_of(np.uint8, 1, 4)
    constants = {"xs": X[0], "xz": X[1]}
    nodes = [
        helper.make_node("DequantizeLinear", ["x", "xs", "xz"], ["r"]),
        helper.make_node("Relu", ["r"], ["l"]),
        helper.make_node("Cast", ["x"], ["c"], to=TensorProto.FLOAT),
        helper.make_node("Add", ["l", "c"], ["y"]),
    ]
    model, (wanted,), (found,) = ours(nodes, {"x": x}, constants, [("y", np.float32)])
    np.testing.assert_allclose(found, wanted, 1e-6)
    assert model.main.inputs[0].quant is None


def test_what_moves_quantized_numbers_between_them_keeps_int8():
    x = bytes_of(np.uint8, 1, 4, 6, 6)
    constants = {
        "xs": X[0], "xz": X[1], "ys": Y[0], "yz": Y[1], "ws": np.float32(0.01), "wz": np.int8(0),
        "w": bytes_of(np.int8, 4, 4, 1, 1, least=-127), "shape": np.array([1, -1]),
        "v": bytes_of(np.int8, 72, 3, least=-127),
    }  # fmt: skip
    scales = ["ys", "yz"]
    nodes = [
        helper.make_node("QLinearConv", ["x", "xs", "xz", "w", "ws", "wz", *scales], ["c"]),
        helper.make_node("MaxPool", ["c"], ["m"], kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Transpose", ["m"], ["t"], perm=[0, 2, 3, 1]),
        helper.make_node("Concat", ["t", "t"], ["cc"], axis=1),
        helper.make_node("Reshape", ["cc", "shape"], ["r"]),
        helper.make_node("QLinearMatMul", ["r", *scales, "v", "ws", "wz", *scales], ["q"]),
        helper.make_node("DequantizeLinear", ["q", *scales], ["y"]),
    ]
    model, (wanted,), (found,) = ours(nodes, {"x": x}, constants, [("y", np.float32)])
    kinds = {n.op: n.outputs[0].dtype for n in model.main.nodes}
    for op in ("CONV_2D", "MAX_POOL_2D", "CONCATENATION", "RESHAPE", "FULLY_CONNECTED"):
        assert kinds[op] == "INT8", op
    assert np.abs(wanted - found).max() <= 1.01 * Y[0]


@pytest.mark.parametrize("number", [131, 140])
def test_padding_and_joining_with_constants_keeps_int8(number):
    x = bytes_of(np.uint8, 1, 4, 6, 6)
    constants = {
        "xs": X[0], "xz": X[1], "ys": Y[0], "yz": Y[1], "ws": np.float32(0.01), "wz": np.int8(0),
        "w": bytes_of(np.int8, 4, 4, 1, 1, least=-127), "pads": np.array([0, 0, 1, 2, 0, 0, 2, 1]),
        "n": np.uint8(number), "k": bytes_of(np.uint8, 1, 4, 9, 9),
        "v": bytes_of(np.int8, 3, 8, 1, 1, least=-127),
    }  # fmt: skip
    scales = ["ys", "yz"]
    nodes = [
        helper.make_node("QLinearConv", ["x", "xs", "xz", "w", "ws", "wz", *scales], ["c"]),
        helper.make_node("Pad", ["c", "pads", "n"], ["p"]),
        helper.make_node("Concat", ["p", "k"], ["cc"], axis=1),
        helper.make_node("QLinearConv", ["cc", *scales, "v", "ws", "wz", *scales], ["q"]),
        helper.make_node("DequantizeLinear", ["q", *scales], ["y"]),
    ]
    model, (wanted,), (found,) = ours(nodes, {"x": x}, constants, [("y", np.float32)])
    computed = [n for n in model.main.nodes if n.op not in ("QUANTIZE", "DEQUANTIZE")]
    assert {n.outputs[0].dtype for n in computed} == {"INT8"}
    assert np.abs(wanted - found).max() <= 2.01 * Y[0]


@pytest.mark.parametrize("kind", [np.int8, np.uint8])
@pytest.mark.parametrize("per_channel", [False, True])
@pytest.mark.parametrize("zeros", [False, True])
def test_dynamic_products_are_exact_and_keep_their_weights(kind, per_channel, zeros):
    depth, width = 700, 9  # beyond what float32 sums exactly
    count = width if per_channel else 1
    points = bytes_of(kind, count) if zeros else np.zeros(count, kind)
    constants = {"w": bytes_of(kind, depth, width), "z": points if per_channel else points[0]}
    nodes = [
        helper.make_node("DynamicQuantizeLinear", ["x"], ["q", "s", "p"]),
        helper.make_node("MatMulInteger", ["q", "w", "p", "z"], ["y"]),
    ]
    feeds = {"x": floats(2, 3, depth)}
    model, (wanted,), (found,) = ours(nodes, feeds, constants, [("y", np.int32)])
    np.testing.assert_array_equal(found, wanted)
    (product,) = [n for n in model.main.nodes if n.op == "BATCH_MATMUL"]
    assert product.inputs[1].dtype == "INT8" and product.inputs[1].data is not None


@pytest.mark.parametrize("left", [np.int8, np.uint8])
@pytest.mark.parametrize("right", [np.int8, np.uint8])
@pytest.mark.parametrize("shapes", [((2, 3, 40), (2, 40, 5)), ((40,), (40, 5)), ((7, 40), (40,))])
def test_products_of_computed_integers(left, right, shapes):
    feeds = {"x": bytes_of(left, *shapes[0]), "k": bytes_of(right, *shapes[1])}
    constants = {"xz": bytes_of(left, 1)[0], "kz": bytes_of(right, 1)[0]}
    node = helper.make_node("MatMulInteger", ["x", "k", "xz", "kz"], ["y"])
    _, (wanted,), (found,) = ours([node], feeds, constants, [("y", np.int32)])
    np.testing.assert_array_equal(found, wanted)


def test_long_sums_of_an_integer_convolution_are_exact():
    feeds = {"x": bytes_of(np.uint8, 1, 200, 5, 5)}
    constants = {"xz": np.uint8(9), "w": bytes_of(np.int8, 6, 200, 3, 3), "wz": np.int8(0)}
    node = helper.make_node("ConvInteger", ["x", "w", "xz", "wz"], ["y"], pads=[1] * 4)
    _, (wanted,), (found,) = ours([node], feeds, constants, [("y", np.int32)])
    np.testing.assert_array_equal(found, wanted)


def fused(op):
    """(inputs by name, attributes, outputs)"""
    x, d = floats(2, 5, 8), np.float32
    vector = {n: floats(8) for n in "abc"}
    image = {"x": floats(1, 4, 6, 6), "w": floats(6, 4, 3, 3), "b": floats(6)}
    weights = {"w": floats(8, 24, scale=0.3), "b": floats(24)}
    tables = {"word": floats(20, 8), "place": floats(9, 8), "kind": floats(2, 8)}
    ids = {"x": RNG.integers(0, 20, (2, 5)).astype(np.int32),
           "k": RNG.integers(0, 2, (2, 5)).astype(np.int32)}  # fmt: skip
    mask = {"m": np.array([[1, 1, 1, 1, 0], [1, 1, 1, 0, 0]], np.int32)}
    skip = {"x": x, "k": floats(2, 5, 8), "a": vector["a"]}
    return {
        "FusedConv": ({**image, "k": floats(1, 6, 6, 6)}, {"pads": [1] * 4, "activation": "Relu"},
                      ["y"]),
        "FusedConv/Clip": (image, {"activation": "Clip", "activation_params": [0.0, 6.0]}, ["y"]),
        "FusedConv/LeakyRelu": (image, {"activation": "LeakyRelu", "activation_params": [0.2]},
                                ["y"]),
        "FusedConv/HardSigmoid": (image, {"activation": "HardSigmoid",
                                          "activation_params": [0.2, 0.4]}, ["y"]),
        "FusedGemm": ({"x": x[0], "w": floats(8, 6), "b": floats(6)},
                      {"activation": "LeakyRelu", "activation_alpha": 0.3, "alpha": 0.5}, ["y"]),
        "FusedMatMul": ({"x": x, "k": floats(2, 5, 8)}, {"transB": 1, "alpha": 0.25}, ["y"]),
        "SkipLayerNormalization": ({**skip, "b": vector["b"], "c": vector["c"]},
                                   {"epsilon": 1e-5}, ["y", "", "", "sum"]),
        "SkipSimplifiedLayerNormalization": (skip, {"epsilon": 1e-5}, ["y", "", "", "sum"]),
        "SimplifiedLayerNormalization": ({"x": x, "a": vector["a"]}, {"axis": -1}, ["y"]),
        "EmbedLayerNormalization": ({**ids, **tables, "a": vector["a"], "b": vector["b"]},
                                    {"epsilon": 1e-5}, ["y", ""]),
        "Attention": ({"x": x, **weights}, {"num_heads": 2}, ["y"]),
        "Attention/mask": ({"x": x, **weights, **mask}, {"num_heads": 2}, ["y"]),
        "Attention/causal": ({"x": x, **weights}, {"num_heads": 2, "unidirectional": 1}, ["y"]),
        "BiasGelu": ({"x": x, "a": vector["a"]}, {}, ["y"]),
        "FastGelu": ({"x": x, "a": vector["a"]}, {}, ["y"]),
        "Gelu": ({"x": x}, {}, ["y"]),
        "QuickGelu": ({"x": x}, {"alpha": 1.5}, ["y"]),
        "MatMulIntegerToFloat": (
            {"x": bytes_of(np.uint8, 3, 8), "w": bytes_of(np.int8, 8, 4), "s": d(0.1),
             "t": floats(4), "z": np.uint8(30), "u": bytes_of(np.int8, 4), "b": floats(4)},
            {}, ["y"]),
        "DynamicQuantizeMatMul": (
            {"x": x, "w": bytes_of(np.int8, 8, 4), "s": d(0.1), "u": np.int8(3), "b": floats(4)},
            {}, ["y"]),
    }[op]  # fmt: skip


FUSED = """
    FusedConv FusedConv/Clip FusedConv/LeakyRelu FusedConv/HardSigmoid FusedGemm FusedMatMul
    SkipLayerNormalization SkipSimplifiedLayerNormalization SimplifiedLayerNormalization
    EmbedLayerNormalization Attention Attention/mask Attention/causal BiasGelu FastGelu Gelu
    QuickGelu MatMulIntegerToFloat DynamicQuantizeMatMul
"""


@pytest.mark.parametrize("case", FUSED.split())
def test_a_fused_op(case):
    given, attributes, outputs = fused(case)
    feeds = {n: x for n, x in given.items() if n in ("x", "k", "m")}
    constants = {n: x for n, x in given.items() if n not in feeds}
    op = case.partition("/")[0]
    domain = "" if op == "SimplifiedLayerNormalization" else "com.microsoft"
    node = helper.make_node(op, list(given), outputs, "it", domain=domain, **attributes)
    ends = [(n, np.float32) for n in outputs if n]
    _, wanted, found = ours([node], feeds, constants, ends)
    for want, got in zip(wanted, found, strict=True):
        assert np.abs(want - got).max() <= 1e-5 * max(1, np.abs(want).max())


@pytest.mark.parametrize("batch", [1, "batch"])
@pytest.mark.parametrize("per_channel", [False, True])
@pytest.mark.parametrize("kind", [np.int8, np.uint8])
def test_a_quantized_lstm_keeps_its_weights(kind, per_channel, batch):
    count, size = 24, 16
    steps = (2, 4 * size) if per_channel else (2,)
    zeros = np.zeros(steps, kind) if per_channel else bytes_of(kind, 2)
    given = {
        "x": floats(5, 1, count), "w": bytes_of(kind, 2, count, 4 * size),
        "r": bytes_of(kind, 2, size, 4 * size), "b": floats(2, 8 * size, scale=0.1),
        "ws": RNG.uniform(0.001, 0.003, steps).astype(np.float32), "wz": zeros,
        "rs": RNG.uniform(0.001, 0.003, steps).astype(np.float32), "rz": zeros,
    }  # fmt: skip
    names = ["x", "w", "r", "b", "", "", "", "", "ws", "wz", "rs", "rz"]
    node = helper.make_node(
        "DynamicQuantizeLSTM", names, ["y", "h", "c"], "it", domain="com.microsoft",
        hidden_size=size, direction="bidirectional",
    )  # fmt: skip
    feeds = {"x": given.pop("x")}
    ends = [(n, np.float32) for n in "yhc"]
    model, wanted, found = ours([node], feeds, given, ends, {"x": (5, batch, count)})
    for want, got in zip(wanted, found, strict=True):
        assert np.abs(want - got).max() <= 2 / 255 * np.abs(want).max()
    stored = [n.inputs[0] for n in model.main.nodes if n.op == "DEQUANTIZE"]
    assert {v.dtype for v in stored} == {"INT8"}
    assert sum(v.size for v in stored) == 2 * 4 * size * (count + size)
    rest = [v for g in model.graphs for v in g.values() if v.is_constant and v.dtype == "FLOAT32"]
    assert max(v.size for v in rest) < size * size


@pytest.mark.parametrize(
    ("node", "why"),
    [
        (("com.microsoft.nchwc", "Conv", {}), "before, or save it with ORT_ENABLE_EXTENDED"),
        (("com.microsoft", "FusedMatMul", {"transBatchA": 1}), "moves batch axes"),
        (("com.microsoft", "FusedGemm", {"activation": "Foo"}), "fuses the activation 'Foo'"),
    ],
)
def test_what_has_no_form_is_refused_with_the_way_out(node, why):
    domain, op, attributes = node
    made = helper.make_node(op, ["x", "w"], ["y"], "it", domain=domain, **attributes)
    source = model_of([made], {"x": floats(3, 3)}, {"w": floats(3, 3)}, [("y", np.float32)])
    with pytest.raises(converter.ConversionError, match=f"'it'.*{why}"):
        converter.from_onnx(source)
