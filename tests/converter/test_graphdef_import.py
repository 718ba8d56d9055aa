# SPDX-License-Identifier: Apache-2.0
"""Frozen graphs that TensorFlow 1.15 and 2 have written give what TensorFlow computed from them.

The graphs and their numbers are in graphdefs/; make_graphdefs.py makes them.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter

import converter
import host_engine as tf
import runtime
from converter import ConversionError
from converter.sources import GraphDefSource
from host_engine.graphdef.importing import read_graph_def
from host_engine.graphdef.text import from_text

FOLDER = Path(__file__).parent / "graphdefs"
GRAPHS = sorted(path.stem for path in FOLDER.glob("*.pb"))
TOLERANCE = 1e-4  # of the largest magnitude


def load(name):
    """(path, inputs, outputs) of a graph."""
    found = np.load(FOLDER / f"{name}.npz")
    inputs = {key[3:]: found[key] for key in found if key.startswith("in ")}
    return FOLDER / f"{name}.pb", inputs, {k[4:]: found[k] for k in found if k.startswith("out ")}


def test_there_are_graphs():
    assert len(GRAPHS) >= 16


@pytest.mark.parametrize("name", GRAPHS)
def test_the_model_computes_what_tensorflow_does(name):
    path, inputs, wanted = load(name)
    model = converter.from_graphdef(path, outputs=list(wanted))
    assert all(node.op != "CUSTOM" for graph in model.graphs for node in graph.nodes)
    plain = converter.write_tflite(model)
    converter.optimize(model)
    for content in (plain, converter.write_tflite(model)):
        for engine in (runtime.Interpreter, Interpreter):
            found = engine(model_content=content).get_signature_runner()(**inputs)
            assert set(found) == set(wanted)
            for output, numbers in wanted.items():
                assert found[output].dtype == numbers.dtype
                limit = TOLERANCE * max(float(np.abs(numbers).max()), 1e-6)
                np.testing.assert_allclose(found[output], numbers, rtol=0, atol=limit)


@pytest.mark.parametrize("name", GRAPHS)
def test_the_host_graph_is_written_as_it_was_read(name):
    graph_def = read_graph_def(FOLDER / f"{name}.pb")
    with tf.Graph().as_default() as graph:
        tf.import_graph_def(graph_def, name="")
    again = tf.GraphDef.FromString(graph.as_graph_def().SerializeToString())
    assert {n.name: (n.op, sorted(n.input)) for n in again.node} == {
        n.name: (n.op, sorted(n.input)) for n in graph_def.node
    }
    assert len(again.library.function) == len(graph_def.library.function)
    for node in from_text(str(graph_def), tf.GraphDef()).node:
        assert node.op


def ops_of(name, **kwargs):
    path, _, wanted = load(name)
    model = converter.from_graphdef(path, outputs=list(wanted), **kwargs)
    converter.optimize(model)
    return [node.op for node in model.main.nodes], model


def test_inputs_and_outputs_are_found():
    model = converter.from_graphdef(FOLDER / "keras_mobilenet.pb")
    (signature,) = model.signatures
    assert list(signature.inputs) == ["args_0"] or list(signature.inputs) == ["image"]
    assert list(signature.outputs) == ["Identity"]


def test_dilated_convolutions_are_one_op():
    for name in ("keras_resnet", "classic_mobilenet"):
        ops, model = ops_of(name)
        assert not {"SPACE_TO_BATCH_ND", "BATCH_TO_SPACE_ND"} & set(ops)
        assert 2 in [n.options.get("dilation_h_factor") for n in model.main.nodes]


def test_channels_first_leaves_one_transpose():
    ops, _ = ops_of("classic_channels_first")
    assert ops.count("TRANSPOSE") == 1


def test_short_loops_are_written_out_and_long_ones_are_a_while():
    _, model = ops_of("keras_lstm")  # what others than this runtime run of it
    ops = [node.op for node in model.graphs[1].nodes]
    assert "WHILE" not in ops and ops.count("TANH") == 24 and len(model.graphs) == 2
    ops, model = ops_of("classic_dynamic_rnn_lengths")
    assert ops.count("WHILE") == 1 and len(model.graphs) == 3
    weights = [n.inputs[1] for g in model.graphs for n in g.nodes if n.op == "FULLY_CONNECTED"]
    assert all(value is not None and value.is_constant for value in weights)


@pytest.mark.parametrize(
    ("name", "whole", "count"),
    [
        ("keras_lstm_long", "UNIDIRECTIONAL_SEQUENCE_LSTM", 1),
        ("keras_bidirectional", "UNIDIRECTIONAL_SEQUENCE_LSTM", 2),
        ("classic_dynamic_rnn", "UNIDIRECTIONAL_SEQUENCE_LSTM", 1),
        ("keras_gru", "STABLEHLO_COMPOSITE", 1),
        ("keras_lstm", "STABLEHLO_COMPOSITE", 1),
        ("keras_any_length", "STABLEHLO_COMPOSITE", 2),
    ],
)
def test_recurrent_layers_are_one_op(name, whole, count):
    ops, model = ops_of(name)
    assert ops.count(whole) == count and not {"WHILE", "LOGISTIC", "TANH"} & set(ops)
    composites = [node for node in model.main.nodes if node.op == "STABLEHLO_COMPOSITE"]
    assert all(node.kind in ("rillet.gru", "rillet.lstm") for node in composites)
    assert composites or len(model.graphs) == 1


def test_a_recurrent_layer_of_one_batch_is_one_op():
    path, _, _ = load("keras_lstm")
    model = converter.from_graphdef(path, input_shapes={"x": (4, 12, 5)})
    assert [n.op for n in model.main.nodes].count("UNIDIRECTIONAL_SEQUENCE_LSTM") == 1


@pytest.mark.parametrize("name", ["keras_lstm", "keras_any_length"])
@pytest.mark.parametrize("optimized", [False, True])
def test_a_recurrent_layer_of_any_batch_is_one_op(name, optimized):
    """Sequences know nothing of each other: of other batches TensorFlow's numbers are the same."""
    path, inputs, wanted = load(name)
    model = converter.from_graphdef(path, outputs=list(wanted))
    if optimized:
        converter.optimize(model)
    assert "rillet.lstm" in [node.kind for node in model.main.nodes]
    content = converter.write_tflite(model)
    runs = [kind(model_content=content) for kind in (runtime.Interpreter, Interpreter)]
    for batch in (1, 3, 7):
        feeds, numbers = (
            {k: np.take(v, range(batch), 0, mode="wrap") for k, v in values.items()}
            for values in (inputs, wanted)
        )
        for run in runs:
            found = run.get_signature_runner()(**feeds)
            for key, want in numbers.items():
                np.testing.assert_allclose(found[key], want, atol=1e-5 * np.abs(want).max())


