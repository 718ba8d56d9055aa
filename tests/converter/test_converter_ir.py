# SPDX-License-Identifier: Apache-2.0
"""The IR's edges agree after every mutation, and copies share nothing but constants."""

from __future__ import annotations

import numpy as np
import pytest
from graph_building import Builder, small_model

import converter
from converter import ConversionError, ir
from converter.verifier import verify_graph


def two_adds():
    b = Builder()
    x = b.input((2,))
    y = b.op("ADD", [x, x], (2,))
    z = b.op("MUL", [y, np.ones(2, np.float32)], (2,))
    return b.model(z), x, y, z


def test_users_have_one_entry_per_use():
    _, x, y, z = two_adds()
    assert x.users == [y.producer, y.producer]
    assert y.users == [z.producer]
    assert z.users == []


def test_replace_value_moves_users_and_outputs():
    model, x, y, z = two_adds()
    graph = model.main
    graph.replace_value(y, x)
    assert y.users == []
    assert z.producer.inputs[0] is x
    assert len(x.users) == 3
    graph.remove_node(y.producer)
    assert len(x.users) == 1
    graph.replace_value(z, x)
    assert graph.outputs == [x]
    graph.remove_node(z.producer)
    verify_graph(graph)


def test_a_node_in_use_cannot_be_removed():
    model, _, y, z = two_adds()
    with pytest.raises(ConversionError, match=r"ADD 'add_1'.*still in use"):
        model.main.remove_node(y.producer)
    with pytest.raises(ConversionError, match="still in use"):
        model.main.remove_node(z.producer)


def test_nodes_are_placed_before_and_after_others():
    model, x, y, z = two_adds()
    graph = model.main
    first = graph.add_node("NEG", [x], [ir.Value("n", "FLOAT32", (2,))], before=y.producer)
    last = graph.add_node("ABS", [y], [ir.Value("a", "FLOAT32", (2,))], after=y.producer)
    assert [n.op for n in graph.nodes] == ["NEG", "ADD", "ABS", "MUL"]
    assert graph.nodes == [first, y.producer, last, z.producer]


def test_a_value_has_one_producer():
    model, x, y, _ = two_adds()
    with pytest.raises(ConversionError, match="already produced by ADD"):
        model.main.add_node("NEG", [x], [y])


def test_copy_is_independent_and_shares_constants():
    model = small_model()
    model.metadata["note"] = b"1"
    twin = model.copy()
    converter.verify(twin)
    weights = model.main.nodes[0].inputs[1]
    assert twin.main.nodes[0].inputs[1] is not weights
    assert twin.main.nodes[0].inputs[1].data is weights.data
    twin.main.nodes[0].options["padding"] = "VALID"
    twin.metadata["note"] = b"2"
    twin.signatures[0].inputs["other"] = 0
    assert model.main.nodes[0].options["padding"] == "SAME"
    assert model.metadata == {"note": b"1"}
    assert list(model.signatures[0].inputs) == ["x0"]
    assert converter.write_tflite(model) != converter.write_tflite(twin)


def test_copy_of_quantization_details_points_into_the_copy():
    b = Builder()
    x = b.input((1, 32))
    scales = b.constant(np.ones((4, 1), np.float16))
    details = ir.QuantizationDetails("BlockwiseQuantization", scales, None, {"block_size": 32})
    quant = ir.Quantization(np.zeros(0), np.zeros(0), details=details)
    weights = b.constant(np.zeros((4, 32), np.int8), dtype="INT4", quant=quant)
    model = b.model(b.op("FULLY_CONNECTED", [x, weights], (1, 4)))
    twin = model.copy()
    copied = twin.main.nodes[0].inputs[1]
    assert copied.quant.details.scales is not scales
    assert copied.quant.details.scales in list(twin.main.values())
    again = converter.read_tflite(converter.write_tflite(model)).main.nodes[0].inputs[1]
    assert again.quant.details.fields["block_size"] == 32
    np.testing.assert_array_equal(again.quant.details.scales.data, scales.data)


def test_option_falls_back_to_the_schema():
    node = small_model().main.nodes[0]
    assert node.option("dilation_w_factor") == 1
    assert node.option("padding") == "SAME"
    with pytest.raises(KeyError):
        node.option("axis")


def test_types_without_a_constant_form_are_refused():
    with pytest.raises(ConversionError, match="RESOURCE has no constant form"):
        ir.numpy_dtype("RESOURCE")
    with pytest.raises(ConversionError, match="datetime64"):
        ir.dtype_name("datetime64[s]")


def test_index_follows_changes():
    graph = ir.Graph()
    x = graph.add_input("x", "FLOAT32", [1])
    for i in range(300):
        y = ir.Value(f"y{i}", "FLOAT32", [1])
        graph.add_node("NEG", [x], [y])
        x = y
    graph.outputs = [x]
    nodes = list(graph.nodes)
    order = np.random.default_rng(0).permutation(300)
    assert [graph.index(nodes[i]) for i in order] == order.tolist()
    late = graph.add_node("ABS", [x], [ir.Value("z", "FLOAT32", [1])], before=nodes[0])
    assert graph.index(late) == 0 and graph.index(nodes[299]) == 300
    graph.remove_node(late)
    assert graph.index(nodes[0]) == 0
    with pytest.raises(ConversionError, match="not a node"):
        graph.index(late)
