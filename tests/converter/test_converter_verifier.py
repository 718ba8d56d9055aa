# SPDX-License-Identifier: Apache-2.0
"""Every kind of damage to a model is found, and the message names the place."""

from __future__ import annotations

import numpy as np
import pytest
from graph_building import Builder, small_model

from converter import ConversionError, ir, verify


def dangling_input(model):
    model.main.nodes[1].inputs[0] = ir.Value("nowhere", "FLOAT32", (1, 6, 6, 3))


def wrong_order(model):
    model.main.nodes[0], model.main.nodes[1] = model.main.nodes[1], model.main.nodes[0]


def lost_user(model):
    model.main.nodes[0].outputs[0].users.clear()


def no_producer(model):
    model.main.outputs = [ir.Value("made up", "FLOAT32", (1,))]


def wrong_constant_shape(model):
    model.main.nodes[0].inputs[1].data = np.zeros((1, 3, 3, 2), np.float32)


def wrong_constant_type(model):
    weights = model.main.nodes[0].inputs[1]
    weights.data = weights.data.astype(np.float64)


def unknown_op(model):
    model.main.nodes[0].op = "CONV_9D"


def unknown_option(model):
    model.main.nodes[0].options["stride"] = 1


def unknown_type(model):
    model.main.nodes[0].outputs[0].dtype = "FLOAT31"


def too_many_inputs(model):
    node = model.main.nodes[1]
    node.add_input(node.inputs[0])


def custom_without_code(model):
    node = model.main.nodes[4]
    node.op, node.options = "CUSTOM", {}


def per_channel_length(model):
    weights = model.main.nodes[0].inputs[1]
    weights.quant = ir.Quantization(np.ones(2), np.zeros(2))


def per_channel_axis(model):
    weights = model.main.nodes[0].inputs[1]
    weights.quant = ir.Quantization(np.ones(3), np.zeros(3), axis=4)


def zero_scale(model):
    model.main.nodes[0].inputs[1].quant = ir.Quantization(0.0, 0)


def infinite_scale(model):
    model.main.nodes[0].inputs[1].quant = ir.Quantization(np.inf, 0)


def zero_points_missing(model):
    weights = model.main.nodes[0].inputs[1]
    weights.quant = ir.Quantization(np.ones(3), np.zeros(2))


def signature_rank(model):
    model.main.inputs[0].shape_signature = (-1, 6)


def negative_dimension(model):
    model.main.nodes[0].outputs[0].shape = (-1, 6, 6, 3)


def signature_position(model):
    model.signatures[0].outputs["y1"] = 1


def signature_twice(model):
    model.signatures.append(model.signatures[0])


def calls_itself(model):
    x = model.main.inputs[0]
    out = ir.Value("loop", "FLOAT32", x.shape)
    model.main.add_node("CALL_ONCE", [], [out], {"init_subgraph_index": 0})


def calls_nowhere(model):
    out = ir.Value("call", "FLOAT32", (1,))
    model.main.add_node("CALL_ONCE", [], [out], {"init_subgraph_index": 7})


def shared_between_graphs(model):
    model.graphs.append(ir.Graph("other", model.main.inputs, model.main.inputs))


DAMAGE = {
    dangling_input: "MAX_POOL_2D 'max_pool_2d_2' reads 'nowhere', which nothing produces",
    wrong_order: "before CONV_2D 'conv_2d_1' makes it",
    lost_user: "users of 'conv_2d_1' do not match",
    no_producer: "nothing produces the output 'made up'",
    wrong_constant_shape: r"holds float32\[1, 3, 3, 2\] data instead of float32\[3, 3, 3, 2\]",
    wrong_constant_type: "holds float64",
    unknown_op: "CONV_9D 'conv_2d_1' is no builtin op",
    unknown_option: "has no option 'stride'",
    unknown_type: "unknown type 'FLOAT31'",
    too_many_inputs: "MAX_POOL_2D 'max_pool_2d_2' has 2 inputs",
    custom_without_code: "without a custom_code",
    per_channel_length: "has 2 scales along axis 0, where its size is 3",
    per_channel_axis: "quantized along axis 4",
    zero_scale: "not a positive number",
    infinite_scale: "not a positive number",
    zero_points_missing: "3 scales and 2 zero points",
    signature_rank: "another rank",
    negative_dimension: "must be >= 0",
    signature_position: "argument 'y1' is at position 1",
    signature_twice: "two signatures are called 'serving_default'",
    calls_itself: "graph 'main' calls itself",
    calls_nowhere: "calls graph 7",
    shared_between_graphs: "belongs to two graphs",
}


def test_a_sound_model_passes():
    verify(small_model())


@pytest.mark.parametrize("damage", DAMAGE, ids=lambda f: f.__name__)
def test_damage_is_found_and_named(damage):
    model = small_model()
    damage(model)
    with pytest.raises(ConversionError, match=DAMAGE[damage]):
        verify(model)


def test_a_model_without_graphs_is_refused():
    with pytest.raises(ConversionError, match="no graph"):
        verify(ir.Model())


def test_zero_point_must_fit_the_type():
    b = Builder()
    x = b.input((4,), "INT8", quant=ir.Quantization(0.5, 200))
    y = b.op("RELU", [x], (4,), "INT8", quant=ir.Quantization(0.5, 0))
    with pytest.raises(ConversionError, match="zero point outside -128 to 127"):
        verify(b.model(y))