def test_state_does_not_go_from_call_to_call():
    path, inputs, wanted = load("keras_lstm_long")
    content = converter.write_tflite(converter.from_graphdef(path))
    run = runtime.Interpreter(model_content=content).get_signature_runner()
    first, second = (run(**inputs) for _ in range(2))
    for name in wanted:
        np.testing.assert_array_equal(first[name], second[name])


def test_a_dynamic_size_takes_any():
    path, inputs, wanted = load("classic_mobilenet")
    model = converter.from_graphdef(path, outputs=["scores"])
    assert model.main.inputs[0].shape_signature == (-1, -1, -1, 3)
    fixed = converter.from_graphdef(
        path, outputs=["scores"], input_shapes={"image": [1, 16, 16, 3]}
    )
    assert all(value.shape_signature is None for value in fixed.main.values())
    found = runtime.Interpreter(model_content=converter.write_tflite(fixed))
    np.testing.assert_allclose(
        found.get_signature_runner()(**inputs)["scores"], wanted["scores"], atol=1e-6
    )


PROVED = ["classic_dynamic_rnn_lengths", "keras_lstm_long", "ops_equations"]


@pytest.mark.parametrize("name", PROVED)
def test_graphs_are_proved_without_tensorflow(name):
    path, inputs, wanted = load(name)
    source = GraphDefSource(path, outputs=list(wanted))
    made = converter.convert(source, feeds=inputs, check="layers")
    assert made.proof.passed and made.proof.engine == "the host engine"
    assert made.proof.compared_layers >= 3


def text_graph(nodes):
    return converter.from_graphdef(nodes.encode())


PLACEHOLDER = """node { name: "x" op: "Placeholder" attr { key: "dtype" value { type: DT_FLOAT } }
  attr { key: "shape" value { shape { dim { size: 2 } dim { size: 3 } } } } }
"""


def unary(name, op, source, more=""):
    kind = 'attr { key: "T" value { type: DT_FLOAT } }'
    return f'node {{ name: "{name}" op: "{op}" input: "{source}" {kind} {more} }}\n'


def test_every_obstacle_is_listed_with_its_node():
    nodes = PLACEHOLDER + unary("a", "Zeta", "x") + unary("b", "Relu", "a")
    nodes += unary("c", "MyOwnOp", "x")
    with pytest.raises(ConversionError) as error:
        text_graph(nodes)
    assert "2 obstacles" in str(error.value)
    assert "Zeta at node 'a' ([2,3]): has no form in TFLite" in str(error.value)
    assert "MyOwnOp at node 'c'" in str(error.value)


def test_combined_suppression_says_what_to_do():
    nodes = PLACEHOLDER + unary("a", "CombinedNonMaxSuppression", "x")
    with pytest.raises(ConversionError, match="cut the model at its boxes and scores"):
        text_graph(nodes)


def test_a_graph_with_variables_is_not_frozen():
    nodes = (
        PLACEHOLDER
        + """node { name: "w" op: "VariableV2"
      attr { key: "dtype" value { type: DT_FLOAT } } attr { key: "shape" value { shape { } } } }"""
    )
    with pytest.raises(ConversionError, match=r"not frozen: 'w' is one of 1 variables; write it"):
        text_graph(nodes)


def test_wrong_names_get_a_sentence(tmp_path):
    path = FOLDER / "classic_static_rnn.pb"
    with pytest.raises(ConversionError, match="'nope:0' is no tensor"):
        converter.from_graphdef(path, outputs=["nope"])
    with pytest.raises(ConversionError, match="'nope:0' is no tensor"):
        converter.from_graphdef(path, input_shapes={"nope": [1]})
    with pytest.raises(ConversionError, match=r"gone\.pb cannot be read"):
        converter.from_graphdef(tmp_path / "gone.pb")
    with pytest.raises(ConversionError, match="is no GraphDef"):
        converter.from_graphdef(b"\x0a\xff\xff")


def test_constants_that_only_damage_can_mean():
    number = """node { name: "%s" op: "Const" attr { key: "dtype" value { type: %s } }
      attr { key: "value" value { tensor { dtype: %s tensor_shape { %s } %s } } } }
    """
    nodes = number % ("d", "DT_INT32", "DT_INT32", "dim { size: 2 }", "int_val: 1000000")
    nodes += number % ("v", "DT_FLOAT", "DT_FLOAT", "", "float_val: 1")
    nodes += 'node { name: "f" op: "Fill" input: "d" input: "v" }'
    with pytest.raises(ConversionError, match=r"'f:0' has the shape \[1000000, 1000000\]"):
        text_graph(nodes)


@pytest.mark.parametrize("name", ["classic_loops", "classic_channels_first"])
def test_every_damaged_graph_gives_a_model_or_a_sentence(name):
    path, _, _ = load(name)
    data = path.read_bytes()
    rng = np.random.default_rng(3)
    converted = 0
    for at in range(0, len(data), 11):
        bent = bytearray(data)
        bent[at] ^= int(rng.integers(1, 256))
        for content in (bytes(bent), data[:at]):
            try:
                converter.from_graphdef(content)
                converted += 1
            except ConversionError as error:
                assert str(error)
    assert converted
